"""The buttons of a CBeteiligte: who may press them, what the sync then does, and that a preview writes nothing."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from beteiligte_office import MAILS, PHONES, Office, office
from motia import ApiRequest

from config import (
    PROJECT_ROOT,
    ConfigurationError,
    Settings,
    get_settings,
    load_settings,
)
from services.api import access
from services.api.access import action_signature, php_json
from services.core.locks import beteiligte_lock_key, record_lock
from services.core.resources import current_resources

__all__ = ["office"]

SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - invented
STEPS = PROJECT_ROOT / "steps" / "vmh"
ADDRESS = {
    "adresseStreet": "Hauptstr. 1",
    "adressePostalCode": "30159",
    "adresseCity": "Hannover",
    "istStandard": True,
}
ACCOUNT = {
    "iban": "DE89370400440532013000",
    "kontoinhaber": "Erika Muster",
    "istAktiv": True,
}


class Log:
    """The engine's log, which no one reads here."""

    def info(self, event: str, fields: Any = None) -> None: ...

    warn = error = info


@dataclass
class Engine:
    """What a step sees of the engine; keeps what is enqueued."""

    queue: list[tuple[str, Any]] = field(default_factory=list)
    is_down: bool = False
    trace_id: str = "trace"
    logger: Log = field(default_factory=Log)

    async def enqueue(self, message: dict[str, Any]) -> None:
        if self.is_down:
            raise ConnectionError("the engine is away")
        self.queue.append((message["topic"], json.loads(json.dumps(message["data"]))))


@dataclass
class Firm:
    """The office, and EspoCRM's server, which calls us for people."""

    office: Office
    engine: Engine = field(default_factory=Engine)

    async def press(
        self,
        button: str,
        body: Any,
        *,
        secret: str = SECRET,
        age: float = 0,
        path: str | None = None,
        signed: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """EspoCRM's server passes a button on; the answer."""
        url = path or f"/vmh/beteiligte/actions/{button}"
        timestamp = str(int(datetime.now(UTC).timestamp() - age))
        content = signed or php_json(body)
        proof = {
            "x-bitbylaw-timestamp": timestamp,
            "x-bitbylaw-signature": action_signature(
                secret, timestamp, "POST", url, content
            ),
        }
        handler = _load(f"beteiligte_action_{button.replace('-', '_')}_api").handler
        answer = await handler(
            ApiRequest(body=body, headers=proof if headers is None else headers),
            self.engine,
        )
        return answer.status, answer.body

    async def work(self) -> None:
        """The queue delivers what waits."""
        waiting, self.engine.queue = self.engine.queue, []
        handler = _load("beteiligte_sync_event").handler
        for _, data in waiting:
            await handler(data, self.engine)

    async def part(self, entity: str, owner: str, **attributes: Any) -> str:
        record = {**attributes, "beteiligteId": owner}
        url = f"{self.office.espocrm.url}/__sandbox__/records/{entity}?silent=1"
        return str((await self.office._request("POST", url, json=record))["id"])

    async def with_everything(self) -> tuple[str, int]:
        """A person with contact data, an address and an account, in both systems."""
        entity_id = await self.office.new_person(
            phoneNumberData=PHONES, emailAddressData=MAILS
        )
        await self.part("CAdressen", entity_id, **ADDRESS)
        await self.part("CBankverbindungen", entity_id, **ACCOUNT)
        assert (await self.office.sync(entity_id, "create")).result == "created"
        return entity_id, int((await self.office.in_espocrm(entity_id))["betnr"])

    async def gone(self) -> tuple[str, int]:
        """The same, deleted in Advoware and found to be so. Others are there, so it is no restored backup."""
        await self.office.linked_person(firstName="Andere", lastName="Person")
        entity_id, betnr = await self.with_everything()
        await self.office.linked_person(firstName="Weitere", lastName="Person")
        await self.office.delete_in_advoware(betnr)
        assert (
            await self.office.sync(entity_id, "sync_check", "cron")
        ).result == "deleted_in_advoware"
        return entity_id, betnr

    async def everything(self) -> dict[str, Any]:
        """All that is stored anywhere."""
        pool = await self.office.resources.database()
        tables = [
            row["tablename"]
            for row in await pool.fetch(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            )
        ]
        redis = self.office.resources.redis
        return {
            "advoware": self.office.advoware.state(),
            "espocrm": self.office.espocrm.state(),
            "postgres": {
                table: sorted(
                    str(tuple(row)) for row in await pool.fetch(f"TABLE {table}")
                )
                for table in tables
            },
            "redis": {key: await redis.type(key) for key in await redis.keys()},
        }

    def beteiligte(self) -> list[dict[str, Any]]:
        return list(self.office.advoware.state()["beteiligte"])


def _load(step: str) -> Any:
    path = Path(STEPS / f"{step}_step.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def firm(
    office: Office,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Firm]:
    for name, value in (
        make_settings(ESPOCRM_ACTION_SECRET=SECRET).environment().items()
    ):
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield Firm(office)
    await current_resources().close()
    get_settings.cache_clear()


def lines(answer: dict[str, Any], system: str) -> set[tuple[str, str, str, str]]:
    return {
        (change["title"], field["label"], field["old"], field["new"])
        for change in answer["changes"]
        if change["system"] == system
        for field in change["fields"]
    }


# -- who may press ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "another-secret-of-24-characters"},
        {"age": 301},
        {"age": -301},
        {"path": "/vmh/beteiligte/actions/preview"},
        {"signed": b'{"id":"other"}'},
        {"headers": {}},
        {"headers": {"x-bitbylaw-signature": "", "x-bitbylaw-timestamp": ""}},
        {"headers": {"x-bitbylaw-signature": "ä", "x-bitbylaw-timestamp": "²"}},
    ],
)
async def test_only_who_knows_the_key_now_may_press(
    firm: Firm, wrong: dict[str, Any]
) -> None:
    entity_id = await firm.office.new_person()
    assert await firm.press("sync", {"id": entity_id}, **wrong) == (
        401,
        {"reason": "not_admitted"},
    )
    assert firm.engine.queue == []


