"""Builds the installable package: ``python espocrm-extension/build.py [directory]`` prints the path of the zip.

The same sources give the same bytes: sorted names, a fixed time, fixed rights.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PARTS = ("files", "scripts")
FIXED_TIME = (1980, 1, 1, 0, 0, 0)
RIGHTS = 0o100644 << 16


def sources() -> Iterator[Path]:
    """The files of the package, sorted by their name in it."""
    found = [
        path
        for part in PARTS
        for path in (ROOT / part).rglob("*")
        if path.suffix in {".js", ".json", ".php"}
    ]
    yield from sorted(
        [ROOT / "manifest.json", *found],
        key=lambda path: path.relative_to(ROOT).as_posix(),
    )


def build(directory: Path = ROOT / "build") -> Path:
    """Write ``bitbylaw-<version>.zip`` into a directory; returns its path."""
    version = json.loads((ROOT / "manifest.json").read_text(encoding="utf-8"))[
        "version"
    ]
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"bitbylaw-{version}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for path in sources():
            entry = zipfile.ZipInfo(path.relative_to(ROOT).as_posix(), FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # the same on every machine
            entry.external_attr = RIGHTS
            package.writestr(entry, path.read_bytes())
    return target


if __name__ == "__main__":
    print(build(*map(Path, sys.argv[1:2])))  # noqa: T201 - the path is what this program is asked for
