"""What is held about a person is handed out, and erased, and the sync goes on as if nothing had been erased."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from beteiligte_office import Office, office
from operator_desk import command, dump

from local_engine.database import Database
from local_engine.queues.store import QueueStore
from local_engine.worker_port.invocations import Trace
from services.core.locks import beteiligte_lock_key, record_lock
from services.core.log import write_json_lines
from services.core.resources import Resources
from services.privacy.holdings import export
from services.privacy.person import find_person
from services.vmh_sync.store import SyncStore

__all__ = ["office"]

NAME, FIRST_NAME, OLD_NAME = "Xanthippenberg", "Quirinella", "Vorzeitig"
PHONE, MAIL = "+495119876543", "quirinella@xanthippenberg.example"
STREET, TOWN = "Planetenring 77", "Wunstorfhausen"
IBAN, BIRTHDAY = "DE89370400440532013000", "1951-07-23"
TOO_LONG = f"{NAME} {'Unverwechselbar ' * 7}".strip()
PLANTED = (
    *(NAME, FIRST_NAME, OLD_NAME, PHONE[3:], MAIL, STREET, TOWN),
    *(IBAN, BIRTHDAY, TOO_LONG, "geheimer Zusatz"),
)


@dataclass
class Known:
    """A person of whom a good deal is known by now."""

    entity_id: str
    betnr: int
    logs: Path

    @property
    def where(self) -> dict[str, str]:
        return {"LOG_DIRECTORY": str(self.logs)}


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Path]:
    """What a worker logs, as a file."""
    directory = tmp_path / "log"
    directory.mkdir()
    with (directory / "worker.log").open("w") as stream:
        root, handlers = logging.getLogger(), list(logging.getLogger().handlers)
        root.handlers.clear()
        write_json_lines(stream)
        yield directory
        root.handlers[:] = handlers


@pytest.fixture
async def queue(resources: Resources) -> AsyncIterator[QueueStore]:
    """The embedded engine's queue in the same database."""
    await resources.database()
    given = resources.settings.postgres
    database = Database(f"host={given.host} user={given.user} dbname={given.db_name}")
    await database.open()
    yield QueueStore(database)
    await database.close()


@pytest.fixture
async def known(office: Office, queue: QueueStore, logs: Path) -> Known:
    """Synced with all parts, edited on both sides, with a conflict, a difference that stands, and a failed job."""
    entity_id = await office.new_person(
        firstName=FIRST_NAME,
        lastName=OLD_NAME,
        dateOfBirth=BIRTHDAY,
        phoneNumberData=[{"phoneNumber": PHONE, "type": "Office", "primary": True}],
        emailAddressData=[{"emailAddress": MAIL, "primary": True}],
    )
    assert (await office.sync(entity_id, "create")).result == "created"
    betnr = int((await office.in_espocrm(entity_id))["betnr"])
    for entity, attributes in {
        "CAdressen": {
            "adresseStreet": STREET,
            "adresseCity": TOWN,
            "adressePostalCode": "31515",
        },
        "CBankverbindungen": {"iban": IBAN, "kontoinhaber": f"{FIRST_NAME} {NAME}"},
    }.items():
        await office._request(
            "POST",
            f"{office.espocrm.url}/__sandbox__/records/{entity}?silent=1",
            json={**attributes, "beteiligteId": entity_id},
        )
    await office.sync(entity_id)
    await office.edit_espocrm(entity_id, lastName=NAME)
    await office.edit_advoware(betnr, name=f"{NAME}-Advoware")
    assert (await office.sync(entity_id)).result == "conflict"
    await office.edit_advoware(betnr, name=NAME)
    await office.sync(entity_id)
    await office.edit_advoware(betnr, name=TOO_LONG)  # EspoCRM has no place for it
    await office.sync(entity_id)
    assert (await office.in_espocrm(entity_id))["syncStatus"] == "conflict"
    assert await office.tasks()
    line = {"field": "name", "side": "advoware", "old": OLD_NAME, "new": NAME}
    await SyncStore(await office.resources.database()).note_begun(entity_id, [line])
    payload = {"entity_id": entity_id, "action": "update", "note": "geheimer Zusatz"}
    job_id = await queue.add("vmh.beteiligte.update", payload, Trace())
    (job,) = await queue.take("vmh.beteiligte.update", 1)
    await queue.bury(job, f"ValueError: {NAME} geheimer Zusatz")
    assert job.id == job_id
    return Known(entity_id, betnr, logs)


