"""The client of EspoCRM against its twin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from watched_journal import WatchedJournal

from config import Settings
from sandbox.espocrm.app import EspoCRMTwin
from services.core.errors import (
    AuthenticationFailed,
    Conflict,
    Forbidden,
    ForeignSystemError,
    InvalidInput,
    NotFound,
    UnexpectedAnswer,
    UpstreamTimeout,
    ValidationFailed,
)
from services.core.resources import Resources
from services.espocrm import EspoCRMAPI
from services.values.espocrm_query import (
    all_of,
    any_of,
    before,
    bracket_query,
    equals,
    is_in,
    is_null,
    linked_with,
    parse_date_time,
)


async def fault(control: aiohttp.ClientSession, twin: Any, **rule: Any) -> None:
    async with control.post(f"{twin.url}/__sandbox__/faults", json=rule) as response:
        response.raise_for_status()


async def people(api: EspoCRMAPI, count: int, **attributes: Any) -> list[str]:
    return [
        (await api.create_entity("CBeteiligte", {"lastName": f"P{n}", **attributes}))[
            "id"
        ]
        for n in range(count)
    ]


def test_filters_are_written_in_php_brackets() -> None:
    assert bracket_query("where", [is_in("syncStatus", ["dirty", "failed"])]) == [
        ("where[0][type]", "in"),
        ("where[0][attribute]", "syncStatus"),
        ("where[0][value][]", "dirty"),
        ("where[0][value][]", "failed"),
    ]
    assert bracket_query("where", [any_of(equals("a", True), is_null("b"))]) == [
        ("where[0][type]", "or"),
        ("where[0][value][0][type]", "equals"),
        ("where[0][value][0][attribute]", "a"),
        ("where[0][value][0][value]", "true"),
        ("where[0][value][1][type]", "isNull"),
        ("where[0][value][1][attribute]", "b"),
    ]


async def test_all_pages_are_read_and_each_record_comes_once(
    resources: Resources, espocrm: EspoCRMTwin
) -> None:
    api = EspoCRMAPI(resources=resources)
    ids = await people(api, 205)
    espocrm.journal.clear()

    found = [
        row["id"] async for row in api.search_entities("CBeteiligte", select=["id"])
    ]

    assert sorted(found) == sorted(ids)
    assert len(espocrm.journal) == 2
    assert len([row async for row in api.search_entities("CBeteiligte", limit=7)]) == 7


async def test_filters_select_what_they_say(resources: Resources) -> None:
    api = EspoCRMAPI(resources=resources)
    dirty, clean = (
        await people(api, 1, syncStatus="dirty"),
        await people(api, 2, syncStatus="clean", betnr=None),
    )
    address = await api.create_entity(
        "CAdressen", {"name": "Haus", "beteiligteId": clean[0]}
    )

    async def ids(entity: str, *where: Any) -> list[str]:
        rows, total = await api.list_entities(entity, where)
        assert total == len(rows)
        return sorted(row["id"] for row in rows)

    assert await ids("CBeteiligte", is_in("syncStatus", ["dirty", "failed"])) == dirty
    assert await ids(
        "CBeteiligte", equals("syncStatus", "clean"), is_null("betnr")
    ) == sorted(clean)
    assert await ids(
        "CBeteiligte", any_of(equals("id", dirty[0]), equals("id", clean[0]))
    ) == sorted([*dirty, clean[0]])
    assert (
        await ids(
            "CBeteiligte", all_of(equals("syncStatus", "clean"), equals("id", dirty[0]))
        )
        == []
    )
    assert (
        await ids("CBeteiligte", before("createdAt", datetime(2020, 1, 1, tzinfo=UTC)))
        == []
    )
    assert await ids("CAdressen", linked_with("beteiligte", clean[0])) == [
        address["id"]
    ]


async def test_a_record_is_read_whole_changed_in_part_and_deleted(
    resources: Resources,
) -> None:
    api = EspoCRMAPI(resources=resources)
    (entity_id,) = await people(
        api,
        1,
        firstName="Max",
        emailAddressData=[{"emailAddress": "A@x.de", "primary": True}],
    )

    await api.update_entity("CBeteiligte", entity_id, {"firstName": "Moritz"})

    record = await api.get_entity("CBeteiligte", entity_id)
    assert (record["firstName"], record["lastName"]) == ("Moritz", "P0")
    assert record["emailAddressData"][0]["lower"] == "a@x.de"
    assert parse_date_time(record["modifiedAt"]) is not None
    with pytest.raises(Forbidden):  # the sync user may not delete people
        await api.delete_entity("CBeteiligte", entity_id)


async def test_refusals_carry_the_reason_of_espocrm(resources: Resources) -> None:
    api = EspoCRMAPI(resources=resources)

    with pytest.raises(ValidationFailed, match="field: syncStatus"):
        await api.create_entity(
            "CBeteiligte", {"lastName": "P", "syncStatus": "unknown"}
        )
    with pytest.raises(NotFound, match="does not exist"):
        await api.get_entity("CBeteiligte", "unknown")
    with pytest.raises(Forbidden, match="No create access"):
        await api.create_entity("Notification", {"message": "x"})


async def test_a_refused_key_is_tried_once_and_then_rests(
    make_settings: Callable[..., Settings],
    espocrm: EspoCRMTwin,
    resources: Resources,
    clock: Any,
) -> None:
    async with Resources(
        make_settings(ESPOCRM_MARVIN_API_KEY="falsch"), clock=clock
    ) as wrong:
        for _ in range(20):
            with pytest.raises(AuthenticationFailed, match="ESPOCRM_MARVIN_API_KEY"):
                await EspoCRMAPI(resources=wrong).get_entity("CBeteiligte", "x")
        assert len(espocrm.journal) == 1
        clock.advance(seconds=61)
        with pytest.raises(AuthenticationFailed):
            await EspoCRMAPI(resources=wrong).get_entity("CBeteiligte", "x")
    assert len(espocrm.journal) == 2
    # Our address is not blocked: the right key still works.
    assert await EspoCRMAPI(resources=resources).list_entities("CBeteiligte") == ([], 0)


@pytest.mark.parametrize(
    ("field", "how"),
    [
        ("list[].id", {"how": "missing"}),
        ("list[].id", {"how": "null"}),
        ("list[].id", {"how": "value", "to": 5}),
        ("list[]", {"how": "value", "to": "x"}),
        ("list[]", {"how": "null"}),
        ("list", {"how": "null"}),
    ],
)
async def test_a_list_of_what_are_no_records_is_not_understood(
    resources: Resources,
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    field: str,
    how: dict[str, Any],
) -> None:
    api = EspoCRMAPI(resources=resources)
    await people(api, 2)
    answer = [{"field": field, **how}]
    await fault(control, espocrm, method="GET", path="/CBeteiligte$", answer=answer)
    with pytest.raises(UnexpectedAnswer):
        await api.list_entities("CBeteiligte")


@pytest.mark.parametrize(
    "how",
    [
        {"how": "missing"},
        {"how": "null"},
        {"how": "value", "to": "2"},
        {"how": "value", "to": True},
    ],
)
async def test_a_list_without_a_readable_number_is_a_list(
    resources: Resources,
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    how: dict[str, Any],
) -> None:
    api = EspoCRMAPI(resources=resources)
    await people(api, 2)
    answer = [{"field": "total", **how}]
    await fault(control, espocrm, method="GET", path="/CBeteiligte$", answer=answer)
    rows, total = await api.list_entities("CBeteiligte")
    assert (len(rows), total) == (2, -1)
    found = [row async for row in api.search_entities("CBeteiligte")]
    assert len(found) == 2


async def test_a_create_of_unknown_fate_is_not_repeated_and_a_change_is(
    resources: Resources, espocrm: EspoCRMTwin, control: aiohttp.ClientSession
) -> None:
    api = EspoCRMAPI(resources=resources)
    (entity_id,) = await people(api, 1)
    await fault(control, espocrm, method="PUT", status=503, count=1)
    assert (await api.update_entity("CBeteiligte", entity_id, {"firstName": "Neu"}))[
        "firstName"
    ] == "Neu"
    await fault(control, espocrm, method="POST", hang=True, when="after")

    with pytest.raises(UpstreamTimeout):
        await api.create_entity("CBeteiligte", {"lastName": "Einmal"})

    assert (await api.list_entities("CBeteiligte", [equals("lastName", "Einmal")]))[
        1
    ] == 1


async def test_a_worker_that_was_frozen_between_two_tries_repeats_nothing(
    resources: Resources,
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    clock: Any,
) -> None:
    api = EspoCRMAPI(resources=resources)
    (entity_id,) = await people(api, 1)
    await fault(control, espocrm, method="PUT", status=503, count=1)
    journal = WatchedJournal(lambda entry: clock.advance(hours=26))
    espocrm.journal = journal

    with pytest.raises(UpstreamTimeout):
        await api.update_entity("CBeteiligte", entity_id, {"firstName": "Neu"})

    assert [entry["method"] for entry in journal] == ["PUT"]


# -- the write action -------------------------------------------------------------------------------------------------


async def settings(
    control: aiohttp.ClientSession, twin: EspoCRMTwin, **changes: Any
) -> None:
    async with control.post(
        f"{twin.url}/__sandbox__/settings", json=changes
    ) as response:
        response.raise_for_status()


def asked(twin: EspoCRMTwin) -> list[tuple[str, str]]:
    return [(entry["method"], entry["route"]) for entry in twin.journal]


@pytest.mark.parametrize("entity", ["CBeteiligte", "CAdressen", "CBankverbindungen"])
async def test_our_entities_are_written_by_the_action_and_others_as_always(
    resources: Resources,
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    entity: str,
) -> None:
    api = EspoCRMAPI(resources=resources)
    async with control.post(
        f"{espocrm.url}/__sandbox__/records/CBeteiligte", json={"lastName": "Muster"}
    ) as answer:
        owner = (await answer.json())["id"]
    added = await api.create_entity(
        entity, {"name": "Neu", "lastName": "Neu", "beteiligteId": owner}
    )
    changed = await api.update_entity(entity, added["id"], {"syncStatus": "clean"})
    assert changed == await api.get_entity(entity, added["id"])
    await api.create_entity(
        "Note",
        {"post": "x", "parentType": entity, "parentId": added["id"], "type": "Post"},
    )
    assert asked(espocrm) == [
        ("GET", "/api/v1/BitByLaw/write"),
        ("POST", "/api/v1/BitByLaw/write"),
        ("PUT", "/api/v1/BitByLaw/write"),
        ("GET", "/api/v1/{entity}/{id}"),
        ("POST", "/api/v1/{entity}"),
    ]


async def test_an_older_extension_is_written_plainly_and_asked_again_after_five_minutes(
    resources: Resources,
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    clock: Any,
) -> None:
    await settings(control, espocrm, extension="1.0.0")
    api = EspoCRMAPI(resources=resources)
    (entity_id,) = await people(api, 1)
    await EspoCRMAPI(resources=resources).update_entity(
        "CBeteiligte", entity_id, {"firstName": "Neu"}
    )
    plain = ("PUT", "/api/v1/{entity}/{id}")
    assert asked(espocrm) == [
        ("GET", "/api/v1/BitByLaw/write"),
        ("POST", "/api/v1/{entity}"),
        plain,
    ]

    await settings(control, espocrm, extension="1.1.0")
    clock.advance(seconds=301)
    await api.update_entity("CBeteiligte", entity_id, {"firstName": "Neuer"})
    assert asked(espocrm)[3:] == [
        ("GET", "/api/v1/BitByLaw/write"),
        ("PUT", "/api/v1/BitByLaw/write"),
    ]


async def test_an_action_that_has_gone_in_the_meantime_is_done_without(
    resources: Resources, espocrm: EspoCRMTwin, control: aiohttp.ClientSession
) -> None:
    api = EspoCRMAPI(resources=resources)
    (entity_id,) = await people(api, 1)
    await settings(control, espocrm, extension="1.0.0")
    assert (await api.update_entity("CBeteiligte", entity_id, {"firstName": "Neu"}))[
        "firstName"
    ] == "Neu"
    assert (await api.create_entity("CBeteiligte", {"lastName": "Neu"}))[
        "lastName"
    ] == "Neu"


async def test_an_api_user_without_the_role_writes_plainly(
    make_settings: Callable[..., Settings], espocrm: EspoCRMTwin, clock: Any
) -> None:
    async with Resources(
        make_settings(ESPOCRM_MARVIN_API_KEY="espocrm-admin-key"), clock=clock
    ) as admin:
        added = await EspoCRMAPI(resources=admin).create_entity(
            "CBeteiligte", {"lastName": "Neu"}
        )
    assert added["lastName"] == "Neu"
    assert asked(espocrm)[-1] == ("POST", "/api/v1/{entity}")


async def test_a_create_by_the_action_whose_answer_was_lost_is_repeated_and_done_once(
    resources: Resources, espocrm: EspoCRMTwin, control: aiohttp.ClientSession
) -> None:
    api = EspoCRMAPI(resources=resources)
    await fault(
        control,
        espocrm,
        method="POST",
        path="CBeteiligte",
        reset=True,
        when="after",
        count=1,
    )
    added = await api.create_entity("CBeteiligte", {"lastName": "Einmal"})
    rows, total = await api.list_entities("CBeteiligte", [equals("lastName", "Einmal")])
    assert ([row["id"] for row in rows], total) == ([added["id"]], 1)


async def test_refusals_of_the_action_are_those_of_a_plain_request(
    resources: Resources, espocrm: EspoCRMTwin, control: aiohttp.ClientSession
) -> None:
    api = EspoCRMAPI(resources=resources)
    (entity_id,) = await people(api, 1)
    await settings(control, espocrm, duplicate_check=["CBeteiligte"])
    found: dict[str, list[Any]] = {}
    for extension in ("1.0.0", "1.1.0"):
        await settings(control, espocrm, extension=extension)
        api._session.ask_again_at = None
        for call in (
            api.update_entity("CBeteiligte", entity_id, {"syncStatus": "unknown"}),
            api.update_entity("CBeteiligte", "unknown", {"firstName": "x"}),
            api.update_entity(
                "CBeteiligte", entity_id, {"firstName": extension}, version_number=7
            ),
            api.create_entity("CBeteiligte", {"lastName": "P0"}),
        ):
            with pytest.raises(ForeignSystemError) as caught:
                await call
            error = caught.value
            details = error.details
            if isinstance(details, dict):
                details = {
                    name: value for name, value in details.items() if name != "index"
                } or None
            found.setdefault(extension, []).append(
                (type(error), error.status, error.reason, details)
            )
    assert found["1.0.0"] == found["1.1.0"]
    assert [kind for kind, *_ in found["1.1.0"]] == [
        ValidationFailed,
        NotFound,
        Conflict,
        Conflict,
    ]


# -- request lines ----------------------------------------------------------------------------------------------------


class Wire:
    """A server that answers every list request with no rows, and keeps the request lines as they came."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.lines.append(head.partition(b"\r\n")[0] + b"\r\n")
        body = b'{"total": 0, "list": []}'
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n"
        )
        writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()


