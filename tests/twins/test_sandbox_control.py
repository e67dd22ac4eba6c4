"""The control API that every twin has: faults on demand, journal, clock, reset. Driven on the Advoware twin."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from advoware_calls import login_body

from sandbox.advoware.app import AdvowareTwin
from sandbox.control import Twin, running
from sandbox.espocrm.app import EspoCRMTwin
from sandbox.google.app import GoogleTwin

DISCOVERY = "/AdvonetConfigurator/api/Url"
BETEILIGTE = "/api/v1/advonet/Beteiligte"
CHECKOUT = Path(__file__).parents[2]


class Caller:
    """Speaks to a twin."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session
        self.headers: dict[str, str] = {}

    async def call(
        self, method: str, path: str, *, body: Any = None, timeout: float = 20
    ) -> tuple[int, str]:
        """Status and body."""
        wait = aiohttp.ClientTimeout(total=timeout)
        url = self.url + path
        async with self.session.request(
            method, url, json=body, headers=self.headers, timeout=wait
        ) as answer:
            return answer.status, await answer.text()

    async def discover(self) -> int:
        """A request that needs no login; its status."""
        return (await self.call("GET", f"{DISCOVERY}?Kanzlei=demo"))[0]

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """Use the control API."""
        status, text = await self.call(method, f"/__sandbox__/{path}", body=body)
        assert status == 200, text
        return json.loads(text)

    async def log_in(self) -> None:
        """Get a token for the following requests."""
        login = login_body(
            RequestTimeStamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        )
        status, text = await self.call("POST", "/api/v1/Token", body=login)
        assert status == 200, text
        self.headers = {"Authorization": f"Bearer {json.loads(text)['access_token']}"}


@asynccontextmanager
async def calling(twin: AdvowareTwin) -> AsyncIterator[Caller]:
    async with running(twin) as url, aiohttp.ClientSession() as session:
        yield Caller(url, session)


@pytest.fixture(name="caller")
async def caller_of_a_fresh_twin() -> AsyncIterator[Caller]:
    async with calling(AdvowareTwin()) as caller:
        yield caller


# -- faults ---------------------------------------------------------------------------------------------------------


async def test_a_status_fault_answers_with_its_status_headers_and_body(
    caller: Caller,
) -> None:
    await caller.control(
        "POST",
        "faults",
        {
            "path": "/Url",
            "status": 429,
            "headers": {"Retry-After": "7"},
            "body": {"error": "langsam"},
        },
    )
    async with caller.session.get(f"{caller.url}{DISCOVERY}?Kanzlei=demo") as answer:
        assert answer.status == 429
        assert answer.headers["Retry-After"] == "7"
        assert await answer.json() == {"error": "langsam"}


async def test_a_status_fault_without_body_is_worded_by_the_twin(
    caller: Caller,
) -> None:
    await caller.control(
        "POST", "faults", [{"status": 500, "count": 1}, {"status": 503, "count": 1}]
    )
    assert await caller.call("GET", DISCOVERY) == (
        500,
        "Es ist ein unerwarteter Fehler aufgetreten.",
    )
    assert await caller.call("GET", DISCOVERY) == (503, "")


async def test_a_rule_strikes_only_matching_method_path_and_query(
    caller: Caller,
) -> None:
    rule = {"method": "get", "path": "Url$", "query": "Kanzlei=demo", "status": 502}
    await caller.control("POST", "faults", rule)
    assert (await caller.call("GET", f"{DISCOVERY}?Kanzlei=andere"))[0] == 404
    assert (await caller.call("POST", f"{DISCOVERY}?Kanzlei=demo"))[0] == 405
    assert (await caller.call("GET", f"{BETEILIGTE}?Kanzlei=demo"))[0] == 401
    assert await caller.discover() == 502


async def test_skip_and_count_choose_which_requests_are_struck(caller: Caller) -> None:
    await caller.control("POST", "faults", {"status": 503, "skip": 2, "count": 3})
    assert [await caller.discover() for _ in range(7)] == [
        200,
        200,
        503,
        503,
        503,
        200,
        200,
    ]
    assert await caller.control("GET", "faults") == [
        {"status": 503, "skip": 2, "count": 3, "struck": 3}
    ]


