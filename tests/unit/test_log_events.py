"""docs/logs.md lists the names of all log events of the product, and no others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"[a-z_]+\.[a-z_]+")
ROW = re.compile(r"^\| `([a-z_]+\.[a-z_]+)` \|", re.MULTILINE)
#: Names with a dot that are no events: what locks and fields are called.
OTHER_NAMES = re.compile(
    r"vmh\.\w+|kommunikation\.(fax|mail|phone)|aiohttp\.server|iii\.iii|log\.data|beteiligte\.(counts|oldest)"
    r"|\w+\.py|queue\.ages"
)
#: `services.vmh_sync.job` makes the area of the topic.
COMPOSED = {"bankverbindungen.synced", "beteiligte.synced"}


def _texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def logged() -> set[str]:
    """The names in the code."""
    paths = [*ROOT.glob("services/**/*.py"), *ROOT.glob("steps/**/*.py")]
    names = {text for path in paths for text in _texts(path) if NAME.fullmatch(text)}
    return COMPOSED | {name for name in names if not OTHER_NAMES.fullmatch(name)}


def listed() -> list[str]:
    """The names in the table."""
    return ROW.findall((ROOT / "docs" / "logs.md").read_text("utf-8"))


def test_each_log_event_stands_in_the_table_once_and_in_order() -> None:
    assert listed() == sorted(logged())


def test_events_worth_an_alert_exist() -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    alerts = text.partition("## Log events worth an alert")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in alerts.splitlines() if line.startswith("|")]
    named = {name for row in rows for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", row)}
    assert named - {"queue.executed"} <= logged()
