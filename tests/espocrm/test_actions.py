"""The buttons of a Beteiligter on a real EspoCRM: whose right counts, what BitByLaw receives, what the user sees.

BitByLaw is played by a small server that checks the signature as BitByLaw does.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from espocrm_rest import Answer, Espo, Rest

from config import load_settings
from services.api.access import require_action_sender
from services.api.errors import AccessDenied

SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - invented
PASSWORD = "Kanzlei-trial-1"  # noqa: S105 - invented
ACTIONS = {"sync": "sync", "preview": "preview", "createAgain": "create-again"}


@dataclass
class BitByLaw:
    """What was received, and what is answered."""

    url: str = ""
    received: list[tuple[str, Any]] = field(default_factory=list)
    status: int = 200
    body: Any = field(
        default_factory=lambda: {"status": "queued", "formerNumber": "1061", "count": 1}
    )
    headers: dict[str, str] = field(default_factory=dict)

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.received.append((request.path, await request.json()))
        headers = {name.lower(): value for name, value in request.headers.items()}
        settings = load_settings({"ESPOCRM_ACTION_SECRET": SECRET})
        try:
            require_action_sender(
                headers, request.path, await request.json(), settings, time.time()
            )
        except AccessDenied:
            return web.json_response({"reason": "not_admitted"}, status=401)
        if isinstance(self.body, str):
            return web.Response(
                text=self.body, status=self.status, headers=self.headers
            )
        return web.json_response(self.body, status=self.status, headers=self.headers)


@pytest.fixture
async def bitbylaw(espo: Espo) -> AsyncIterator[BitByLaw]:
    if espo.is_twin:
        pytest.skip("the twin has no users and no buttons")
    played = BitByLaw()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", played.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    played.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    before = (await espo.person.get("Settings")).get("bitByLawUrl")
    await set_up(espo, played.url)
    try:
        yield played
    finally:
        await set_up(espo, before, None)
        await runner.cleanup()


async def set_up(espo: Espo, url: str | None, secret: str | None = SECRET) -> None:
    await espo.person.put("Settings", {"bitByLawUrl": url, "bitByLawSecret": secret})


async def new_person(espo: Espo, **attributes: Any) -> str:
    body = {"firstName": "Anna", "lastName": f"Muster {uuid4().hex[:8]}", **attributes}
    return str((await espo.person.post("CBeteiligte", body))["id"])


@asynccontextmanager
async def user(espo: Espo, **rights: str) -> AsyncIterator[tuple[Rest, str]]:
    """A user with these rights on Beteiligte, and no others; without any, the scope is not his."""
    name = f"u{uuid4().hex[:12]}"
    scope: Any = (
        {
            "create": "no",
            "read": "no",
            "edit": "no",
            "delete": "no",
            "stream": "all",
            **rights,
        }
        if rights
        else False
    )
    role = await espo.person.post(
        "Role", {"name": name, "data": {"CBeteiligte": scope}}
    )
    added = await espo.person.post(
        "User",
        {
            "type": "regular",
            "userName": name,
            "lastName": name,
            "password": PASSWORD,
            "passwordConfirm": PASSWORD,
            "isActive": True,
            "rolesIds": [role["id"]],
        },
    )
    url = espo.person.base_url.removesuffix("/api/v1")
    async with Rest.as_user(url, name, PASSWORD) as rest:
        yield rest, added["id"]
    await espo.person.request("DELETE", f"User/{added['id']}")
    await espo.person.request("DELETE", f"Role/{role['id']}")


async def press(who: Rest, entity_id: str, action: str) -> Answer:
    return await who.request("POST", f"BitByLaw/CBeteiligte/{entity_id}/{action}", {})


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_button_arrives_signed_with_the_records_id_alone(
    espo: Espo, bitbylaw: BitByLaw, action: str
) -> None:
    entity_id = await new_person(espo)
    answer = await press(espo.person, entity_id, action)
    assert (answer.status, answer.body) == (200, bitbylaw.body)
    assert bitbylaw.received == [
        (f"/vmh/beteiligte/actions/{ACTIONS[action]}", {"id": entity_id})
    ]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "right", ["none", "read", "edit", "own edit", "edit of his own"]
)
async def test_the_users_right_on_this_record_counts(
    espo: Espo, bitbylaw: BitByLaw, action: str, right: str
) -> None:
    rights: dict[str, dict[str, str]] = {
        "none": {},
        "read": {"read": "all"},
        "edit": {"read": "all", "edit": "all"},
        "own edit": {"read": "all", "edit": "own"},
        "edit of his own": {"read": "own", "edit": "own"},
    }
    async with user(espo, **rights[right]) as (some_user, user_id):
        owner = {"assignedUserId": user_id} if right == "edit of his own" else {}
        answer = await press(some_user, await new_person(espo, **owner), action)
    may = {
        "none": False,
        "read": action == "preview",
        "edit": True,
        "own edit": action == "preview",
        "edit of his own": True,
    }[right]
    assert answer.status == (200 if may else 403), answer
    assert len(bitbylaw.received) == may


async def test_what_is_not_there_is_not_found(espo: Espo, bitbylaw: BitByLaw) -> None:
    entity_id = await new_person(espo)
    assert (await press(espo.person, "unknown", "sync")).status == 404
    assert (await press(espo.person, entity_id, "delete")).status == 400
    await espo.person.request("DELETE", f"CBeteiligte/{entity_id}")
    assert (await press(espo.person, entity_id, "sync")).status == 404
    address = await espo.person.post(
        "CAdressen", {"beteiligteId": await new_person(espo), "adresseCity": "Celle"}
    )
    assert (await press(espo.person, address["id"], "sync")).status == 404
    assert bitbylaw.received == []


async def test_no_one_is_let_in_without_a_login(espo: Espo, bitbylaw: BitByLaw) -> None:
    entity_id = await new_person(espo)
    async with aiohttp.ClientSession() as session:
        assert (
            await press(Rest(session, espo.person.base_url), entity_id, "sync")
        ).status == 401
    assert bitbylaw.received == []


async def test_no_one_can_read_the_key_and_only_an_administrator_sets_it(
    espo: Espo, bitbylaw: BitByLaw
) -> None:
    url = espo.person.base_url
    async with (
        user(espo, read="all", edit="all") as (some_user, _),
        aiohttp.ClientSession() as session,
    ):
        anonymous = Rest(session, url)
        for who in (espo.person, some_user, espo.sync, anonymous):
            for path in ("Settings", "App/user", "Metadata", "Settings/bitByLawSecret"):
                assert SECRET not in str((await who.request("GET", path)).body)
        for who in (some_user, anonymous):
            assert bitbylaw.url not in str((await who.request("GET", "Settings")).body)
            refused = await who.request(
                "PUT", "Settings", {"bitByLawUrl": "http://127.0.0.1:9"}
            )
            assert refused.status in {401, 403}
        assert SECRET not in str(
            (
                await espo.person.request(
                    "PUT", "Settings", {"bitByLawUrl": bitbylaw.url}
                )
            ).body
        )
        settings = (await some_user.get("App/user"))["appParams"]["bitbylaw"]
    assert settings["actions"] is True
    assert (await espo.person.get("Settings"))["bitByLawUrl"] == bitbylaw.url


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1",
        "javascript:alert(1)",
        "http://a b",
        "x",
    ],
)
async def test_what_is_no_web_address_is_not_taken(
    espo: Espo, bitbylaw: BitByLaw, url: str
) -> None:
    assert (
        await espo.person.request("PUT", "Settings", {"bitByLawUrl": url})
    ).status == 400


@pytest.mark.parametrize(
    ("url", "secret"), [(None, SECRET), ("keep", None), ("keep", "")]
)
async def test_without_address_or_key_the_buttons_are_not_set_up(
    espo: Espo, bitbylaw: BitByLaw, url: str | None, secret: str | None
) -> None:
    await set_up(espo, url and bitbylaw.url, secret)
    answer = await press(espo.person, await new_person(espo), "sync")
    assert (answer.status, answer.body) == (503, {"reason": "not_set_up"})
    assert (await espo.person.get("App/user"))["appParams"]["bitbylaw"][
        "actions"
    ] is False
    assert bitbylaw.received == []


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (404, {"reason": "unknown"}, (404, "unknown")),
        (409, {"reason": "not_gone"}, (409, "not_gone")),
        (503, {"reason": "slow"}, (503, "slow")),
        (400, {"reason": "invalid"}, (503, "unexpected")),
        (500, "Internal Server Error", (503, "unexpected")),
        (200, "<html>a login page</html>", (503, "unexpected")),
        (302, "", (503, "unexpected")),
    ],
)
async def test_what_bitbylaw_says_is_passed_on_and_what_it_does_not_say_is_no_success(
    espo: Espo, bitbylaw: BitByLaw, status: int, body: Any, shown: tuple[int, str]
) -> None:
    bitbylaw.status, bitbylaw.body = status, body
    bitbylaw.headers = (
        {"Location": f"{bitbylaw.url}/elsewhere"} if status == 302 else {}
    )
    answer = await press(espo.person, await new_person(espo), "createAgain")
    assert (answer.status, answer.body["reason"]) == shown
    assert len(bitbylaw.received) == 1  # no redirect is followed


async def test_a_wrong_key_does_not_log_the_user_out(
    espo: Espo, bitbylaw: BitByLaw
) -> None:
    await set_up(espo, bitbylaw.url, "another-secret-of-24-characters")
    answer = await press(espo.person, await new_person(espo), "sync")
    assert (answer.status, answer.body) == (503, {"reason": "not_admitted"})


async def test_while_bitbylaw_is_away_that_is_reported_at_once(
    espo: Espo, bitbylaw: BitByLaw
) -> None:
    await set_up(espo, "http://127.0.0.1:9/")
    answer = await press(espo.person, await new_person(espo), "sync")
    assert (answer.status, answer.body) == (503, {"reason": "unreachable"})


async def test_the_stream_keeps_who_had_it_created_again_and_the_old_number(
    espo: Espo, bitbylaw: BitByLaw
) -> None:
    entity_id = await new_person(espo)
    async with user(espo, read="all", edit="all") as (some_user, user_id):
        assert (await press(some_user, entity_id, "createAgain")).status == 200
        notes = (await espo.person.get(f"CBeteiligte/{entity_id}/stream"))["list"]
        assert [
            (note["createdById"], "1061" in note["post"])
            for note in notes
            if note["type"] == "Post"
        ] == [(user_id, True)]
        bitbylaw.status, bitbylaw.body = 409, {"reason": "not_gone"}
        await press(some_user, entity_id, "createAgain")
    notes = (await espo.person.get(f"CBeteiligte/{entity_id}/stream"))["list"]
    assert len([note for note in notes if note["type"] == "Post"]) == 1


async def test_many_are_synced_as_far_as_the_user_may_edit_them(
    espo: Espo, bitbylaw: BitByLaw
) -> None:
    async with user(espo, read="all", edit="own") as (some_user, user_id):
        own = [await new_person(espo, assignedUserId=user_id) for _ in range(2)]
        other = await new_person(espo)
        answer = await some_user.request(
            "POST",
            "BitByLaw/CBeteiligte/sync",
            {"ids": [*own, other, "unknown", own[0]]},
        )
        assert (answer.status, answer.body["skipped"]) == (200, 2)
        [(path, body)] = bitbylaw.received
        assert path == "/vmh/beteiligte/actions/sync"
        assert sorted(body["ids"]) == sorted(own)
        assert (
            await some_user.request(
                "POST", "BitByLaw/CBeteiligte/sync", {"ids": [other]}
            )
        ).status == 403
    for ids in ([], ["x"] * 201, "x", None):
        assert (
            await espo.person.request("POST", "BitByLaw/CBeteiligte/sync", {"ids": ids})
        ).status == 400
    assert len(bitbylaw.received) == 1