async def test_a_used_up_rule_makes_way_for_the_next_one(caller: Caller) -> None:
    await caller.control(
        "POST", "faults", [{"status": 500, "count": 1}, {"status": 503, "count": 1}]
    )
    assert [await caller.discover() for _ in range(3)] == [500, 503, 200]


async def test_probability_strikes_now_and_then_and_the_same_way_after_a_reset(
    caller: Caller,
) -> None:
    rounds = []
    for _ in range(2):
        await caller.control("POST", "reset", {"seed": 3})
        await caller.control("POST", "faults", {"status": 503, "probability": 0.5})
        rounds.append([await caller.discover() for _ in range(40)])
    assert rounds[0] == rounds[1]
    assert 5 < rounds[0].count(503) < 35


async def test_latency_delays_the_answer_but_does_not_change_it(caller: Caller) -> None:
    await caller.control("POST", "faults", {"latency_ms": 120})
    started = time.monotonic()
    assert await caller.discover() == 200
    assert time.monotonic() - started >= 0.12


async def test_a_held_request_waits_until_its_rule_is_removed(caller: Caller) -> None:
    await caller.control("POST", "faults", {"name": "held", "hold": True, "count": 1})
    held = asyncio.create_task(caller.discover())
    async with asyncio.timeout(60):
        while not (await caller.control("GET", "faults"))[0]["struck"]:
            await asyncio.sleep(0.01)
    assert await caller.discover() == 200
    assert (await caller.control("GET", "journal"))[0]["ms"] is None
    assert not held.done()
    await caller.control("DELETE", "faults?name=held")
    assert await held == 200


async def test_reset_cuts_the_connection(caller: Caller) -> None:
    await caller.control("POST", "faults", {"reset": True, "count": 1})
    with pytest.raises(aiohttp.ClientConnectionError):
        await caller.call(
            "POST", "/api/v1/Token", body={}
        )  # aiohttp itself would repeat a GET, PUT or DELETE once
    assert await caller.discover() == 200


async def test_hang_never_answers_and_ends_when_the_caller_hangs_up(
    caller: Caller,
) -> None:
    await caller.control("POST", "faults", {"hang": True, "count": 1})
    with pytest.raises(asyncio.TimeoutError):
        await caller.call("GET", DISCOVERY, timeout=0.3)
    async with asyncio.timeout(60):
        while (await caller.control("GET", "journal"))[0]["ms"] is None:
            await asyncio.sleep(0.02)
    assert await caller.discover() == 200


@pytest.mark.parametrize(("when", "created"), [("before", 0), ("after", 1)])
async def test_a_lost_answer_may_or_may_not_mean_that_the_work_was_done(
    when: str, created: int
) -> None:
    async with calling(AdvowareTwin(empty=True)) as caller:
        await caller.log_in()
        await caller.control(
            "POST",
            "faults",
            {"method": "POST", "path": "Beteiligte", "reset": True, "when": when},
        )
        with pytest.raises(aiohttp.ClientConnectionError):
            await caller.call("POST", BETEILIGTE, body={"name": "Neu"})
        state = await caller.control("GET", "state")
        assert [record["name"] for record in state["beteiligte"]] == ["Neu"] * created


async def test_an_error_after_the_work_was_done(caller: Caller) -> None:
    await caller.log_in()
    await caller.control(
        "POST", "faults", {"method": "POST", "status": 500, "when": "after", "count": 1}
    )
    assert (await caller.call("POST", BETEILIGTE, body={"name": "Doppelt"}))[0] == 500
    assert (
        len(json.loads((await caller.call("GET", f"{BETEILIGTE}?name=Doppelt"))[1]))
        == 1
    )


async def test_empty_list_hides_the_rows_and_nothing_else(caller: Caller) -> None:
    await caller.log_in()
    await caller.control(
        "POST", "faults", {"path": "Beteiligte", "empty_list": True, "count": 1}
    )
    assert await caller.call("GET", BETEILIGTE) == (200, "[]")
    assert len(json.loads((await caller.call("GET", BETEILIGTE))[1])) == 54


