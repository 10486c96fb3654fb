"""The licences of the crates that are part of the program, which ask to go along with it."""

import re
from pathlib import Path

NAMES = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)([-._].*)?", re.IGNORECASE)


def collect(project):
    """One text; what several crates have in common stands there once."""
    texts = {}
    for package in sorted(parts(project), key=lambda package: (package["name"], package["version"])):
        crate = f"{package['name']} {package['version']} ({package['license']})"
        folder = Path(package["manifest_path"]).parent
        files = sorted(file for file in folder.iterdir() if NAMES.fullmatch(file.name) and file.is_file())
        # A few crates ship none; their licence is named all the same.
        bodies = [file.read_text(errors="replace").strip() for file in files] or [""]
        for body in bodies:
            texts.setdefault(body, []).append(crate)
    rule = "-" * 72
    intro = f"{project.name} is made of these crates as well, under the licences that follow their names.\n"
    return intro + "".join(f"\n{rule}\n" + "\n".join(crates) + f"\n\n{body}\n" for body, crates in texts.items())


def parts(project):
    """The crates that are linked in, without those that only build or test."""
    nodes = {node["id"]: node for node in project.metadata["resolve"]["nodes"]}
    root = project.metadata["resolve"]["root"]
    seen, open_ = set(), [root]
    while open_:
        for dependency in nodes[open_.pop()]["deps"]:
            linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if linked and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                open_.append(dependency["pkg"])
    return [package for package in project.metadata["packages"] if package["id"] in seen]
