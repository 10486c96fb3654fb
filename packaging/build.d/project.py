"""What Cargo.toml, Cargo.lock and CHANGELOG.md say of the project."""

import datetime
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TARGET = "x86_64-unknown-linux-gnu"


class Wrong(Exception):
    """What stands in a file cannot be packaged; the message says which and why."""


@dataclass
class Release:
    """A heading of CHANGELOG.md with what stands below it."""

    version: str
    date: datetime.date | None
    sections: list  # of (title, [item])


@dataclass
class Project:
    name: str
    version: str
    licence: str
    maintainer: str
    summary: str
    description: list  # paragraphs, each a list of lines
    releases: list
    epoch: int
    target: Path  # cargo's target directory
    metadata: dict  # of cargo, with all packages that the program is made of


def read(version=None):
    """Reads all of it. `version` names the packages otherwise, for tests of upgrades."""
    cargo = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={TARGET}"]
    metadata = json.loads(subprocess.check_output(cargo, cwd=CHECKOUT))
    root = metadata["resolve"]["root"]
    package = next(package for package in metadata["packages"] if package["id"] == root)
    releases = changelog((CHECKOUT / "CHANGELOG.md").read_text())
    if releases[0].version != package["version"]:
        raise Wrong(f"CHANGELOG.md begins with {releases[0].version}, and this is {package['version']}")
    if version:
        releases[0].version = version
    description = (CHECKOUT / "packaging/description").read_text()
    return Project(
        name=package["name"],
        version=releases[0].version,
        licence=package["license"],
        maintainer=package["authors"][0],
        summary=package["description"],
        description=[paragraph.splitlines() for paragraph in description.strip().split("\n\n")],
        releases=releases,
        epoch=epoch(releases[0]),
        target=Path(metadata["target_directory"]),
        metadata=metadata,
    )


def epoch(newest):
    """The time that everything in the packages has, so that two builds of them are equal."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    if newest.date:
        noon = datetime.time(12, tzinfo=datetime.timezone.utc)
        return int(datetime.datetime.combine(newest.date, noon).timestamp())
    # Not released yet: when the sources were changed last.
    return int(subprocess.check_output(["git", "log", "-1", "--format=%ct"], cwd=CHECKOUT))


def changelog(text):
    """The releases, newest first.

    Its form is strict: `## VERSION, DATE` (or `unreleased`), below it `### TITLE`, below that items
    which begin with `- ` and go on with two spaces.
    """
    releases = []
    begun = False
    for number, line in enumerate(text.splitlines(), 1):
        if heading := re.fullmatch(r"## (\S+), (\d{4}-\d\d-\d\d|unreleased)", line):
            version, date = heading.groups()
            date = None if date == "unreleased" else datetime.date.fromisoformat(date)
            releases.append(Release(version, date, []))
            begun = True
        elif not line or not begun:
            continue
        elif line.startswith("### "):
            releases[-1].sections.append((line.removeprefix("### "), []))
        elif line.startswith("- ") and releases[-1].sections:
            releases[-1].sections[-1][1].append(line.removeprefix("- "))
        elif line.startswith("  ") and releases[-1].sections and releases[-1].sections[-1][1]:
            releases[-1].sections[-1][1][-1] += " " + line.strip()
        else:
            raise Wrong(f"CHANGELOG.md:{number}: no heading, item, or more of one: {line}")
    if not releases:
        raise Wrong("CHANGELOG.md has no heading such as `## 1.0.0, 2026-01-31`")
    return releases


def date_of(project, release):
    """Its date, or that of the sources."""
    if release.date:
        return release.date
    return datetime.datetime.fromtimestamp(project.epoch, datetime.timezone.utc).date()
