"""GET /metrics: what is shown, that it is shown while stores are away, and that no person's name or id is in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from beteiligte_office import Office, office
from prometheus_client.parser import text_string_to_metric_families

from board.metrics import exposition
from services.beteiligte_check import BeteiligteCheck
from services.core import metrics
from services.core.errors import Paused
from services.core.metrics import REGISTRY, measured
from services.core.operation.metrics_server import QueueStats, new_application
from services.core.operation.pause import Scope, pause, require_writable
from services.core.rate_limit import acquire
from services.core.resources import Resources
from services.operate.overview import Overview
from services.operate.parts import Part

__all__ = ["office"]

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "bitbylaw-alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "bitbylaw.json"
PROMTOOL = shutil.which("promtool")
ALERTS = [
    rule
    for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    for rule in group["rules"]
]


class Metrics:
    """What Prometheus reads."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def text(self) -> str:
        async with self._session.get(f"{self._url}/metrics") as answer:
            assert answer.status == 200
            return await answer.text()

    async def value(self, name: str, **labels: str) -> float | None:
        """The value of one series, None if there is none."""
        shown = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        line = f"bitbylaw_{name}" + (f"{{{shown}}}" if labels else "") + " "
        for found in (await self.text()).splitlines():
            if found.startswith(line):
                return float(found.removeprefix(line))
        return None


def label_values(text: str) -> str:
    """What stands in labels, one value a line (a number may hold any digits)."""
    return "\n".join(
        value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for value in sample.labels.values()
    )


@asynccontextmanager
async def served(
    resources: Resources, queue: QueueStats | None = None
) -> AsyncIterator[Metrics]:
    async def read_queue() -> QueueStats:
        if queue is None:
            raise ConnectionError("the engine is away")
        return queue

    runner = web.AppRunner(new_application(resources, read_queue))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        yield Metrics(f"http://127.0.0.1:{port}", session)
    await runner.cleanup()


async def test_syncs_foreign_calls_and_locks_are_counted_without_names_and_ids(
    office: Office,
) -> None:
    async with served(office.resources, {}) as shown:
        before = await shown.value("syncs_total", entity="beteiligte", result="created")
        entity_id, betnr = await office.linked_person(lastName="Canaria")
        created = await shown.value(
            "syncs_total", entity="beteiligte", result="created"
        )
        assert created == (before or 0) + 1
        posted = {"system": "Advoware", "method": "POST", "status": "2xx"}
        assert await shown.value("foreign_calls_total", **posted)
        assert await shown.value("lock_seconds_count")
        text = await shown.text()
    assert "Canaria" not in text
    assert entity_id not in text
    labels = label_values(text)
    assert "beteiligte" in labels
    assert str(betnr) not in labels


async def test_queue_pauses_crons_and_the_rate_limit_are_shown(
    resources: Resources,
) -> None:
    await pause(resources, Scope("flow", "vmh"), reason="Wartung", who="cli:anna")
    await acquire(resources, "google_calendar")
    queue = {"vmh.beteiligte.update": (7, 2)}
    async with served(resources, queue) as shown:
        topic = "vmh.beteiligte.update"
        assert await shown.value("queue_depth", topic=topic) == 7
        assert await shown.value("dead_letters", topic=topic) == 2
        assert await shown.value("queue_readable") == 1
        assert await shown.value("pauses", kind="flow") == 1
        tokens = await shown.value("rate_limit_tokens", limit="google_calendar")
        assert tokens is not None
        assert 48 < tokens <= 50
        assert await shown.value("store_up", store="redis") == 1


async def test_the_oldest_record_that_waits_is_shown(office: Office) -> None:
    async def enqueue(_event: Any) -> None: ...

    await office.new_person(syncStatus="dirty", modifiedAt="2026-01-02 03:04:05")
    await BeteiligteCheck(resources=office.resources).run(enqueue)
    async with served(office.resources) as shown:
        moment = await shown.value("oldest_unsynced_timestamp_seconds")
    assert moment == 1767323045


async def test_numbers_are_shown_while_stores_and_engine_are_away(
    resources: Resources,
) -> None:
    await (await resources.database()).close()
    async with served(resources) as shown:
        assert await shown.value("store_up", store="postgres") == 0
        assert await shown.value("store_up", store="redis") == 1
        assert await shown.value("queue_readable") == 0


async def test_steps_are_measured_and_a_guard_that_fires_is_counted(
    resources: Resources,
) -> None:
    async def step(_data: Any) -> None:
        await require_writable(resources)

    async with served(resources) as shown:
        await measured("Sample", step)(None)
        await pause(resources, Scope("all"), reason="Wartung", who="cli:anna")
        with pytest.raises(Paused):
            await measured("Sample", step)(None)
        for outcome in ("done", "failed"):
            series = {"outcome": outcome, "step": "Sample"}
            assert await shown.value("handler_seconds_count", **series) == 1
        assert await shown.value("guards_fired_total", guard="pause")


# -- alerts and dashboard -----------------------------------------------------------------------------------------


def _series() -> set[str]:
    """The names under which Prometheus knows our metrics."""
    names = set()
    for metric in REGISTRY.collect():
        suffixes = {
            "counter": ["_total"],
            "histogram": ["_bucket", "_count", "_sum"],
        }.get(metric.type, [""])
        names |= {metric.name + suffix for suffix in suffixes}
    return names | _series_of_the_board()


def _series_of_the_board() -> set[str]:
    """Those of a board that can read everything."""
    parts: dict[str, Any] = {one.name: Part([]) for one in fields(Overview)}
    view = Overview(**{**parts, "problems": []})
    return set(re.findall(r"^# TYPE (\w+)", exposition(view).decode(), re.MULTILINE))


def _used(expression: str) -> set[str]:
    return set(re.findall(r"\bbitbylaw_\w+", expression))


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_each_alert_uses_metrics_that_exist_and_has_its_line_for_operators(
    rule: dict[str, Any],
) -> None:
    assert _used(rule["expr"]) or "up{" in rule["expr"]
    assert _used(rule["expr"]) <= _series()
    operations = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert f"\n| `{rule['alert']}` | " in operations


def test_no_line_for_operators_is_about_an_alert_that_does_not_exist() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text("utf-8")
    named = set(re.findall(r"^\| `(BitByLaw\w+)` \|", operations, re.MULTILINE))
    assert named == {rule["alert"] for rule in ALERTS}


@pytest.mark.skipif(
    PROMTOOL is None,
    reason="no promtool here (Debian: package prometheus), the alert rules are not parsed",
)
def test_prometheus_itself_takes_the_alert_rules() -> None:
    checked = subprocess.run(  # noqa: S603 - our own arguments
        [str(PROMTOOL), "check", "rules", str(RULES)], capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr.decode()


def test_the_dashboard_uses_metrics_that_exist() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    used = set()
    for panel in panels:
        for target in panel["targets"]:
            used |= _used(target["expr"])
    assert len(used) > 10
    assert used <= _series()


def test_labels_are_bounded() -> None:
    """None of them could hold an id, a name or a Kürzel."""
    known = {"step", "outcome", "topic", "entity", "result", "system", "method"}
    known |= {"status", "limit", "guard", "store", "kind", "cron"}
    labels = {
        label
        for metric in vars(metrics).values()
        for label in getattr(metric, "_labelnames", ())
    }
    assert labels == known