async def test_truncated_json_is_a_success_that_can_not_be_read(caller: Caller) -> None:
    await caller.log_in()
    await caller.control(
        "POST", "faults", {"path": "Beteiligte", "truncate_json": True, "count": 1}
    )
    status, text = await caller.call("GET", f"{BETEILIGTE}/1001")
    assert status == 200
    assert text.startswith("{")
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


async def test_revoking_tokens_through_a_fault_hits_the_very_request(
    caller: Caller,
) -> None:
    await caller.log_in()
    await caller.control(
        "POST", "faults", {"path": "Beteiligte", "revoke_tokens": True, "count": 1}
    )
    assert (await caller.call("GET", f"{BETEILIGTE}/1001"))[0] == 401
    await caller.log_in()
    assert (await caller.call("GET", f"{BETEILIGTE}/1001"))[0] == 200


async def test_removed_faults_strike_no_more(caller: Caller) -> None:
    await caller.control("POST", "faults", {"status": 500})
    assert await caller.control("DELETE", "faults") == []
    assert await caller.discover() == 200


@pytest.mark.parametrize(
    "rule", [{"stats": 500}, {"status": "viel"}, {"when": "später", "status": 500}]
)
async def test_a_misspelled_rule_is_refused(
    caller: Caller, rule: dict[str, Any]
) -> None:
    assert (await caller.call("POST", "/__sandbox__/faults", body=rule))[0] == 400
    assert await caller.control("GET", "faults") == []


# -- journal --------------------------------------------------------------------------------------------------------


async def test_the_journal_reports_every_request_but_those_to_the_control_api(
    caller: Caller,
) -> None:
    await caller.control("POST", "faults", {"path": "Token", "status": 503})
    await caller.discover()
    await caller.call("POST", "/api/v1/Token", body={})
    await caller.call("GET", "/nirgends")
    first, second, third = await caller.control("GET", "journal")
    assert (first["number"], first["method"], first["status"]) == (1, "GET", 200)
    assert (first["path"], first["route"], first["fault"]) == (
        f"{DISCOVERY}?Kanzlei=demo",
        DISCOVERY,
        None,
    )
    assert first["ms"] >= 0
    assert datetime.fromisoformat(first["at"]).tzinfo is not None
    assert (second["status"], second["fault"]) == (
        503,
        {"path": "Token", "status": 503},
    )
    assert (third["status"], third["route"]) == (404, "(no route)")


async def test_the_summary_counts_by_method_and_route(caller: Caller) -> None:
    for betnr in (1001, 1002, 9999):
        await caller.call("GET", f"{BETEILIGTE}/{betnr}")
    await caller.call("PUT", f"{BETEILIGTE}/1001", body={})
    await caller.discover()
    assert await caller.control("GET", "journal/summary") == {
        f"GET {BETEILIGTE}/{{betnr}}": 3,
        f"PUT {BETEILIGTE}/{{betnr}}": 1,
        f"GET {DISCOVERY}": 1,
    }


async def test_a_forgotten_journal_is_empty(caller: Caller) -> None:
    await caller.discover()
    await caller.control("DELETE", "journal")
    assert await caller.control("GET", "journal") == []
    assert await caller.control("GET", "journal/summary") == {}


# -- request lines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("twin", [AdvowareTwin, EspoCRMTwin, GoogleTwin])
async def test_request_lines_above_8190_bytes_are_refused(twin: type[Twin]) -> None:
    async with running(twin(empty=True)) as url, aiohttp.ClientSession() as session:
        caller = Caller(url, session)
        for method in ("GET", "DELETE"):
            rest = 8190 - len(f"{method}  HTTP/1.1")
            for length, refused in ((rest, False), (rest + 1, True), (200_000, True)):
                status, _ = await caller.call(
                    method, "/x?" + "a" * (length - len("/x?"))
                )
                assert (status == 414) == refused, (method, length, status)
        journal = await caller.control("GET", "journal")
        assert [entry["status"] == 414 for entry in journal] == [False, True, True] * 2


async def test_the_control_api_takes_long_request_lines(caller: Caller) -> None:
    await caller.control("GET", "journal?" + "a" * 9000)


# -- clock and reset ------------------------------------------------------------------------------------------------


