"""MIGRATION_STATUS.md says what is true: every step listed as done exists and has the listed triggers."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from motia.types import ApiTrigger, CronTrigger, QueueTrigger

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "MIGRATION_STATUS.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| `")
]
STEPS = {row[0].strip("`"): row for row in ROWS if row[0].startswith("`steps/")}
SERVICES = [row for row in ROWS if row[0].startswith("`services/")]
AUDIT_TOOL = "steps/advoware_cal_sync/audit_calendar_sync.py"


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(re.sub(r"\W", "_", path.stem), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def described(trigger: Any) -> str:
    if isinstance(trigger, ApiTrigger):
        return f"http {trigger.method} {trigger.path}"
    if isinstance(trigger, QueueTrigger):
        return f"queue {trigger.topic}"
    assert isinstance(trigger, CronTrigger)
    return f"cron {trigger.expression}"


@pytest.mark.parametrize("path", STEPS)
def test_a_step_registers_what_its_row_says(path: str) -> None:
    module = load(ROOT / path)
    _, _, _, triggers, enqueues, status, _ = STEPS[path]

    assert status == "done"
    assert (
        ", ".join(described(trigger) for trigger in module.config["triggers"])
        == triggers
    )
    assert (", ".join(module.config["enqueues"]) or "-") == enqueues
    assert callable(module.handler)


def test_every_step_of_the_project_is_listed() -> None:
    found = {
        str(path.relative_to(ROOT)) for path in (ROOT / "steps").rglob("*_step.py")
    }

    assert found == set(STEPS)


def test_every_proving_test_and_every_module_exists() -> None:
    for row in [*STEPS.values(), *SERVICES]:
        proofs = re.findall(r"tests/\S+?\.py", row[-1])
        assert proofs, row[0]
        for name in proofs:
            assert (ROOT / name).is_file(), name
    for row in SERVICES:
        assert (ROOT / row[0].strip("`")).is_file(), row[0]


def test_the_numbers_are_those_of_the_code() -> None:
    triggers = [
        trigger for path in STEPS for trigger in load(ROOT / path).config["triggers"]
    ]
    topics = [
        trigger.topic for trigger in triggers if isinstance(trigger, QueueTrigger)
    ]
    old = [path for path, row in STEPS.items() if row[1] != "new"] + [AUDIT_TOOL] * (
        ROOT / AUDIT_TOOL
    ).is_file()

    assert len(topics) == len(set(topics)), "each topic has one step"
    assert (
        f"- Steps of the old system: {len(old)} of 21, the audit tool among them; new: {len(STEPS) - len(old) + 1}\n"
        in TEXT
    )
    assert f"- Service modules of the old system: {len(SERVICES)} of 11\n" in TEXT
    assert (
        f"- HTTP endpoints: {sum(isinstance(trigger, ApiTrigger) for trigger in triggers)}\n"
        in TEXT
    )
    assert (
        f"- Queue topics: {len(set(topics) - {'hello'})}, and that of hello\n" in TEXT
    )
    assert (
        f"- Cron jobs: {sum(isinstance(trigger, CronTrigger) for trigger in triggers)}\n"
        in TEXT
    )
