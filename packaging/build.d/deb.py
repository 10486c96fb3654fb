"""The Debian package, by dpkg-deb."""

import datetime
import hashlib
import os
import shutil
import subprocess
import textwrap
from email.utils import format_datetime

import contents
from project import CHECKOUT, date_of

SCRIPTS = ["postinst", "prerm", "postrm"]


def build(project, made, work, into):
    """Makes it in the folder `into`; says where it is."""
    (made / "changelog").write_text(changelog(project))
    entries = contents.read("deb", made)
    root = work / "deb"
    contents.stage(entries, root, project.epoch)
    control = root / "DEBIAN"
    control.mkdir(mode=0o755)
    files = [entry.target for entry in entries if entry.source]
    size = sum((root / file.relative_to("/")).stat().st_size for file in files)
    (control / "control").write_text(fields(project, size))
    conffiles = [str(entry.target) for entry in entries if "conf" in entry.flags]
    (control / "conffiles").write_text("".join(f"{file}\n" for file in conffiles))
    sums = [(md5(root / file.relative_to("/")), file) for file in files if str(file) not in conffiles]
    (control / "md5sums").write_text("".join(f"{md5}  {file.relative_to('/')}\n" for md5, file in sums))
    for file in control.iterdir():
        file.chmod(0o644)
    for script in SCRIPTS:
        shutil.copy(CHECKOUT / "packaging/deb" / script, control / script)
        (control / script).chmod(0o755)
    package = into / f"{project.name}_{project.version}_amd64.deb"
    environment = dict(os.environ, SOURCE_DATE_EPOCH=str(project.epoch))
    dpkg = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, package]
    subprocess.check_call(dpkg, env=environment, stdout=subprocess.DEVNULL)
    return package


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def fields(project, size):
    """The control file."""
    paragraphs = ["\n".join(f" {line}" for line in lines) for lines in project.description]
    return textwrap.dedent(
        f"""\
        Package: {project.name}
        Version: {project.version}
        Architecture: amd64
        Maintainer: {project.maintainer}
        Installed-Size: {-(-size // 1024)}
        Depends: libc6 (>= 2.28), systemd (>= 247)
        Recommends: ca-certificates, publicsuffix
        Suggests: default-mta | mail-transport-agent
        Section: mail
        Priority: optional
        Description: {summary(project)}
        """
    ) + "\n .\n".join(paragraphs) + "\n"


def summary(project):
    """Debian's begin with a small letter."""
    return project.summary[0].lower() + project.summary[1:]


def changelog(project):
    """CHANGELOG.md in Debian's form."""
    entries = []
    for release in project.releases:
        lines = [f"{project.name} ({release.version}) unstable; urgency=medium", ""]
        for title, items in release.sections:
            lines += [f"  [ {title} ]"]
            for item in items:
                lines += textwrap.wrap(item, 78, initial_indent="  * ", subsequent_indent="    ")
            lines += [""]
        noon = datetime.time(12, tzinfo=datetime.timezone.utc)
        date = format_datetime(datetime.datetime.combine(date_of(project, release), noon))
        lines += [f" -- {project.maintainer}  {date}", ""]
        entries.append("\n".join(lines))
    return "\n".join(entries)
