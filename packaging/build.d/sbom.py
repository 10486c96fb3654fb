"""What the program is made of, as CycloneDX 1.5 (ECMA-424), for scanners of known faults."""

import datetime
import json
import re
import tomllib
import uuid
from pathlib import Path

from notices import parts
from project import CHECKOUT


def describe(project):
    """The document: each crate that is linked in with its source and digest, and SQLite within."""
    metadata = project.metadata
    lock = tomllib.loads((CHECKOUT / "Cargo.lock").read_text())
    digests = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock["package"]}
    crates = sorted(parts(project), key=lambda package: (package["name"], package["version"]))
    components = [component(package, digests) for package in crates]
    components.append(sqlite(crates))
    root = next(package for package in metadata["packages"] if package["id"] == metadata["resolve"]["root"])
    built = datetime.datetime.fromtimestamp(project.epoch, datetime.timezone.utc)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # The same for the same contents.
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components)).urn,
        "version": 1,
        "metadata": {
            "timestamp": built.isoformat().replace("+00:00", "Z"),
            "component": component(root, digests) | {"type": "application", "version": project.version},
        },
        "components": components,
        "dependencies": dependencies(metadata, [root, *crates]),
    }
    return json.dumps(document, indent=1) + "\n"


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, digests):
    found = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
        # `/` is how it was written before SPDX.
        "licenses": [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}],
    }
    if digest := digests[package["name"], package["version"]]:
        found["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return found


def sqlite(crates):
    """It comes within a crate, and its faults are filed under its own name."""
    crate = next(package for package in crates if package["name"] == "libsqlite3-sys")
    header = Path(crate["manifest_path"]).parent / "sqlite3/sqlite3.h"
    version = re.search(r'#define SQLITE_VERSION\s+"(.+)"', header.read_text())[1]
    return {
        "type": "library",
        "bom-ref": f"pkg:generic/sqlite@{version}",
        "name": "sqlite",
        "version": version,
        "purl": f"pkg:generic/sqlite@{version}",
        "cpe": f"cpe:2.3:a:sqlite:sqlite:{version}:*:*:*:*:*:*:*",
    }


def dependencies(metadata, packages):
    references = {package["id"]: reference(package) for package in packages}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    return [
        {
            "ref": references[package["id"]],
            "dependsOn": sorted(
                references[dependency["pkg"]]
                for dependency in nodes[package["id"]]["deps"]
                if dependency["pkg"] in references
            ),
        }
        for package in packages
    ]