@pytest.mark.parametrize(
    "values",
    [
        [f"6b0473a32660a{n:04d}" for n in range(200)],
        [f"{'ü€' * 20} {n}" for n in range(100)],
        [f"a[b]&c={n}+%" for n in range(2000)],
        ["x" * 4000, "y" * 4000, "z"],
    ],
    ids=["200 ids", "non-ASCII", "reserved characters", "few long ones"],
)
async def test_no_request_line_is_longer_than_web_servers_take(
    make_settings: Callable[..., Settings], values: list[str]
) -> None:
    wire = Wire()
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0, limit=2**20)
    port = server.sockets[0].getsockname()[1]
    settings = make_settings(
        ESPOCRM_API_BASE_URL=f"http://127.0.0.1:{port}/ein/langer/pfad/api/v1"
    )
    async with server, Resources(settings) as resources:
        api = EspoCRMAPI(resources=resources)
        filters = [equals("syncStatus", "clean"), is_in("name", values)]
        assert [
            row
            async for row in api.search_entities("CBeteiligte", filters, ["id", "name"])
        ] == []
        assert max(map(len, wire.lines)) <= 8190
        sent = [
            item
            for line in wire.lines
            for key, item in parse_qsl(
                line.split(b" ")[1].partition(b"?")[2].decode(), keep_blank_values=True
            )
            if key == "where[1][value][]"
        ]
        assert sent == values
        assert all(b"clean" in line for line in wire.lines)