async def erase(office: Office, known: Known, *options: str) -> str:
    status, output = await command(
        office.resources, "privacy", "erase", str(known.betnr), *options, **known.where
    )
    assert status == 0, output
    return output


async def test_an_export_holds_all_that_is_known(office: Office, known: Known) -> None:
    status, text = await command(
        office.resources, "privacy", "export", known.entity_id, "--json", **known.where
    )
    assert status == 0, text
    document = json.loads(text)
    assert document["person"]["betnrs"] == [str(known.betnr)]
    for value in PLANTED:
        assert value in text, value
    assert document["queue"]
    assert document["logs"]


async def test_an_erasure_leaves_no_value_anywhere_and_the_next_sync_changes_nothing(
    office: Office, known: Known
) -> None:
    before = await dump(office.resources)
    would = await erase(office, known)
    assert "would be erased" in would
    assert await dump(office.resources) == before

    done = await erase(office, known, "--apply")
    assert done.replace("erased:", "would be erased:") == would
    stored = await dump(office.resources)
    logged = "".join(path.read_text() for path in known.logs.iterdir())
    pool = await office.resources.database()
    server_log = Path(await pool.fetchval("SHOW data_directory")) / "log"
    logged += server_log.read_text(errors="replace")
    assert [value for value in PLANTED if value in stored] == []
    assert [value for value in PLANTED if value in logged] == []
    assert "values in 0 places" in await erase(office, known, "--apply")

    tasks = await office.tasks()
    advoware = office.in_advoware(known.betnr)
    outcome = await office.sync(known.entity_id, "sync_check", "cron")
    assert outcome.error is None or outcome.result == "conflict"
    assert office.writes() == []
    assert await office.tasks() == tasks
    assert office.in_advoware(known.betnr) == advoware


async def test_an_erasure_reaches_what_is_kept_for_a_number_that_was_corrected(
    office: Office, known: Known
) -> None:
    namesake = {"vorname": FIRST_NAME, "name": NAME, "anrede": "Frau"}
    number = office.advoware.beteiligte.create(namesake, "SB")["betNr"]
    await office.edit_espocrm(known.entity_id, betnr=number)
    await office.sync(known.entity_id)
    pool = await office.resources.database()
    kept = "SELECT base::text FROM sync_state WHERE entity_type LIKE 'CBeteiligte%@%'"
    assert BIRTHDAY in str(await pool.fetch(kept))

    given = ("privacy", "erase", known.entity_id, "--apply")
    status, output = await command(office.resources, *given, **known.where)

    assert status == 0, output
    stored = await dump(office.resources)
    assert [value for value in PLANTED if value in stored] == []
    await office.edit_espocrm(known.entity_id, betnr=known.betnr)
    outcome = await office.sync(known.entity_id)
    assert outcome.error is None or outcome.result == "conflict"


async def test_an_edit_after_an_erasure_arrives_and_doubles_nothing(
    office: Office, known: Known
) -> None:
    await erase(office, known, "--apply")
    await office.edit_espocrm(
        known.entity_id,
        dateOfBirth="1952-01-02",
        phoneNumberData=[
            {"phoneNumber": "+4951155555", "type": "Office", "primary": True}
        ],
    )
    await office.edit_advoware(known.betnr, vorname="Neuer Vorname")
    await office.sync(known.entity_id)
    await office.sync(known.entity_id)

    assert office.writes() == []
    advoware = office.in_advoware(known.betnr)
    espocrm = await office.in_espocrm(known.entity_id)
    assert advoware["geburtsdatum"][:10] == "1952-01-02"
    assert espocrm["firstName"] == "Neuer Vorname"
    numbers = [entry["tlf"] for entry in advoware["kommunikation"]]
    assert len(numbers) == 2
    assert "+4951155555" in numbers
    assert len(advoware["adressen"]) == 1
    assert len(advoware["bankkverbindungen"]) == 1
    assert len(office.advoware.state()["beteiligte"]) == 1