async def test_a_signature_is_good_for_five_minutes(firm: Firm) -> None:
    entity_id = await firm.office.new_person()
    assert (await firm.press("sync", {"id": entity_id}, age=295))[0] == 200


async def test_guessing_is_slowed_down(firm: Firm) -> None:
    for _ in range(access.FREE_ATTEMPTS):
        await firm.press("sync", {"id": "x"}, secret="wrong")  # noqa: S106 - invented
    before = datetime.now(UTC)
    await firm.press("sync", {"id": "x"}, secret="wrong")  # noqa: S106 - invented
    assert datetime.now(UTC) - before >= timedelta(seconds=access.STEP_SECONDS)


async def test_without_a_key_the_buttons_are_not_set_up(
    firm: Firm, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESPOCRM_ACTION_SECRET", "")
    get_settings.cache_clear()
    await current_resources().close()
    current_resources().settings = get_settings()
    for button in ("sync", "preview", "create-again"):
        assert await firm.press(button, {"id": "x"}, secret="") == (
            503,
            {"reason": "not_set_up"},
        )


@pytest.mark.parametrize("weak", ["short", " " * 30, "x" * 23, "ä" * 30])
def test_a_weak_key_is_refused_at_the_start(weak: str) -> None:
    with pytest.raises(ConfigurationError, match="ESPOCRM_ACTION_SECRET"):
        load_settings({"ESPOCRM_ACTION_SECRET": weak})


@pytest.mark.parametrize(
    ("button", "body"),
    [
        ("sync", None),
        ("sync", []),
        ("sync", {"ids": []}),
        ("sync", {"ids": ["x"] * 201}),
        ("sync", {"id": "../x"}),
        ("sync", {"id": 5}),
        ("sync", {"id": "x", "ids": ["y"]}),
        ("preview", {"ids": ["x", "y"]}),
        ("create-again", {"ids": ["x", "y"]}),
    ],
)
async def test_an_unusable_body_is_refused(firm: Firm, button: str, body: Any) -> None:
    assert await firm.press(button, body) == (400, {"reason": "invalid"})


# -- sync now -------------------------------------------------------------------------------------------------------


async def test_the_sync_is_enqueued_once_and_done(firm: Firm) -> None:
    entity_id = await firm.office.new_person()
    for _ in range(2):
        assert await firm.press("sync", {"id": entity_id}) == (
            200,
            {"status": "queued", "count": 1},
        )
    assert [topic for topic, _ in firm.engine.queue] == ["vmh.beteiligte.sync_now"]
    await firm.work()
    assert (await firm.office.in_espocrm(entity_id))["syncStatus"] == "clean"
    assert [
        (row["source"], row["result"]) for row in await firm.office.audit(entity_id)
    ] == [("hand", "created")]
    await firm.press("sync", {"id": entity_id})
    assert len(firm.engine.queue) == 1


async def test_many_are_enqueued_at_once(firm: Firm) -> None:
    ids = [
        await firm.office.new_person(lastName=f"Muster{number}") for number in range(3)
    ]
    assert await firm.press("sync", {"ids": [*ids, ids[0]]}) == (
        200,
        {"status": "queued", "count": 3},
    )
    await firm.work()
    assert len(firm.beteiligte()) == 3


@pytest.mark.parametrize("source", ["cron", "webhook", "hand"])
async def test_only_a_person_ends_the_pause_after_failures(
    firm: Firm, source: str
) -> None:
    entity_id = await firm.office.new_person()
    await firm.office.fault(
        firm.office.advoware, method="POST", path="Beteiligte$", status=400
    )
    assert (await firm.office.sync(entity_id, "create")).result == "failed"
    await firm.office.no_faults()
    action = {"cron": "sync_check", "webhook": "update", "hand": "sync_now"}[source]
    outcome = await firm.office.sync(entity_id, action, source)
    assert outcome.result == ("created" if source == "hand" else "skipped")


async def test_while_the_queue_is_away_that_is_reported(firm: Firm) -> None:
    firm.engine.is_down = True
    assert await firm.press("sync", {"id": "x"}) == (503, {"reason": "unavailable"})


# -- preview --------------------------------------------------------------------------------------------------------


async def edited_on_both_sides(firm: Firm) -> tuple[str, int]:
    """Edits of all kinds, a conflict among them."""
    entity_id, betnr = await firm.with_everything()
    office = firm.office
    phones = [
        *PHONES,
        {"phoneNumber": "+491701234567", "type": "Mobile", "primary": False},
    ]
    await office.edit_espocrm(
        entity_id, lastName="Neu", dateOfBirth="1990-01-02", phoneNumberData=phones
    )
    await office.edit_advoware(
        betnr,
        name="Anders",
        vorname="Erika Maria",
        kommunikation=[{"tlf": "0511 55555", "kommKz": 1}],
        adressen=[{"strasse": "Nebenweg 2", "plz": "30161", "ort": "Hannover"}],
    )
    await firm.part(
        "CAdressen",
        entity_id,
        **{**ADDRESS, "adresseStreet": "Dritte Str. 3", "istStandard": False},
    )
    await firm.part(
        "CBankverbindungen", entity_id, iban="DE02120300000000202051", istAktiv=True
    )
    return entity_id, betnr


@pytest.mark.parametrize(
    "case", ["new", "edited", "gone", "unchanged", "without a name", "company"]
)
async def test_a_preview_writes_nothing_anywhere(firm: Firm, case: str) -> None:
    office = firm.office
    await office.without_form_rules()
    await office.linked_person(firstName="Andere", lastName="Person")
    match case:
        case "new":
            entity_id = await office.new_person(
                phoneNumberData=PHONES, emailAddressData=MAILS
            )
            await firm.part("CAdressen", entity_id, **ADDRESS)
            await firm.part("CBankverbindungen", entity_id, **ACCOUNT)
        case "edited":
            entity_id, _ = await edited_on_both_sides(firm)
        case "gone":
            entity_id, betnr = await firm.with_everything()
            await office.linked_person(firstName="Weitere", lastName="Person")
            await office.delete_in_advoware(betnr)
        case "unchanged":
            entity_id, _ = await firm.with_everything()
        case "company":
            entity_id, betnr = await firm.with_everything()
            await office.edit_advoware(
                betnr, rechtsform="GmbH", name="Muster GmbH", vorname=None, anrede=None
            )
        case _:
            entity_id = await office.new_person(
                firstName=None, lastName=None, salutationName=None
            )
    before = await firm.everything()
    office.advoware.journal.clear()
    office.espocrm.journal.clear()
    answer = await firm.press("preview", {"id": entity_id})
    assert answer[0] == 200, answer
    assert office.calls(office.advoware) == []
    assert office.calls(office.espocrm) == []
    assert await firm.everything() == before


async def test_a_preview_says_what_would_change_where(firm: Firm) -> None:
    entity_id, _ = await edited_on_both_sides(firm)
    _, shown = await firm.press("preview", {"id": entity_id})
    advoware, espocrm = lines(shown, "Advoware"), lines(shown, "EspoCRM")
    assert ("Beteiligter", "Name", "Anders", "Neu") in advoware
    assert ("Beteiligter", "Geburtsdatum", "", "02.01.1990") in advoware
    assert ("Telefon und E-Mail", "Telefon", "", "+491701234567") in advoware
    assert ("Adresse", "Straße", "", "Dritte Str. 3") in advoware
    assert ("Bankverbindung", "IBAN", "", "DE02120300000000202051") in advoware
    assert ("Beteiligter", "Vorname", "Erika", "Erika Maria") in espocrm
    assert any(
        "Neu" in task["name"] or "Muster" in task["name"] for task in shown["tasks"]
    )


async def test_what_a_preview_says_is_what_the_sync_does(firm: Firm) -> None:
    entity_id, betnr = await edited_on_both_sides(firm)
    _, shown = await firm.press("preview", {"id": entity_id})
    await firm.press("sync", {"id": entity_id})
    await firm.work()
    espocrm, advoware = (
        await firm.office.in_espocrm(entity_id),
        firm.office.in_advoware(betnr),
    )
    assert {advoware["name"], espocrm["lastName"]} == {"Neu"}
    texts = json.dumps([espocrm, advoware], ensure_ascii=False)
    for change in shown["changes"]:
        for item in change["fields"]:
            for value in item["new"].split(", "):
                assert (
                    value in texts
                    or value in {"02.01.1990", "ja"}
                    or change["title"] == "Adresse"
                ), item
    # After a conflict addresses are brought to EspoCRM in the next sync, which is what a second preview says.
    _, shown = await firm.press("preview", {"id": entity_id})
    assert [(change["system"], change["title"]) for change in shown["changes"]] == [
        ("EspoCRM", "Adresse")
    ]
    await firm.press("sync", {"id": entity_id})
    await firm.work()
    assert (await firm.press("preview", {"id": entity_id}))[1]["changes"] == []


async def test_a_preview_of_a_new_record_shows_all_that_would_be_created(
    firm: Firm,
) -> None:
    entity_id = await firm.office.new_person(
        phoneNumberData=PHONES, emailAddressData=MAILS
    )
    await firm.part("CAdressen", entity_id, **ADDRESS)
    await firm.part("CBankverbindungen", entity_id, **ACCOUNT)
    _, shown = await firm.press("preview", {"id": entity_id})
    assert shown["result"] == "created"
    assert {
        (change["title"], change["isNew"])
        for change in shown["changes"]
        if change["system"] == "Advoware"
    } == {
        ("Beteiligter", True),
        ("Telefon und E-Mail", True),
        ("Adresse", True),
        ("Bankverbindung", True),
    }
    assert (shown["held"], shown["tasks"]) == ([], [])
    assert "20000000" not in json.dumps(shown)


async def test_a_preview_says_what_is_held_back_and_why(firm: Firm) -> None:
    await firm.office.without_form_rules()
    entity_id = await firm.office.new_person(
        firstName=None, lastName=None, salutationName=None
    )
    _, shown = await firm.press("preview", {"id": entity_id})
    assert shown["changes"] == []
    assert shown["held"][0].startswith("Ohne Nachnamen oder Firmennamen")


async def test_a_preview_of_a_new_record_holds_back_what_the_sync_holds_back(
    firm: Firm,
) -> None:
    await firm.office.without_form_rules()
    entity_id = await firm.office.new_person(firstName="Maria " * 40)
    _, shown = await firm.press("preview", {"id": entity_id})
    await firm.press("sync", {"id": entity_id})
    await firm.work()
    reported = (await firm.office.in_espocrm(entity_id))["syncErrorMessage"]
    number = str((await firm.office.in_espocrm(entity_id))["betnr"])
    assert reported
    assert [text.replace("(neu)", number) for text in shown["held"]] == [reported]


async def test_a_preview_of_an_unknown_record_is_not_found(firm: Firm) -> None:
    assert await firm.press("preview", {"id": "unknown"}) == (
        404,
        {"reason": "unknown"},
    )


async def test_a_preview_does_not_need_the_lock_of_a_running_sync(firm: Firm) -> None:
    entity_id, _ = await firm.with_everything()
    async with record_lock(firm.office.resources, beteiligte_lock_key(entity_id), 60):
        assert (await firm.press("preview", {"id": entity_id}))[0] == 200


async def test_a_preview_while_a_system_is_away_says_so(firm: Firm) -> None:
    entity_id, _ = await firm.with_everything()
    await firm.office.fault(firm.office.advoware, method="GET", status=503)
    _, shown = await firm.press("preview", {"id": entity_id})
    assert (shown["result"], shown["changes"]) == ("failed", [])
    assert "Advoware" in shown["held"][0]
    await firm.office.fault(firm.office.espocrm, method="GET", status=503)
    assert await firm.press("preview", {"id": entity_id}) == (
        503,
        {"reason": "unavailable"},
    )


# -- create again ---------------------------------------------------------------------------------------------------


async def test_what_is_gone_is_created_again_once_with_all_that_belongs_to_it(
    firm: Firm,
) -> None:
    entity_id, betnr = await firm.gone()
    assert await firm.press("create-again", {"id": entity_id}) == (
        200,
        {"status": "queued", "formerNumber": str(betnr)},
    )
    assert (await firm.press("create-again", {"id": entity_id})) == (
        409,
        {"reason": "not_gone"},
    )
    await firm.work()
    assert (await firm.press("create-again", {"id": entity_id})) == (
        409,
        {"reason": "not_gone"},
    )
    await firm.work()

    espocrm = await firm.office.in_espocrm(entity_id)
    assert espocrm["syncStatus"] == "clean"
    assert espocrm["betnr"] not in {None, betnr}
    (made,) = [row for row in firm.beteiligte() if row["name"] == "Muster"]
    assert made["betNr"] == espocrm["betnr"]
    assert {row["tlf"] for row in made["kommunikation"]} == {
        "+4951112345",
        "erika@example.de",
    }
    assert [row["strasse"] for row in made["adressen"]] == ["Hauptstr. 1"]
    assert [row["iban"] for row in made["bankkverbindungen"]] == [ACCOUNT["iban"]]
    old = [
        row
        for row in await firm.office.audit(entity_id)
        if row["result"] == "create_again"
    ]
    assert [(row["advoware_id"], row["source"]) for row in old] == [
        (str(betnr), "hand")
    ]
    assert [
        task["status"] for task in await firm.office.tasks() if "Muster" in task["name"]
    ] == ["Canceled"]
    pool = await firm.office.resources.database()
    linked = {
        row["advoware_id"]
        for row in await pool.fetch("SELECT advoware_id FROM sync_state")
    }
    assert not {
        link for link in linked if link and link.partition("/")[0] == str(betnr)
    }
    # Everything is settled: the next sync writes nothing.
    await firm.office.sync(entity_id, "sync_check", "cron")
    assert firm.office.writes() == []


async def test_pressed_twice_at_the_same_time_makes_one(firm: Firm) -> None:
    entity_id, _ = await firm.gone()
    answers = await asyncio.gather(
        *(firm.press("create-again", {"id": entity_id}) for _ in range(4))
    )
    assert sorted(status for status, _ in answers)[0] == 200
    assert {status for status, _ in answers} <= {200, 409}
    await firm.work()
    await firm.work()
    assert len([row for row in firm.beteiligte() if row["name"] == "Muster"]) == 1


@pytest.mark.parametrize(
    "status",
    ["clean", "dirty", "failed", "conflict", "pending_sync", "permanently_failed"],
)
async def test_what_is_not_gone_is_not_created_again(firm: Firm, status: str) -> None:
    entity_id, betnr = await firm.with_everything()
    await firm.office.edit_espocrm(entity_id, syncStatus=status)
    before = await firm.everything()
    assert await firm.press("create-again", {"id": entity_id}) == (
        409,
        {"reason": "not_gone"},
    )
    assert (await firm.everything())["postgres"] == before["postgres"]
    assert (await firm.office.in_espocrm(entity_id))["betnr"] == betnr


async def test_what_advoware_has_again_is_not_created_again(firm: Firm) -> None:
    entity_id, betnr = await firm.with_everything()
    await firm.office.edit_espocrm(entity_id, syncStatus="deleted_in_advoware")
    assert await firm.press("create-again", {"id": entity_id}) == (
        409,
        {"reason": "is_there"},
    )
    assert (await firm.office.in_espocrm(entity_id))["betnr"] == betnr


async def test_after_a_restored_backup_nothing_is_created_again(firm: Firm) -> None:
    first = await firm.office.linked_person(lastName="Erste")
    second = await firm.office.linked_person(lastName="Zweite")
    for entity_id, betnr in (first, second):
        await firm.office.delete_in_advoware(betnr)
        await firm.office.edit_espocrm(entity_id, syncStatus="deleted_in_advoware")
    assert await firm.press("create-again", {"id": second[0]}) == (
        409,
        {"reason": "restored"},
    )


async def test_while_it_is_synced_it_is_not_created_again(firm: Firm) -> None:
    entity_id, _ = await firm.gone()
    async with record_lock(firm.office.resources, beteiligte_lock_key(entity_id), 60):
        assert await firm.press("create-again", {"id": entity_id}) == (
            409,
            {"reason": "busy"},
        )


async def test_an_unknown_record_is_not_created_again(firm: Firm) -> None:
    assert await firm.press("create-again", {"id": "unknown"}) == (
        404,
        {"reason": "unknown"},
    )


@pytest.mark.parametrize("path", ["CAdressen/", "CBankverbindungen/", "CBeteiligte/"])
async def test_whatever_breaks_off_it_can_be_pressed_again(
    firm: Firm, path: str
) -> None:
    entity_id, betnr = await firm.gone()
    await firm.office.fault(
        firm.office.espocrm, method="PUT", path=path, status=400, count=1
    )
    assert (await firm.press("create-again", {"id": entity_id}))[0] == 503
    await firm.office.no_faults()
    assert await firm.press("create-again", {"id": entity_id}) == (
        200,
        {"status": "queued", "formerNumber": str(betnr)},
    )
    await firm.work()
    assert len([row for row in firm.beteiligte() if row["name"] == "Muster"]) == 1


async def test_while_the_queue_is_away_the_cron_creates_it(firm: Firm) -> None:
    entity_id, _ = await firm.gone()
    firm.engine.is_down = True
    assert (await firm.press("create-again", {"id": entity_id}))[0] == 200
    assert (await firm.office.sync(entity_id, "sync_check", "cron")).result == "created"


async def test_a_create_that_broke_off_is_found_and_not_repeated(firm: Firm) -> None:
    entity_id, _ = await firm.gone()
    await firm.press("create-again", {"id": entity_id})
    await firm.office.fault(
        firm.office.advoware,
        method="POST",
        path="/Beteiligte$",
        when="after",
        reset=True,
        count=1,
    )
    outcome = await firm.office.sync(entity_id, "sync_now", "hand")
    assert outcome.result in {"failed", "adopted"}
    firm.office.clock.advance(seconds=60)
    await firm.office.no_faults()
    await firm.office.sync(entity_id, "sync_now", "hand")
    assert len([row for row in firm.beteiligte() if row["name"] == "Muster"]) == 1


async def act(firm: Firm, **action: Any) -> None:
    """What people do in EspoCRM's browser beside editing: `sandbox.espocrm_actions`."""
    url = f"{firm.office.espocrm.url}/__sandbox__/actions"
    await firm.office._request("POST", url, json={"entity": "CBeteiligte", **action})


async def merged(firm: Firm) -> tuple[str, int, str, int]:
    """A person with everything, and another one who was merged into him; both have a number."""
    survivor, number = await firm.with_everything()
    source, other = await firm.office.linked_person(
        firstName="Berta", lastName="Zwei", emailAddressData=MAILS[:1]
    )
    await act(
        firm,
        action="merge",
        id=survivor,
        sources=[source],
        values={"firstName": "Berta"},
    )
    return survivor, number, source, other


async def gone_after(firm: Firm, entity_id: str, betnr: int) -> None:
    """Deleted in Advoware, which is found."""
    await firm.office.linked_person(firstName="Weitere", lastName="Person")
    await firm.office.delete_in_advoware(betnr)
    assert (
        await firm.office.sync(entity_id, "sync_check", "cron")
    ).result == "deleted_in_advoware"


async def open_tasks(firm: Firm) -> list[str]:
    await firm.office.notify_the_rest()
    return sorted(
        task["name"]
        for task in await firm.office.tasks()
        if task["status"] == "Not Started"
    )


@pytest.mark.parametrize("noticed", [True, False])
async def test_who_took_in_another_one_takes_the_living_number_instead_of_a_double(
    firm: Firm, noticed: bool
) -> None:
    survivor, number, source, other = await merged(firm)
    if noticed:
        await firm.office.sync(source, "delete")
    await firm.office.sync(survivor)
    await gone_after(firm, survivor, number)
    assert (await firm.press("create-again", {"id": survivor}))[0] == 200
    await firm.work()
    record = await firm.office.in_espocrm(survivor)
    assert (record["betnr"], record["syncStatus"]) == (other, "clean")
    assert sorted(row["name"] for row in firm.beteiligte()) == ["Muster", "Person"]
    assert [row["strasse"] for row in firm.office.in_advoware(other)["adressen"]] == [
        "Hauptstr. 1"
    ]
    assert await open_tasks(firm) == []


@pytest.mark.parametrize("case", ["gone too", "restored", "entered elsewhere"])
async def test_a_number_that_is_not_free_is_not_taken(firm: Firm, case: str) -> None:
    survivor, number, source, other = await merged(firm)
    await firm.office.sync(source, "delete")
    await firm.office.sync(survivor)
    match case:
        case "gone too":
            await firm.office.linked_person(firstName="Dritte", lastName="Person")
            await firm.office.delete_in_advoware(other)
        case "restored":
            await act(firm, action="restore", id=source)
        case _:
            await firm.office.new_person(lastName="Zwei", betnr=other)
    await gone_after(firm, survivor, number)
    await firm.press("create-again", {"id": survivor})
    await firm.work()
    record = await firm.office.in_espocrm(survivor)
    assert record["syncStatus"] == "clean"
    assert record["betnr"] not in {number, other}


async def test_of_who_is_gone_from_advoware_no_task_asks_for_anything_there(
    firm: Firm,
) -> None:
    entity_id, betnr = await firm.with_everything()
    await act(firm, action="erase", id=entity_id, fields=["phoneNumber", "name"])
    await firm.office.sync(entity_id)
    assert len(await open_tasks(firm)) == 2
    await gone_after(firm, entity_id, betnr)
    assert await open_tasks(firm) == [f"In Advoware nicht mehr vorhanden: Nr. {betnr}"]
    await firm.press("create-again", {"id": entity_id})
    await firm.work()
    assert await open_tasks(firm) == ["Name fehlt"], "what was erased is not created"
    assert [row["name"] for row in firm.beteiligte()] == ["Person"]


@pytest.mark.parametrize(
    "case",
    [
        "merged",
        "merged and noticed",
        "erased",
        "erased and settled",
        "number taken over",
    ],
)
async def test_a_preview_after_what_people_do_beside_editing_is_what_the_sync_does(
    firm: Firm, case: str
) -> None:
    if case.startswith("merged"):
        entity_id, _, source, _ = await merged(firm)
        if case.endswith("noticed"):
            await firm.office.sync(source, "delete")
    elif case.startswith("erased"):
        entity_id, _ = await firm.with_everything()
        await act(firm, action="erase", id=entity_id, fields=["phoneNumber", "name"])
        if case.endswith("settled"):
            await firm.office.sync(entity_id)
    else:
        source, number = await firm.with_everything()
        await firm.office._request(
            "DELETE",
            f"{firm.office.espocrm.url}/__sandbox__/records/CBeteiligte/{source}",
        )
        entity_id = await firm.office.new_person(betnr=number)
    before, tasks = await firm.everything(), await open_tasks(firm)
    status, shown = await firm.press("preview", {"id": entity_id})
    assert status == 200
    assert await firm.everything() == before
    outcome = await firm.office.sync(entity_id)
    assert shown["result"] == outcome.result
    reported = sorted(task["name"] for task in shown["tasks"] if not task["isOver"])
    assert sorted([*tasks, *reported]) == await open_tasks(firm)
