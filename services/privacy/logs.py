"""The log files that `make up` keeps. They hold ids and no values (`services.core.log`)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path

#: More lines than this of one person are not shown.
MAX_LINES = 1000


def lines_with(directory: Path, texts: Collection[str]) -> list[str]:
    """The lines that hold one of the texts, with the names of their files, at most `MAX_LINES`."""
    found = []
    for path in _logs(directory):
        for line in _lines(path):
            if any(text in line for text in texts):
                found.append(f"{path.name}: {line}")
            if len(found) == MAX_LINES:
                return found
    return found


def remove_old(directory: Path, days: int, now: datetime) -> int:
    """Remove what was logged more than ``days`` ago; how many files were removed or started again.

    A log in use is started again once its first line is half as old, and what was in it is kept as ``<name>.1`` for the
    other half.
    """
    half = timedelta(days=days) / 2
    changed = 0
    for path in _logs(directory):
        if path.suffix == ".1":
            written = datetime.fromtimestamp(path.stat().st_mtime, now.tzinfo)
            if now - written > half:
                path.unlink()
                changed += 1
    for path in _logs(directory):
        began = _first_moment(path) if path.suffix == ".log" else None
        if began is not None and now - began > half:
            _start_again(path)
            changed += 1
    return changed


def _start_again(path: Path) -> None:
    """Its writers have opened it for appending, so they go on at its new end."""
    kept = path.with_name(f"{path.name}.1")
    with path.open("rb") as old, kept.open("wb") as copy:
        os.fchmod(copy.fileno(), 0o600)
        shutil.copyfileobj(old, copy)
    os.truncate(path, 0)


def _first_moment(path: Path) -> datetime | None:
    """When the first line that says so was written."""
    for line in _lines(path):
        try:
            return datetime.fromisoformat(json.loads(line)["time"])
        except (ValueError, KeyError, TypeError):
            continue
    return None


def _logs(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if ".log" in path.name)


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as log:
        for line in log:
            yield line.rstrip("\n")
