"""The RPM package, by rpmbuild."""

import os
import subprocess
import textwrap

import contents
from project import CHECKOUT, date_of

SCRIPTS = ["pre", "post", "preun", "postun"]


def build(project, made, work, into):
    """Makes it in the folder `into`; says where it is."""
    entries = contents.read("rpm", made)
    root = work / "rpm"
    contents.stage(entries, root, project.epoch)
    spec = work / f"{project.name}.spec"
    spec.write_text(text(project, entries, root))
    environment = dict(os.environ, SOURCE_DATE_EPOCH=str(project.epoch))
    macros = {"_topdir": work / "rpmbuild", "_rpmdir": into, "_rpmfilename": "%{NVRA}.rpm"}
    defines = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
    rpmbuild = ["rpmbuild", "--quiet", "-bb", "--target", "x86_64-linux", *defines, spec]
    # It tells for which platform it builds, where the names of the packages are to stand.
    subprocess.check_call(rpmbuild, env=environment, stdout=subprocess.DEVNULL)
    return into / f"{project.name}-{project.version}-1.x86_64.rpm"


def text(project, entries, root):
    """The spec file. What it packages lies ready below `root`."""
    description = "\n\n".join("\n".join(lines) for lines in project.description)
    header = textwrap.dedent(
        f"""\
        # Nothing is built or stripped here, and the same sources make the same package.
        %global debug_package %{{nil}}
        %global __os_install_post %{{nil}}
        %global _build_id_links none
        %global _buildhost {project.name}
        %global use_source_date_epoch_as_buildtime 1
        %global clamp_mtime_to_source_date_epoch 1
        # RHEL 8 reads it too.
        %global _binary_payload w6.xzdio

        Name: {project.name}
        Version: {project.version}
        Release: 1
        Summary: {project.summary}
        License: {project.licence}
        Packager: {project.maintainer}
        Group: System Environment/Daemons
        Requires: systemd
        Requires(pre): shadow-utils
        Recommends: ca-certificates
        Recommends: publicsuffix-list

        """
    )
    parts = [header, "%description\n", description, "\n\n%install\n", f"cp -a {root}/. %{{buildroot}}/\n\n"]
    for script in SCRIPTS:
        parts.append(f"%{script}\n{(CHECKOUT / 'packaging/rpm' / script).read_text()}\n")
    parts += ["%files\n", *(f"{line(entry)}\n" for entry in entries), *folders(project, entries)]
    parts += ["\n%changelog\n", changelog(project)]
    return "".join(parts)


def line(entry):
    attributes = f"%attr({entry.mode:04o},{entry.owner},{entry.group})"
    if entry.source is None:
        return f"%dir {attributes} {entry.target}"
    kind = "%config(noreplace) " if "conf" in entry.flags else ""
    if entry.target.is_relative_to("/usr/share/licenses"):
        kind = "%license "
    elif entry.target.is_relative_to("/usr/share/doc"):
        kind = "%doc "
    return f"{kind}{attributes} {entry.target}"


def folders(project, entries):
    """Folders that nobody else would own: those with our name, and what is in them."""
    parents = {parent for entry in entries if entry.source for parent in entry.target.parents}
    named = {entry.target for entry in entries if entry.source is None}
    own = sorted(path for path in parents - named if project.name in path.parts)
    return [f"%dir %attr(0755,root,root) {path}\n" for path in own]


def changelog(project):
    """CHANGELOG.md in the form of a spec file."""
    entries = []
    for release in project.releases:
        date = date_of(project, release)
        # Not by strftime, which speaks the language of the environment.
        weekday = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][date.weekday()]
        months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
        lines = [
            f"* {weekday} {months[date.month - 1]} {date.day:02} {date.year} {project.maintainer} "
            f"- {release.version}-1"
        ]
        for title, items in release.sections:
            for item in items:
                item = f"{title}: {item}".replace("%", "%%")
                lines += textwrap.wrap(item, 78, initial_indent="- ", subsequent_indent="  ")
        entries.append("\n".join(lines) + "\n")
    return "\n".join(entries)
