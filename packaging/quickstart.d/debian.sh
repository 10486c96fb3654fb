# shellcheck shell=bash
# Sourced: installs what is missing from Debian, and lets no service start by that.

# While packages are set up, this file tells them whether their services may start.
policy=/usr/sbin/policy-rc.d
kept=$policy.before-rua-milter

forbid_services() {
    # One that is kept already is the machine's own, of a run that was killed.
    if [ -e "$policy" ] && [ ! -e "$kept" ]; then mv "$policy" "$kept"; fi
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

allow_services() {
    rm -f "$policy"
    if [ -e "$kept" ]; then mv "$kept" "$policy"; fi
}

# install_missing FILE=PACKAGE...: installs the packages whose file is not there.
install_missing() {
    local need missing=()
    for need in "$@"; do
        if [ ! -e "${need%%=*}" ]; then missing+=("${need#*=}"); fi
    done
    if [ ${#missing[@]} = 0 ]; then return; fi
    if ! command -v apt-get >/dev/null; then
        echo "missing: ${missing[*]}, and this is no Debian: there is no apt-get" >&2
        return 1
    fi
    echo "Installing ${missing[*]} from Debian; no service is started."
    (
        trap allow_services EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        forbid_services
        export DEBIAN_FRONTEND=noninteractive
        # Rather nothing than to remove another mail server.
        apt-get update -qq &&
            apt-get install -y -qq --no-install-recommends --no-remove "${missing[@]}" \
                </dev/null >/dev/null
    ) || return 1
    # Nor at the next boot.
    if command -v systemctl >/dev/null; then
        local package
        for package in "${missing[@]}"; do
            case $package in
            postfix | nsd | unbound | prometheus) systemctl disable --quiet "$package" || true ;;
            esac
        done
    fi
}

# unpack_sendmail FOLDER: takes Sendmail out of its packages without installing it, as that would
# remove another mail server; only the libraries that it needs are installed. FOLDER is absolute.
unpack_sendmail() {
    if [ -x "$1/usr/libexec/sendmail/sendmail" ]; then return; fi
    echo "Unpacking Sendmail from Debian into $1."
    (
        set -e
        rm -rf "$1" "$1.new"
        mkdir -p "$1.new"
        cd "$1.new"
        apt-get update -qq
        # apt-get would download as a user of its own, who may not write here.
        apt-get -o APT::Sandbox::User=root download -qq sendmail-bin sendmail-base sendmail-cf
        libraries=$(dpkg-deb -f sendmail-bin_*.deb Depends | tr , '\n' |
            sed 's/[|(].*//; s/ //g; /^sendmail-/d')
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086 # a word is a library
        apt-get install -y -qq --no-install-recommends --no-remove m4 $libraries \
            </dev/null >/dev/null
        for package in *.deb; do dpkg-deb -x "$package" .; done
        rm -f -- *.deb
        mv "$1.new" "$1"
    )
}

# container_root SUITE FOLDER: makes the root of a container of that Debian, with systemd and the mail
# server that the tests install packages beside. It comes from where this machine's packages come from.
container_root() {
    if [ -d "$2" ]; then return; fi
    echo "Making a root of Debian $1 in $2."
    (
        set -e
        # shellcheck disable=SC2016 # apt-get fills it in
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
            'Origin: Debian' 'Component: main' | head -n1)
        rm -rf "$2.new"
        mkdir -p "$(dirname "$2")"
        mmdebstrap --quiet --mode=root --variant=minbase \
            --include=systemd,systemd-sysv,postfix,rpm,procps "$1" "$2.new" "$mirror" </dev/null
        mv "$2.new" "$2"
    )
}