async def test_who_was_erased_in_espocrm_first_stays_so(
    office: Office, known: Known
) -> None:
    fields = ["firstName", "dateOfBirth", "phoneNumber", "emailAddress"]
    await office.act(
        office.espocrm,
        action="erase",
        entity="CBeteiligte",
        id=known.entity_id,
        fields=fields,
    )
    await office.sync(known.entity_id)
    await office.sync(known.entity_id)
    tasks, advoware = await office.tasks(), office.in_advoware(known.betnr)

    await erase(office, known, "--apply")
    assert [value for value in PLANTED if value in await dump(office.resources)] == []
    await office.sync(known.entity_id, "sync_check", "cron")

    assert office.writes() == []
    assert await office.tasks() == tasks
    assert office.in_advoware(known.betnr) == advoware
    assert not (await office.in_espocrm(known.entity_id)).get("firstName")


async def test_of_a_deleted_record_its_addresses_are_erased_as_well(
    office: Office, known: Known
) -> None:
    await office.delete_in_espocrm(known.entity_id)
    await office.sync(known.entity_id, "delete")
    assert STREET in await dump(office.resources)

    await erase(office, known, "--apply")

    assert [value for value in PLANTED if value in await dump(office.resources)] == []
    tasks = await office.tasks()
    await office.sync(known.entity_id, "delete")
    await office.notify_the_rest()
    assert office.writes() == []
    assert await office.tasks() == tasks


async def test_an_unfinished_create_that_was_erased_doubles_nothing(
    office: Office,
) -> None:
    unchanged, changed = (
        await office.new_person(),
        await office.new_person(lastName=NAME),
    )
    await office.fault(
        office.advoware,
        method="POST",
        path="Beteiligte$",
        when="after",
        reset=True,
        count=2,
    )
    for entity_id in (unchanged, changed):
        await office.sync(entity_id, "create")
    await office.no_faults()
    assert len(office.advoware.state()["beteiligte"]) == 2
    for entity_id in (unchanged, changed):
        status, output = await command(
            office.resources, "privacy", "erase", entity_id, "--apply"
        )
        assert (status, "create_intent: 1" in output) == (0, True)
    assert NAME not in await dump(office.resources)
    await office.edit_espocrm(changed, lastName="Anders")

    office.clock.advance(minutes=10)
    for entity_id in (unchanged, changed):
        await office.sync(entity_id)

    assert len(office.advoware.state()["beteiligte"]) == 2
    assert (await office.in_espocrm(unchanged))["betnr"]
    assert not (await office.in_espocrm(changed)).get("betnr")


async def test_nothing_is_erased_while_a_sync_runs(
    office: Office, known: Known
) -> None:
    before = await dump(office.resources)
    key = beteiligte_lock_key(known.entity_id)
    async with record_lock(office.resources, key, 60):
        status, output = await command(
            office.resources, "privacy", "erase", known.entity_id, "--apply"
        )
    assert status == 1
    assert "is running" in output
    assert await dump(office.resources) == before