async def test_the_clock_can_be_moved_and_put_back(caller: Caller) -> None:
    before = datetime.now(UTC)
    await caller.control("POST", "clock", {"advance_seconds": 3600})
    moved = await caller.control("POST", "clock", {"advance_seconds": 1800})
    assert (
        5400 <= (datetime.fromisoformat(moved["now"]) - before).total_seconds() < 5460
    )
    back = await caller.control("POST", "clock", {"reset": True})
    assert 0 <= (datetime.fromisoformat(back["now"]) - before).total_seconds() < 60


async def test_a_twin_lives_by_the_clock_it_is_given() -> None:
    fixed = datetime(2026, 2, 10, 8, 0, tzinfo=UTC)
    async with calling(AdvowareTwin(clock=lambda: fixed)) as caller:
        assert (await caller.control("POST", "clock", {}))["now"] == fixed.isoformat()


async def test_reset_restores_data_and_clock_and_forgets_journal_and_faults(
    caller: Caller,
) -> None:
    seeded = await caller.control("GET", "state")
    await caller.call("DELETE", "/__sandbox__/beteiligte/1001")
    await caller.control("POST", "faults", {"status": 500})
    await caller.control("POST", "clock", {"advance_seconds": 86400 * 30})
    await caller.discover()
    assert await caller.control("POST", "reset") == {"seed": 1, "empty": False}
    assert await caller.control("GET", "state") == seeded
    assert await caller.control("GET", "faults") == []
    assert await caller.control("GET", "journal") == []
    now = datetime.fromisoformat((await caller.control("POST", "clock", {}))["now"])
    assert abs((now - datetime.now(UTC)).total_seconds()) < 60


async def test_reset_takes_another_seed_or_no_data_at_all(caller: Caller) -> None:
    seeded = await caller.control("GET", "state")
    await caller.control("POST", "reset", {"seed": 2})
    assert await caller.control("GET", "state") != seeded
    await caller.control("POST", "reset", {"empty": True})
    state = await caller.control("GET", "state")
    assert (state["beteiligte"], state["termine"]) == ([], [])


# -- a twin as a program --------------------------------------------------------------------------------------------


async def start_program(*arguments: str) -> asyncio.subprocess.Process:
    """``python -m sandbox.advoware.app`` with these arguments."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sandbox.advoware.app",
        *arguments,
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[Caller]:
    """A twin as a program of its own on a free port, which has to end well on SIGTERM."""
    process = await start_program("--port", "0", *arguments)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            ready = json.loads(await process.stdout.readline())
        assert ready["ready"] == "advoware"
        async with aiohttp.ClientSession() as session:
            yield Caller(ready["url"], session)
    finally:
        process.terminate()
        async with asyncio.timeout(30):
            await process.communicate()
    assert process.returncode == 0


async def test_a_twin_alone_says_where_it_listens_and_ends_on_sigterm() -> None:
    async with program("--empty") as caller:
        state = await caller.control("GET", "state")
    assert (state["beteiligte"], len(state["mitarbeiter"])) == ([], 12)


async def test_a_twin_with_a_state_file_goes_on_where_it_ended(tmp_path: Path) -> None:
    kept = ("--state-file", str(tmp_path / "twins" / "advoware"))
    async with program(*kept) as caller:
        await caller.log_in()
        await caller.call("POST", BETEILIGTE, body={"name": "Vorher"})
        await caller.control(
            "PUT",
            "beteiligte/1001",
            {"kommunikation": [{"tlf": "030 23125 1", "kommKz": 1}]},
        )
        await caller.control("DELETE", "termine/20001")
        before, headers = await caller.control("GET", "state"), caller.headers
    async with program(*kept) as caller:
        caller.headers = headers  # the token is still good
        assert await caller.control("GET", "state") == before
        _, text = await caller.call("POST", BETEILIGTE, body={"name": "Nachher"})
        created = json.loads(text)
        assert (
            created["betNr"]
            == max(record["betNr"] for record in before["beteiligte"]) + 1
        )
        assert created["rowId"] not in json.dumps(before)


async def test_a_taken_port_is_named(caller: Caller) -> None:
    port = caller.url.rpartition(":")[2]
    process = await start_program("--port", port)
    async with asyncio.timeout(30):
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert f"Port {port} (advoware twin) cannot be used" in errors.decode()
