"""The program, and what it and its crates say of themselves.

Makes `made/`: the program, its manual pages and completions, the list of its parts, and the
notices that their licences ask for.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import notices
import sbom
from project import CHECKOUT, TARGET

# Debian 10, RHEL 8; the systems that are promised have a newer one.
GLIBC = "2.28"


def make(project, into):
    """Makes all of it in the folder `into`."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    shutil.copy2(build(project), into / project.name)
    for what, folder in [("man", "man"), ("completions", "completions")]:
        subprocess.check_call([into / project.name, "generate", what, into / folder])
    (into / "notices").write_text(notices.collect(project))
    (into / f"{project.name}.cdx.json").write_text(sbom.describe(project))


def build(project):
    """Builds the release and says where it is."""
    tools = tools_of(project.target)
    environment = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}")
    # Where this was built is no business of a panic's text.
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    remap = [f"--remap-path-prefix={home}=/cargo", f"--remap-path-prefix={CHECKOUT}=/{project.name}"]
    environment["CARGO_ENCODED_RUSTFLAGS"] = "\x1f".join(remap)
    cargo = ["cargo", "zigbuild", "--locked", "--release", "--target", f"{TARGET}.{GLIBC}"]
    subprocess.check_call(cargo, cwd=CHECKOUT, env=environment)
    return project.target / TARGET / "release" / project.name


def tools_of(target):
    """The folder with cargo-zigbuild, which is installed when it is not the one that is pinned."""
    wanted = (CHECKOUT / "packaging/build.d/requirements.txt").read_text()
    folder = target / "packaging-tools"
    stamp = folder / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        print("Installing cargo-zigbuild and Zig.", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        pip = [folder / "bin/pip", "--quiet", "--disable-pip-version-check", "install"]
        requirements = CHECKOUT / "packaging/build.d/requirements.txt"
        subprocess.check_call([*pip, "--require-hashes", "--only-binary=:all:", "-r", requirements])
        stamp.write_text(wanted)
    return folder / "bin"
