"""packaging/contents: what goes where, with which mode and owner."""

import gzip
import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from project import CHECKOUT, Wrong

FLAGS = {"conf", "gz", "deb", "rpm"}


@dataclass
class Entry:
    target: PurePosixPath
    mode: int
    owner: str
    group: str
    source: Path | None  # None: an empty folder
    flags: set


def read(kind, made):
    """The entries of a kind of package (`deb`, `rpm`), folders resolved to their files."""
    entries = []
    for number, line in enumerate((CHECKOUT / "packaging/contents").read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        try:
            target, mode, owner, source, *flags = line.split()
            owner, group = owner.split(":")
            mode = int(mode, 8)
        except ValueError:
            raise Wrong(f"packaging/contents:{number}: expected target, mode, owner:group, source, flags")
        flags = set(flags)
        if unknown := flags - FLAGS:
            raise Wrong(f"packaging/contents:{number}: unknown flag {unknown.pop()}")
        if kind not in flags and flags & {"deb", "rpm"}:
            continue
        root = made.parent if source.startswith("made/") else CHECKOUT
        for path, mode, source in resolve(target, mode, root, source):
            compressed = "gz" in flags and path.suffix != ".gz"
            target = path.with_name(path.name + ".gz") if compressed else path
            entries.append(Entry(target, mode, owner, group, source, flags))
    return sorted(entries, key=lambda entry: entry.target)


def resolve(target, mode, root, source):
    """Target, mode and file of what one line stands for."""
    path = PurePosixPath(target)
    if source == "-":
        return [(path, mode, None)]
    source = root / source
    if not target.endswith("/"):
        if not source.is_file():
            raise Wrong(f"packaging/contents: no {source}")
        return [(path, mode, source)]
    if not source.is_dir():
        raise Wrong(f"packaging/contents: no folder {source}")
    files = sorted(file for file in source.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    executable = lambda file: file.stat().st_mode & 0o100
    return [(path / file.relative_to(source), 0o755 if executable(file) else mode, file) for file in files]


def stage(entries, root, epoch):
    """Lays them out below `root`, all with the time `epoch`."""
    shutil.rmtree(root, ignore_errors=True)
    for entry in entries:
        target = root / entry.target.relative_to("/")
        if entry.source is None:
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            data = entry.source.read_bytes()
            # With no name and no time in it.
            target.write_bytes(gzip.compress(data, mtime=0) if "gz" in entry.flags else data)
    folders = [root, *(folder for folder in root.rglob("*") if folder.is_dir())]
    for folder in folders:
        folder.chmod(0o755)
    for entry in entries:
        (root / entry.target.relative_to("/")).chmod(entry.mode)
    for path in [root, *root.rglob("*")]:
        os.utime(path, (epoch, epoch))