async def test_a_divided_list_brings_all_rows_once_and_no_more_than_wanted(
    resources: Resources, espocrm: EspoCRMTwin
) -> None:
    api = EspoCRMAPI(resources=resources)
    ids = await people(api, 420)
    espocrm.journal.clear()

    found = [
        row["id"]
        async for row in api.search_entities(
            "CBeteiligte", [is_in("id", [*ids, *ids[:50]])], ["id"]
        )
    ]

    assert sorted(found) == sorted(ids)
    assert {entry["status"] for entry in espocrm.journal} == {200}
    some = [
        row["id"]
        async for row in api.search_entities(
            "CBeteiligte", [is_in("id", ids)], ["id"], limit=7
        )
    ]
    assert len(some) == 7


async def test_filters_that_cannot_be_divided_are_refused_before_they_are_sent(
    resources: Resources, espocrm: EspoCRMTwin
) -> None:
    api = EspoCRMAPI(resources=resources)
    espocrm.journal.clear()
    with pytest.raises(InvalidInput, match="request line"):
        await api.list_entities(
            "CBeteiligte", [is_in("id", [f"6b0473a32660a{n:04d}" for n in range(200)])]
        )
    with pytest.raises(InvalidInput, match="request line"):
        _ = [
            row
            async for row in api.search_entities(
                "CBeteiligte", [equals("name", "ü" * 2000)]
            )
        ]
    assert not espocrm.journal