@pytest.mark.parametrize("order", ["export", "erase"])
async def test_a_log_that_cannot_be_read_is_named_and_nothing_is_erased(
    office: Office, known: Known, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    before = await dump(office.resources)
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.suffix == ".log":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    apply = ["--apply"] if order == "erase" else []

    status, output = await command(
        office.resources, "privacy", order, known.entity_id, *apply, **known.where
    )

    assert status == 1
    assert "worker.log: the log cannot be read" in output
    assert await dump(office.resources) == before


async def test_a_folder_among_the_logs_is_none(office: Office, known: Known) -> None:
    (known.logs / "postgres.log").mkdir()

    assert "queue: 1" in await erase(office, known, "--apply")


@pytest.mark.parametrize("who", ["4711", "6b0473a32660ab999", "x y"])
async def test_no_one_is_found_by_a_wrong_number(
    resources: Resources, who: str
) -> None:
    status, output = await command(resources, "privacy", "export", who)
    assert status == 1
    assert "Traceback" not in output


async def test_a_number_finds_who_has_it_and_not_who_had_it_once(
    resources: Resources, tmp_path: Path
) -> None:
    pool = await resources.database()
    now = resources.clock()
    base = {"name": {"espocrm": "Anna Alpha", "advoware": "Anna Alpha"}}
    await pool.execute(
        """
        INSERT INTO sync_state (entity_type, entity_id, advoware_id, base)
        VALUES ('CBeteiligte', 'aaa', '200', $1), ('CBeteiligte', 'bbb', '100', '{}')
        """,
        base,
    )
    for entity_id, betnr in (("aaa", "100"), ("bbb", "100"), ("aaa", "200")):
        await pool.execute(
            """
            INSERT INTO sync_audit (at, entity_type, entity_id, topic, source, result, duration_ms, advoware_id)
            VALUES ($1, 'CBeteiligte', $2, 't', 'webhook', 'merged', 0, $3)
            """,
            now,
            entity_id,
            betnr,
        )
    assert (await find_person(pool, "100")).entity_ids == ("bbb",)
    found = await export(resources, "100", tmp_path)
    for table in ("sync_state", "sync_audit"):
        assert {row["entity_id"] for row in found["tables"][table]} == {"bbb"}


async def two_persons(office: Office) -> tuple[str, str]:
    """Anna and Berta, both synced; their ids."""
    anna, _ = await office.linked_person(firstName="Anna", lastName="Alphamann")
    berta, _ = await office.linked_person(firstName="Berta", lastName="Bravofrau")
    return anna, berta


async def later(office: Office, *entity_ids: str) -> None:
    office.clock.advance(minutes=2)
    for entity_id in entity_ids:
        assert (await office.sync(entity_id)).error is None


async def with_moved_address(office: Office) -> tuple[str, str]:
    """An address of Anna's was edited, then moved to Berta, and edited there; the ids of both."""
    anna, berta = await two_persons(office)
    address = await office.enter(
        "CAdressen",
        beteiligteId=anna,
        adresseStreet="Alphaweg 1",
        adresseCity="Celle",
    )
    await later(office, anna)
    await office.edit("CAdressen", address["id"], adresseStreet="Alphaweg 2")
    await later(office, anna)
    await office.edit("CAdressen", address["id"], beteiligteId=berta)
    await later(office, anna, berta)
    await office.edit("CAdressen", address["id"], adresseStreet="Bravoweg 9")
    await later(office, berta, anna)
    return anna, berta


async def exported(office: Office, given: str) -> str:
    found = await export(office.resources, given, Path("/nonexistent"))
    return json.dumps(found, default=str, ensure_ascii=False)


async def number_of(office: Office, entity_id: str) -> str:
    return str((await office.in_espocrm(entity_id))["betnr"])


@pytest.mark.parametrize("by", ["id", "number"])
async def test_an_address_that_was_moved_is_exported_to_each_as_it_was_there(
    office: Office, by: str
) -> None:
    anna, berta = await with_moved_address(office)
    if by == "number":
        anna, berta = await number_of(office, anna), await number_of(office, berta)

    of_anna, of_berta = await exported(office, anna), await exported(office, berta)

    assert "Alphaweg 1" in of_anna
    assert "Frau Anna Alphamann\\nAlphaweg 1" in of_anna
    assert "Bravo" not in of_anna
    assert "Bravoweg 9" in of_berta
    assert "Alphamann" not in of_berta


async def test_an_erasure_erases_nothing_of_whom_an_address_was_moved_to(
    office: Office,
) -> None:
    anna, _berta = await with_moved_address(office)

    status, output = await command(
        office.resources, "privacy", "erase", anna, "--apply"
    )

    assert status == 0, output
    pool = await office.resources.database()
    bases = await pool.fetch(
        "SELECT base->'strasse' AS street FROM sync_state WHERE erased_at IS NULL"
    )
    assert "Bravoweg 9" in str(bases)
    assert "Alphamann" not in await dump(office.resources)


async def test_an_address_that_a_deleted_record_left_to_another_is_not_exported_with_it(
    office: Office,
) -> None:
    anna, berta = await two_persons(office)
    address = await office.enter(
        "CAdressen", beteiligteId=anna, adresseStreet="Alphaweg 1", adresseCity="Celle"
    )
    await later(office, anna)
    number = await number_of(office, anna)
    await office.delete_in_espocrm(anna)
    await office.sync(anna, "delete")
    await office.edit("CAdressen", address["id"], beteiligteId=berta)
    await later(office, berta)
    await office.edit("CAdressen", address["id"], adresseStreet="Bravoweg 9")
    await later(office, berta)

    assert "Bravo" not in await exported(office, number)
    assert "Bravoweg 9" in await exported(office, berta)


async def test_an_export_names_no_one_else_of_a_task_about_many(office: Office) -> None:
    ids = []
    for number in range(8):
        entity_id, _ = await office.linked_person(lastName=f"Nachname{number}x")
        ids.append(entity_id)
    for entity_id in ids:
        await office.delete_in_espocrm(entity_id)
        await office.sync(entity_id, "delete")
    office.clock.advance(minutes=30)
    await office.notify_the_rest()
    assert "deleted_many" in await dump(office.resources)

    for number, entity_id in enumerate(ids):
        text = await exported(office, entity_id)
        assert f"Nachname{number}x" in text
        assert text.count("Nachname") == text.count(f"Nachname{number}x")


async def test_a_task_about_a_wrong_number_is_not_exported_to_who_has_it_now(
    resources: Resources, tmp_path: Path
) -> None:
    pool = await resources.database()
    await pool.execute(
        """
        INSERT INTO sync_state (entity_type, entity_id, advoware_id, base)
        VALUES ('CBeteiligte', 'aaa', '200', '{}'), ('CBeteiligte', 'bbb', '100', '{}')
        """
    )
    await pool.execute(
        """
        INSERT INTO notification (problem_key, entity_type, entity_id, action_type, details, fingerprint,
                                  started_at, attempted_at)
        VALUES ('k', 'CBeteiligte', 'aaa', 'general_manual_action', $1, 'f', now(), now())
        """,
        {"betnr": 100, "name": "Anna Alphamann"},
    )

    assert (await export(resources, "100", tmp_path))["tables"]["notification"] == []
    assert len((await export(resources, "aaa", tmp_path))["tables"]["notification"])


async def test_what_an_address_had_under_a_wrong_number_stays_its_own(
    resources: Resources, tmp_path: Path
) -> None:
    pool = await resources.database()
    await pool.execute(
        """
        INSERT INTO sync_state (entity_type, entity_id, advoware_id, base) VALUES ('CBeteiligte', 'aaa', '200', '{}'),
            ('CBeteiligte', 'bbb', '100', '{}'), ('CAdressen', 'xxx', '200/7', '{}')
        """
    )
    for entity_type, entity_id in (("CBeteiligte", "aaa"), ("CAdressen", "xxx")):
        await pool.execute(
            """
            INSERT INTO sync_audit (at, entity_type, entity_id, topic, source, result, duration_ms, advoware_id)
            VALUES (now(), $1, $2, 't', 'webhook', 'merged', 0, '100')
            """,
            entity_type,
            entity_id,
        )

    of_next = (await export(resources, "100", tmp_path))["tables"]["sync_audit"]
    own = (await export(resources, "aaa", tmp_path))["tables"]["sync_audit"]

    assert of_next == []
    assert {row["entity_id"] for row in own} == {"aaa", "xxx"}
