"""Each repair from the click to its effect, its row in the audit, and the same from the command line."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from board_browser import Browser, Dead, csrf_of, form_of
from operator_desk import called
from test_pages import ENTITY, TOPIC, in_espocrm, plant

from board import repairs
from services.api.record_actions import TOPIC as SYNC_NOW
from services.calendar_sync.model import Pair
from services.calendar_sync.store import AuditLine, CalendarStore
from services.calendar_sync.waiting import TOPIC_EMPLOYEE
from services.core.errors import Unavailable
from services.core.jobs.pending import pending_key
from services.core.operation.pause import active_pauses
from services.operate import queues
from services.operate.sources import Sources

ROOT = Path(__file__).parents[2]


async def audit(sources: Sources) -> list[tuple[Any, ...]]:
    """Who did what, with what, on what, with which result."""
    pool = await sources.resources.database()
    rows = await pool.fetch("SELECT * FROM operator_action ORDER BY operator_action_id")
    return [
        (
            row["who"],
            row["action"],
            row["target"],
            row["details"].get("count"),
            row["result"],
        )
        for row in rows
    ]


async def depth(sources: Sources, topic: str) -> int | None:
    """How many jobs wait under a topic."""
    return (await queues.topic_stats(sources.engine, topic)).depth


async def bitbylaw(sources: Sources, *arguments: str) -> tuple[int, str]:
    """Run the command with the settings of the test; exit status and what it prints, without errors."""
    result = await called(sources.settings, *arguments)
    return result.exit_code, result.stdout


async def test_sync_now_enqueues_once_and_stands_in_the_audit(
    operator: Browser, sources: Sources
) -> None:
    path = f"/repair/sync?target={ENTITY}"
    html = await operator.page(path)
    assert ENTITY in html
    assert await depth(sources, SYNC_NOW) == 0
    await operator.confirm(path)
    assert await depth(sources, SYNC_NOW) == 1
    assert await sources.resources.redis.exists(pending_key(SYNC_NOW, ENTITY))
    await operator.confirm(path)
    assert await depth(sources, SYNC_NOW) == 1
    assert await audit(sources) == [
        ("board:ada", "sync", ENTITY, 1, "done"),
        ("board:ada", "sync", ENTITY, 0, "nothing_to_do"),
    ]
    assert ENTITY in await operator.page("/actions")


async def test_retry_names_the_records_of_a_status_and_syncs_these(
    operator: Browser, sources: Sources, espocrm: Any
) -> None:
    await in_espocrm(operator, espocrm, syncStatus="failed")
    await in_espocrm(operator, espocrm, id="6b0473a32660ab102", syncStatus="clean")
    html = await operator.page("/beteiligte?status=failed")
    assert "/repair/retry?target=failed" in html
    fields = form_of(await operator.page("/repair/retry?target=failed"))
    assert [value for name, value in fields if name == "ids"] == [ENTITY]
    await operator.confirm("/repair/retry?target=failed")
    assert await depth(sources, SYNC_NOW) == 1
    assert await audit(sources) == [("board:ada", "retry", "failed", 1, "done")]


async def test_dead_letters_are_redriven_and_discarded_one_and_all(
    operator: Browser, sources: Sources, dead: Dead
) -> None:
    dead.letters(TOPIC, ["{}", "{}", "{}"])
    letters = await queues.dead_letters(sources.engine, TOPIC, 0, 10)
    first, second, _ = [letter.message_id for letter in letters]
    await operator.confirm(f"/repair/redrive?target={TOPIC}&message={first}")
    assert await depth(sources, TOPIC) == 1
    await operator.confirm(f"/repair/discard?target={TOPIC}&message={second}")
    await operator.confirm(f"/repair/discard?target={TOPIC}&message={second}")
    assert (await queues.topic_stats(sources.engine, TOPIC)).dead == 1
    await operator.confirm(f"/repair/redrive?target={TOPIC}")
    assert await depth(sources, TOPIC) == 2
    dead.many(TOPIC, 203)
    html = await operator.page(f"/repair/discard?target={TOPIC}&lang=en")
    assert "200 dead letters" in html
    assert "3 more are left" in html
    await operator.confirm(f"/repair/discard?target={TOPIC}")
    assert (await queues.topic_stats(sources.engine, TOPIC)).dead == 3
    assert await audit(sources) == [
        ("board:ada", "redrive", TOPIC, 1, "done"),
        ("board:ada", "discard", TOPIC, 1, "done"),
        ("board:ada", "discard", TOPIC, 0, "nothing_to_do"),
        ("board:ada", "redrive", TOPIC, 1, "done"),
        ("board:ada", "discard", TOPIC, 200, "done"),
    ]


async def test_a_dead_letter_that_came_after_the_confirmation_is_not_redriven(
    operator: Browser, sources: Sources, dead: Dead
) -> None:
    dead.letters(TOPIC, ["{}", "{}"])
    fields = form_of(await operator.page(f"/repair/redrive?target={TOPIC}"))
    dead.letters(TOPIC, ["{}"])
    await operator.post("/repair/redrive", fields)
    stats = await queues.topic_stats(sources.engine, TOPIC)
    assert (stats.depth, stats.dead) == (2, 1)


async def test_a_calendar_is_synced_and_what_is_held_is_released_once(
    operator: Browser, sources: Sources, advoware: Any
) -> None:
    held = advoware.employees[0].kuerzel
    await plant(sources, held)
    await operator.confirm("/repair/sync_calendar?target=AB")
    assert await depth(sources, TOPIC_EMPLOYEE) == 1
    html = await operator.page(f"/repair/release?target={held}&lang=en")
    assert "7 held appointments" in html
    await operator.confirm(f"/repair/release?target={held}")
    store = CalendarStore(await sources.resources.database())
    (hold,) = await store.holds(held)
    assert hold.released_at is not None
    assert "There is nothing to do" in await operator.page(
        f"/repair/release?target={held}&lang=en"
    )
    assert await audit(sources) == [
        ("board:ada", "sync_calendar", "AB", 1, "done"),
        ("board:ada", "release", held, 7, "done"),
    ]


async def test_all_calendars_of_a_state_are_named_and_synced(
    operator: Browser, sources: Sources
) -> None:
    store = CalendarStore(await sources.resources.database())
    for kuerzel, result in (("AB", "failed"), ("EF", "failed"), ("GH", "no_change")):
        await store.note_run(kuerzel, result, None, sources.resources.clock())
    assert "/repair/sync_calendars?target=failing" in await operator.page(
        "/calendars?state=failing"
    )
    fields = form_of(await operator.page("/repair/sync_calendars?target=failing"))
    assert [value for name, value in fields if name == "ids"] == ["AB", "EF"]
    await operator.post("/repair/sync_calendars", [*fields, ("ids", "unknown")])
    assert await depth(sources, TOPIC_EMPLOYEE) == 2
    command = ("retry", "failing", "--calendars", "--yes", "--json")
    status, output = await bitbylaw(sources, *command)
    assert (status, json.loads(output)[0]["result"]) == (0, "nothing_to_do")
    assert [row[1:] for row in await audit(sources)] == [
        ("sync_calendars", "failing", 2, "done"),
        ("sync_calendars", "failing", 0, "nothing_to_do"),
    ]


async def test_what_is_held_is_listed_on_the_calendar_and_before_it_is_released(
    operator: Browser, sources: Sources
) -> None:
    await plant(sources, "CD")
    store = CalendarStore(await sources.resources.database())
    now = sources.resources.clock()
    pairs = [
        Pair(uuid4(), "CD", frnr, event_id, source_system="advoware")
        for frnr, event_id in ((4712, "event4712"), (None, "event4713"))
    ]
    for pair in pairs:
        line = AuditLine(
            employee_kuerzel="CD", side="google", action="created", reason="new"
        )
        await store.save_pair(pair, line, now)
    (hold,) = await store.holds("CD")
    listed = tuple(pair.sync_id for pair in pairs)
    await store.save_hold(replace(hold, sync_ids=listed))
    fields = form_of(await operator.page("/repair/release?target=CD"))
    shown = [value for name, value in fields if name == "ids"]
    assert shown == ["4712", "event4713"]
    html = await operator.page("/calendars/CD")
    assert 'href="/appointments/4712"' in html
    assert 'href="/appointments/event4713"' in html


async def test_more_than_was_shown_is_not_released(
    operator: Browser, sources: Sources, advoware: Any
) -> None:
    held = advoware.employees[0].kuerzel
    await plant(sources, held)
    fields = form_of(await operator.page(f"/repair/release?target={held}"))
    store = CalendarStore(await sources.resources.database())
    (hold,) = await store.holds(held)
    await store.save_hold(replace(hold, number=300))
    await operator.post("/repair/release", fields)
    (hold,) = await store.holds(held)
    assert (hold.number, hold.released_at) == (300, None)
    assert [row[-1] for row in await audit(sources)] == ["nothing_to_do"]


async def test_others_than_were_shown_are_not_released(
    operator: Browser, sources: Sources, advoware: Any
) -> None:
    held = advoware.employees[0].kuerzel
    await plant(sources, held)
    store, now = (
        CalendarStore(await sources.resources.database()),
        sources.resources.clock(),
    )
    line = AuditLine(
        employee_kuerzel=held, side="google", action="created", reason="new"
    )
    pairs = [
        Pair(uuid4(), held, frnr, f"event{frnr}", source_system="advoware")
        for frnr in (4712, 4713)
    ]
    for pair in pairs:
        await store.save_pair(pair, line, now)
    (hold,) = await store.holds(held)
    await store.save_hold(replace(hold, sync_ids=(pairs[0].sync_id,)))
    fields = form_of(await operator.page(f"/repair/release?target={held}"))
    await store.save_hold(replace(hold, sync_ids=(pairs[1].sync_id,)))
    await operator.post("/repair/release", fields)
    (hold,) = await store.holds(held)
    assert hold.released_at is None
    assert [row[-1] for row in await audit(sources)] == ["nothing_to_do"]


async def test_a_pause_is_reported_on_every_page_and_ended_again(
    operator: Browser, sources: Sources
) -> None:
    html = await operator.page("/pause/new?kind=flow&target=vmh&reason=Restore")
    status, _ = await operator.post("/pause/new", form_of(html))
    assert status == 303
    assert [str(pause.scope) for pause in await active_pauses(sources.resources)] == [
        "flow:vmh"
    ]
    for path in ("/", "/queue", "/settings"):
        assert "<code>vmh</code>: paused" in await operator.page(f"{path}?lang=en")
    crons = (await operator.json("/api/overview"))["crons"]["value"]
    assert [cron["is_paused"] for cron in crons if "Beteiligte" in cron["name"]] == [
        True
    ]
    html = await operator.page("/pause/end?kind=flow&target=vmh")
    assert (await operator.post("/pause/end", form_of(html)))[0] == 303
    assert await active_pauses(sources.resources) == []
    assert ": paused" not in await operator.page("/?lang=en")
    assert [row[:3] for row in await audit(sources)] == [
        ("board:ada", "pause", "flow:vmh"),
        ("board:ada", "resume", "flow:vmh"),
    ]


async def test_a_pause_of_what_there_is_not_is_refused(operator: Browser) -> None:
    path = "/pause/new?kind=flow&target=none&reason=x"
    assert (await operator.get(path))[0] == 400


async def test_a_preview_shows_fields_and_writes_nothing(
    operator: Browser, sources: Sources, espocrm: Any, advoware: Any
) -> None:
    await in_espocrm(operator, espocrm, salutationName="Frau", syncStatus="dirty")
    fields = form_of(await operator.page(f"/beteiligte/{ENTITY}"))
    status, html = await operator.post("/preview", fields)
    assert status == 200
    assert "Vorname" in html
    assert "Kanarienvogel" not in html
    assert advoware.state()["beteiligte"] == []


async def test_a_repair_that_fails_is_reported_and_stands_in_the_audit(
    operator: Browser, sources: Sources, make_settings: Any
) -> None:
    fields = form_of(await operator.page(f"/repair/sync?target={ENTITY}"))
    async with Sources(make_settings(III_URL="ws://127.0.0.1:9")) as away:
        sources.engine = away.engine
        status, html = await operator.post("/repair/sync", fields)
    assert status == 200
    assert "NotEnqueued" in html
    assert await audit(sources) == [("board:ada", "sync", ENTITY, 0, "failed")]


async def test_what_no_database_takes_is_no_defect_of_a_page(
    operator: Browser, sources: Sources
) -> None:
    html = await operator.page("/pause/new?kind=flow&target=vmh&reason=x")
    csrf = {"csrf": csrf_of(html)}
    fields = {**csrf, "kind": "flow", "target": "v\0mh", "reason": "Wart\0ung"}
    assert (await operator.post("/pause/new", fields))[0] == 303
    (made,) = await active_pauses(sources.resources)
    assert (str(made.scope), made.reason) == ("flow:vmh", "Wartung")
    late = {**fields, "until": "9999-12-31T23:59:00-12:00"}
    assert (await operator.post("/pause/new", late))[0] == 400
    for page in ("beteiligte", "calendars", "appointments", "flows"):
        html = await operator.page(f"/{page}/%00a")
        assert "CharacterNotInRepertoireError" not in html


@pytest.mark.parametrize("kind", ["redrive", "discard"])
async def test_a_message_without_an_id_is_not_all_of_them(
    sources: Sources, dead: Dead, kind: str
) -> None:
    dead.many(TOPIC, 5)

    status, _ = await bitbylaw(sources, "queue", kind, TOPIC, "", "--yes")

    assert status == 2
    assert (await queues.topic_stats(sources.engine, TOPIC)).dead == 5
    assert await audit(sources) == []


@pytest.mark.parametrize("breaks_off", ["engine", "time"])
@pytest.mark.parametrize("kind", ["redrive", "discard"])
async def test_a_repair_that_breaks_off_says_how_much_was_done(
    operator: Browser,
    sources: Sources,
    dead: Dead,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    breaks_off: str,
) -> None:
    dead.many(TOPIC, 5)
    fields = form_of(await operator.page(f"/repair/{kind}?target={TOPIC}"))
    call, calls, is_over = sources.engine.call, 0, asyncio.Event()

    async def three(function_id: str, **data: Any) -> Any:
        nonlocal calls
        calls += function_id.endswith("_message")
        if calls > 3 and breaks_off == "engine":
            raise Unavailable("engine", "no answer")
        if calls > 3:
            await is_over.wait()
        return await call(function_id, **data)

    monkeypatch.setattr(sources.engine, "call", three)
    monkeypatch.setattr(repairs, "APPLY_SECONDS", 3.0)

    status, html = await operator.post(f"/repair/{kind}", fields)

    assert status == 200
    assert "no answer" in html or "Unavailable" in html
    async with asyncio.timeout(10):
        while not await audit(sources):
            await asyncio.sleep(0.05)
    assert await audit(sources) == [("board:ada", kind, TOPIC, 3, "failed")]


async def test_commands_that_cannot_ask_end_with_two_and_print_no_half_json(
    sources: Sources, make_settings: Any
) -> None:
    async with Sources(make_settings(III_URL="ws://127.0.0.1:9")) as away:
        for command in (["queue", "list"], ["queue", "redrive", TOPIC, "--yes"]):
            assert await bitbylaw(away, *command, "--json") == (2, "")
    for command in (["retry", "nothing"], ["sync", "no id!"], ["pause"]):
        assert await bitbylaw(sources, *command, "--json") == (2, "")
    status, output = await bitbylaw(sources, "resume", "--json")
    assert (status, json.loads(output)["resumed"]) == (1, False)


async def test_a_shell_completes_commands_and_statuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("_BITBYLAW_COMPLETE", "complete_bash")
    for words, wanted in (("qu", "queue"), ("retry per", "permanently_failed")):
        line = f"bitbylaw {words}"
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-c",
                "from cli.main import app; app(prog_name='bitbylaw')",
            ),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert output.decode().split() == [wanted]


async def test_the_command_line_says_what_is_broken_and_repairs_with_the_same_words(
    sources: Sources, dead: Dead, advoware: Any
) -> None:
    held = advoware.employees[0].kuerzel
    await plant(sources, held)
    dead.letters(TOPIC, ["{}", "{}"])
    status, output = await bitbylaw(sources, "status", "--json")
    assert status == 1
    view = json.loads(output)
    assert {"worker: none connected", "dead letters: 2"} <= set(view["problems"])
    assert await bitbylaw(sources, "queue", "redrive", TOPIC) == (2, "")
    status, output = await bitbylaw(
        sources, "queue", "redrive", TOPIC, "--yes", "--json"
    )
    assert (status, json.loads(output)[0]["count"]) == (0, 2)
    status, _ = await bitbylaw(sources, "sync", ENTITY, "--yes")
    assert status == 0
    assert await depth(sources, SYNC_NOW) == 1
    status, _ = await bitbylaw(sources, "release", held, "--yes")
    assert status == 0
    rows = await audit(sources)
    assert [(row[1], row[3]) for row in rows] == [
        ("redrive", 2),
        ("sync", 1),
        ("release", 7),
    ]
    assert all(row[0].startswith("cli:") for row in rows)
