"""What the Beteiligte sync does not understand: it leaves that alone, says so, and goes on with the rest."""

from __future__ import annotations

from typing import Any

import pytest
from beteiligte_office import Office, office

from services.bankverbindungen_sync import BankverbindungenSync
from services.core.database import MIGRATIONS
from services.vmh_sync.beteiligte.status import shows_message
from services.vmh_sync.job import SyncEvent

__all__ = ["office"]


async def status(office: Office, entity_id: str) -> tuple[str, str]:
    record = await office.in_espocrm(entity_id)
    return record["syncStatus"], record["syncErrorMessage"] or ""


async def assert_rests(office: Office, entity_id: str) -> None:
    assert (await office.sync(entity_id)).result in {"no_change", "held"}
    assert office.writes() == []


# -- unknown is not empty -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    ["Eheleute", "Erbengemeinschaft", "Freiberufler", "EHELEUTE ", "Minderjährige"],
)
async def test_a_legal_form_that_espocrm_does_not_know_empties_nothing(
    office: Office, form: str
) -> None:
    entity_id, betnr = await office.linked_person(dateOfBirth="1980-05-01")
    await office.edit_advoware(betnr, rechtsform=form)

    await office.sync(entity_id)

    espo = await office.in_espocrm(entity_id)
    assert (espo["firstName"], espo["salutationName"], espo["dateOfBirth"]) == (
        "Erika",
        "Frau",
        "1980-05-01",
    )
    assert espo["syncStatus"] == "clean"
    assert form.strip() in "\n".join(
        task["description"] for task in await office.tasks()
    )
    await assert_rests(office, entity_id)
    await office.edit_advoware(betnr, vorname="Erika Maria")
    await office.sync(entity_id)
    assert (await office.in_espocrm(entity_id))["firstName"] == "Erika Maria"


@pytest.mark.parametrize("form", ["e.K.", "Einzelunternehmen", "Freiberufler"])
async def test_a_merchant_with_a_persons_names_is_a_person(
    office: Office, form: str
) -> None:
    entity_id, betnr = await office.linked_person(rechtsform=form)

    advo = office.in_advoware(betnr)

    assert (advo["vorname"], advo["name"], advo["anrede"], advo["rechtsform"]) == (
        "Erika",
        "Muster",
        "Frau",
        form,
    )
    assert (await status(office, entity_id))[0] == "clean"
    await assert_rests(office, entity_id)


async def test_a_company_without_a_legal_form_is_a_company(office: Office) -> None:
    entity_id = await office.new_person(
        firstName=None,
        lastName=None,
        salutationName=None,
        firmenname="Kaufhaus",
        handelsregisterNummer="HRB 7",
    )
    assert (await office.sync(entity_id, "create")).result == "created"

    advo = office.in_advoware((await office.in_espocrm(entity_id))["betnr"])
    assert (advo["name"], advo["handelsRegisterNummer"]) == ("Kaufhaus", "HRB 7")
    assert (await status(office, entity_id))[0] == "clean"
    await assert_rests(office, entity_id)


#: Records with two names, of which one is the Beteiligter's: which one, the hidden fields decide.
FIRM = {
    "rechtsform": "GmbH",
    "firmenname": "X GmbH",
    "lastName": "Kontakt",
    "firstName": "",
    "salutationName": "",
}
MERCHANT = {"rechtsform": "e.K.", "firmenname": "M e.K."}
WITHOUT_FORM = {"rechtsform": "", "firmenname": "Kaufhaus", "firstName": ""}
COMPANY_WITHOUT_FORM = {**WITHOUT_FORM, "salutationName": ""}


@pytest.mark.parametrize(
    ("attributes", "hidden"),
    [
        (FIRM, ("firmenname",)),
        (FIRM, ("firmenname", "rechtsform")),
        (FIRM, ("firmenname", "lastName")),
        ({**FIRM, "firmenname": "", "lastName": "X GmbH"}, ("lastName",)),
        ({**FIRM, "firmenname": "", "lastName": "X GmbH"}, ("firmenname",)),
        (MERCHANT, ("firstName", "salutationName")),
        (MERCHANT, ("firstName", "salutationName", "lastName")),
        (MERCHANT, ("firstName", "salutationName", "dateOfBirth", "rechtsform")),
        (WITHOUT_FORM, ("salutationName",)),
        (WITHOUT_FORM, ("salutationName", "lastName")),
        (COMPANY_WITHOUT_FORM, ("firmenname",)),
        (COMPANY_WITHOUT_FORM, ("firmenname", "rechtsform")),
    ],
)
async def test_fields_that_espocrm_does_not_show_make_no_other_name(
    office: Office, attributes: dict[str, str], hidden: tuple[str, ...]
) -> None:
    entity_id, betnr = await office.linked_person(**attributes)
    before, tasks = office.in_advoware(betnr), await office.tasks()
    shown = await office.in_espocrm(entity_id)
    await office.fault(
        office.espocrm,
        method="GET",
        path="/CBeteiligte/",
        answer=[{"field": name, "how": "missing"} for name in hidden],
    )
    await office.edit_espocrm(entity_id, registergericht="Celle")
    await office.sync(entity_id)
    await assert_rests(office, entity_id)
    assert office.in_advoware(betnr)["name"] == before["name"]

    await office.no_faults()
    await office.sync(entity_id)
    after = await office.in_espocrm(entity_id)
    assert office.in_advoware(betnr)["name"] == before["name"]
    assert {name: after[name] for name in attributes} == {
        name: shown[name] for name in attributes
    }
    assert [task["name"] for task in await office.tasks()] == [
        task["name"] for task in tasks
    ]


async def test_a_firm_whose_name_is_not_shown_is_not_created_under_its_contacts(
    office: Office,
) -> None:
    entity_id = await office.new_person(**FIRM)
    hidden = [{"field": "firmenname", "how": "missing"}]
    await office.fault(
        office.espocrm, method="GET", path="/CBeteiligte/", answer=hidden
    )
    assert (await office.sync(entity_id, "create")).result == "held"
    assert office.advoware.state()["beteiligte"] == []
    assert [task["status"] for task in await office.tasks()] == ["Not Started"]

    await office.no_faults()
    assert (await office.sync(entity_id)).result == "created"
    espo = await office.in_espocrm(entity_id)
    assert office.in_advoware(espo["betnr"])["name"] == "X GmbH"
    tasks = [t for t in await office.tasks() if t["name"].startswith("Name fehlt")]
    assert [task["status"] for task in tasks] == ["Canceled"]


async def test_a_firms_new_name_waits_for_the_field_and_is_not_its_contacts(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(**FIRM)
    hidden = [{"field": "firmenname", "how": "missing"}]
    await office.fault(
        office.espocrm, method="GET", path="/CBeteiligte/", answer=hidden
    )
    await office.edit_advoware(betnr, name="Y GmbH")
    await office.sync(entity_id)
    assert (await office.in_espocrm(entity_id))["lastName"] == "Kontakt"

    await office.no_faults()
    await office.sync(entity_id)
    espo = await office.in_espocrm(entity_id)
    assert (espo["firmenname"], espo["lastName"]) == ("Y GmbH", "Kontakt")
    assert office.in_advoware(betnr)["name"] == "Y GmbH"


async def test_a_salutation_outside_the_list_stays_until_a_user_chooses_another_one(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_advoware(betnr, anrede="Frau Dr.")
    await office.sync(entity_id)
    assert (await office.in_espocrm(entity_id))["salutationName"] == "Frau"
    assert "Frau Dr." in (await office.tasks())[0]["description"]

    await office.edit_espocrm(entity_id, salutationName="Divers")
    await office.sync(entity_id)

    assert office.in_advoware(betnr)["anrede"] == "Divers"
    changes = [
        change for row in await office.audit(entity_id) for change in row["changes"]
    ]
    assert {
        "field": "anrede",
        "side": "advoware",
        "old": "Frau Dr.",
        "new": "Divers",
    } in changes


@pytest.mark.parametrize(
    ("date", "shown_date"),
    [
        ("1000-01-01", "01.01.1000"),
        ("9999-12-31", "31.12.9999"),
        ("1066-10-14", "14.10.1066"),
        ("2999-01-01", "2999"),
    ],
)
async def test_a_date_of_no_use_is_no_birth_date_and_no_error(
    office: Office, date: str, shown_date: str
) -> None:
    entity_id, betnr = await office.linked_person(dateOfBirth="1980-05-01")
    await office.edit_espocrm(entity_id, dateOfBirth=date)

    await office.sync(entity_id)

    assert office.in_advoware(betnr)["geburtsdatum"].startswith("1980-05-01")
    shown, message = await status(office, entity_id)
    assert shown == "conflict"
    assert shown_date in message
    await assert_rests(office, entity_id)
    await office.edit_espocrm(entity_id, dateOfBirth="1981-06-02")
    await office.sync(entity_id)
    assert [task["status"] for task in await office.tasks()] == [
        "Canceled"
    ]  # it is over, so no one has to do anything
    assert office.in_advoware(betnr)["geburtsdatum"].startswith("1981-06-02")
    assert await status(office, entity_id) == ("clean", "")


# -- checked before it is sent, and found where it is refused -------------------------------------------------------


async def test_an_over_long_name_is_left_out_at_the_creation_and_the_rest_arrives(
    office: Office,
) -> None:
    await office.without_form_rules()
    entity_id = await office.new_person(
        rechtsform="GmbH",
        firmenname="X GmbH",
        handelsregisterArt="H" * 60,
        registergericht="Hannover",
    )
    assert (await office.sync(entity_id, "create")).result == "created"

    advo = office.in_advoware((await office.in_espocrm(entity_id))["betnr"])
    assert (advo["name"], advo["registergericht"], advo["art"] or "") == (
        "X GmbH",
        "Hannover",
        "",
    )
    shown, message = await status(office, entity_id)
    assert shown == "conflict"
    assert "Registerart" in message
    assert "höchstens 20 Zeichen" in "\n".join(
        task["description"] for task in await office.tasks()
    )
    await assert_rests(office, entity_id)


@pytest.mark.parametrize(
    "message", ["Das Feld vorname ist ungültig.", "Die Daten sind ungültig.", ""]
)
async def test_a_refused_field_does_not_stop_the_others(
    office: Office, message: str
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, firstName="Böse", lastName="Gut")
    await office.fault(
        office.advoware,
        method="PUT",
        path="Beteiligte/",
        status=400,
        body={"message": message},
        count=1,
    )
    if (
        "vorname" not in message
    ):  # one by one, in the order of their names: name goes through, vorname not
        await office.fault(
            office.advoware,
            method="PUT",
            path="Beteiligte/",
            status=400,
            body={"message": message},
            count=1,
            skip=1,
        )

    await office.sync(entity_id)

    advo = office.in_advoware(betnr)
    assert (advo["vorname"], advo["name"]) == ("Erika", "Gut")
    shown, reason = await status(office, entity_id)
    assert shown == "conflict"
    assert "Böse" in reason
    await assert_rests(office, entity_id)


async def test_a_record_without_a_name_waits_for_one(office: Office) -> None:
    entity_id = await office.new_person(lastName=None, firstName=None)

    assert (await office.sync(entity_id, "create")).result == "held"

    assert "Nachnamen oder Firmennamen" in (await status(office, entity_id))[1]
    await assert_rests(office, entity_id)
    await office.edit_espocrm(entity_id, lastName="Endlich")
    assert (await office.sync(entity_id)).result == "created"


async def test_what_a_firm_says_of_a_person_is_reported(office: Office) -> None:
    entity_id, betnr = await office.linked_person(
        rechtsform="GmbH", firmenname="X GmbH"
    )

    assert office.in_advoware(betnr)["name"] == "X GmbH"
    reported = "\n".join(task["description"] for task in await office.tasks())
    assert "Erika" in reported
    assert "Muster" in reported
    assert len(await office.tasks()) == 1
    await office.sync(entity_id)
    assert len(await office.tasks()) == 1


# -- stored otherwise than sent -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alteration", "stored"),
    [
        ({"how": "upper"}, "MÜLLER-LÜDENSCHEIDT"),
        ({"how": "cut", "to": 6}, "Müller"),
        ({"how": "ascii"}, "Mueller-Luedenscheidt"),
        (
            {"how": "format", "to": "{} geb. Kloebner"},
            "Müller-Lüdenscheidt geb. Kloebner",
        ),
    ],
)
async def test_what_advoware_stores_otherwise_is_reported_once_and_never_copied_back(
    office: Office, alteration: dict[str, Any], stored: str
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.fault(
        office.advoware,
        method="PUT",
        path="/Beteiligte/",
        stored=[{"field": "name", **alteration}],
    )
    await office.edit_espocrm(entity_id, lastName="Müller-Lüdenscheidt")

    await office.sync(entity_id)

    assert office.in_advoware(betnr)["name"] == stored
    assert (await office.in_espocrm(entity_id))["lastName"] == "Müller-Lüdenscheidt"
    shown, message = await status(office, entity_id)
    assert shown == "conflict"
    assert message.startswith(
        "Von Advoware anders gespeichert: Name „Müller-Lüdenscheidt“"
    )
    assert len(await office.tasks()) == 1
    await assert_rests(office, entity_id)
    await office.no_faults()
    await office.edit_advoware(betnr, name="Müller-Lüdenscheidt")  # a person mends it
    await office.sync(entity_id)
    assert await status(office, entity_id) == ("clean", "")
    assert [task["status"] for task in await office.tasks()] == ["Canceled"]


async def test_what_a_creation_stores_otherwise_is_reported_and_never_copied_back(
    office: Office,
) -> None:
    await office.fault(
        office.advoware,
        path="/Beteiligte",
        stored=[{"field": "vorname", "how": "cut", "to": 3}],
    )
    entity_id = await office.new_person(firstName="Maximiliane")

    await office.sync(entity_id, "create")

    assert (await office.in_espocrm(entity_id))["firstName"] == "Maximiliane"
    assert (await status(office, entity_id))[0] == "conflict"
    await assert_rests(office, entity_id)


@pytest.mark.parametrize("extension", ["1.0.0", "1.1.0"])
@pytest.mark.parametrize("alteration", [{"how": "upper"}, {"how": "cut", "to": 3}])
async def test_what_espocrm_stores_otherwise_is_reported_once_and_never_copied_back(
    office: Office, alteration: dict[str, Any], extension: str
) -> None:
    await office._request(
        "POST",
        f"{office.espocrm.url}/__sandbox__/settings",
        json={"extension": extension},
    )
    entity_id, betnr = await office.linked_person()
    rule = {"field": "firstName", **alteration, "echo": True}
    await office.fault(
        office.espocrm, method="PUT", path="/CBeteiligte/", stored=[rule]
    )
    await office.edit_advoware(betnr, vorname="Maximiliane")

    await office.sync(entity_id)

    assert office.in_advoware(betnr)["vorname"] == "Maximiliane"
    shown, message = await status(office, entity_id)
    assert shown == "conflict"
    assert message.startswith("In EspoCRM anders gespeichert: Vorname „Maximiliane“")
    await assert_rests(office, entity_id)
    assert office.in_advoware(betnr)["vorname"] == "Maximiliane"


# -- a number is not an identity ------------------------------------------------------------------------------------


async def test_a_number_that_was_given_again_mixes_up_no_one(office: Office) -> None:
    entity_id, betnr = await office.linked_person()
    await office.delete_in_advoware(betnr)
    office.clock.advance(days=1)
    other = office.advoware.beteiligte.create(
        {"vorname": "Otto", "name": "Anders"}, "SB"
    )
    record = office.advoware.beteiligte._records[other["betNr"]]
    del office.advoware.beteiligte._records[other["betNr"]]
    record["betNr"] = betnr
    office.advoware.beteiligte._records[betnr] = record

    assert (await office.sync(entity_id)).result == "held"

    assert office.in_advoware(betnr)["name"] == "Anders"
    assert (await office.in_espocrm(entity_id))["lastName"] == "Muster"
    assert "jemand anderen" in (await status(office, entity_id))[1]
    await assert_rests(office, entity_id)


async def test_what_both_sides_hold_is_overwritten_at_the_first_sync_only_after_it_is_kept(
    office: Office,
) -> None:
    betnr = office.advoware.beteiligte.create(
        {"vorname": "Alt", "name": "Muster"}, "SB"
    )["betNr"]
    office.clock.advance(hours=1)
    entity_id = await office.new_person(firstName="Neu", betnr=betnr)

    await office.sync(entity_id)

    assert office.in_advoware(betnr)["vorname"] == "Neu"
    kept = [
        row
        for row in await office.audit(entity_id)
        if row["result"] == "unsynced_found"
    ]
    expected: dict[str, Any] = {
        "field": "vorname",
        "side": "advoware",
        "old": "Alt",
        "new": "Neu",
        "unsynced": True,
    }
    assert expected in kept[0]["changes"]


async def test_a_create_whose_noted_number_stands_for_another_person_mixes_up_no_one(
    office: Office,
) -> None:
    await office.fault(office.advoware, method="GET", path="/Beteiligte/", status=500)
    entity_id = await office.new_person()
    await office.sync(
        entity_id, "create"
    )  # created, but nothing of it could be read any more
    await office.act(office.advoware, action="restore", seconds=3600)
    office.clock.advance(minutes=10)
    other = office.advoware.beteiligte.create(
        {"vorname": "Otto", "name": "Anders"}, "SB"
    )
    await office.no_faults()

    await office.sync(entity_id, "sync_check", "cron")

    espo = await office.in_espocrm(entity_id)
    assert espo["betnr"] != other["betNr"]
    assert office.in_advoware(other["betNr"])["name"] == "Anders"
    assert office.in_advoware(espo["betnr"])["name"] == "Muster"
    assert espo["syncStatus"] == "clean"


async def test_a_mistyped_number_mixes_up_no_one(office: Office) -> None:
    other = office.advoware.beteiligte.create(
        {"vorname": "Otto", "name": "Anders"}, "SB"
    )
    entity_id = await office.new_person(betnr=other["betNr"])

    assert (await office.sync(entity_id)).result == "held"

    assert office.in_advoware(other["betNr"])["name"] == "Anders"
    assert (await office.in_espocrm(entity_id))["lastName"] == "Muster"
    await assert_rests(office, entity_id)
    await office.edit_advoware(
        other["betNr"], name="Muster"
    )  # the same person after all
    await office.sync(entity_id)
    assert (await status(office, entity_id))[0] == "clean"


async def test_an_advoware_that_went_back_to_a_backup_overwrites_nothing(
    office: Office,
) -> None:
    people = [
        await office.linked_person(firstName=name)
        for name in ("Anna", "Berta", "Clara")
    ]
    office.clock.advance(days=1)
    for entity_id, _ in people:
        await office.edit_espocrm(entity_id, lastName="Neuer")
        await office.sync(entity_id)
    office.clock.advance(hours=1)
    await office.act(office.advoware, action="restore", seconds=2 * 3600)
    for entity_id, betnr in people:
        assert office.in_advoware(betnr)["name"] == "Muster"
        await office.sync(entity_id, "sync_check", "cron")
        assert (await office.in_espocrm(entity_id))["lastName"] == "Neuer"
        assert "älteren Stand" in (await status(office, entity_id))[1]
    assert len(await office.tasks()) == 1  # one message for all


async def test_numbers_that_a_backup_does_not_know_are_not_called_deleted(
    office: Office,
) -> None:
    people = [
        await office.linked_person(firstName=name)
        for name in ("Anna", "Berta", "Clara")
    ]
    await office.act(office.advoware, action="restore", seconds=3600)

    for entity_id, _ in people:
        assert (await office.sync(entity_id, "sync_check", "cron")).result == "held"

    assert [task["name"] for task in await office.tasks()] == [
        "Advoware zeigt einen älteren Stand: bitte die Verwaltung verständigen"
    ]


async def test_a_new_account_does_not_go_to_the_person_who_has_the_number_now(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    office.clock.advance(minutes=50)
    await office.act(office.advoware, action="restore", seconds=2 * 3600)
    person = {"name": "Anders", "vorname": "Toni"}
    assert office.advoware.beteiligte.create(person, "SB")["betNr"] == betnr
    account = await office.enter(
        "CBankverbindungen", beteiligteId=entity_id, iban="DE89370400440532013000"
    )
    event = SyncEvent(entity_id=account["id"], action="create", source="webhook")

    outcome = await BankverbindungenSync(resources=office.resources).handle(event)

    assert outcome.result == "failed"
    assert office.in_advoware(betnr)["bankkverbindungen"] == []
    (row,) = office.records("CBankverbindungen")
    assert "BET-12" in row["syncErrorMessage"]


async def test_an_erase_in_espocrm_empties_nothing_in_advoware(office: Office) -> None:
    entity_id, betnr = await office.linked_person(
        dateOfBirth="1980-05-01",
        phoneNumberData=[
            {"phoneNumber": "+4951112345", "type": "Office", "primary": True}
        ],
    )
    fields = ["dateOfBirth", "phoneNumber", "firstName"]
    await office.act(
        office.espocrm,
        action="erase",
        entity="CBeteiligte",
        id=entity_id,
        fields=fields,
    )

    await office.sync(entity_id)

    advo = office.in_advoware(betnr)
    assert advo["geburtsdatum"].startswith("1980-05-01")
    assert advo["vorname"] == "Erika"
    assert advo["kommunikation"][0]["tlf"] == "+4951112345"
    assert (await status(office, entity_id))[0] == "conflict"
    assert "Aufbewahrung" in "\n".join(task["name"] for task in await office.tasks())
    await assert_rests(office, entity_id)


# -- what is stored -------------------------------------------------------------------------------------------------


async def test_a_base_of_the_earlier_version_invents_no_change(office: Office) -> None:
    entity_id, betnr = await office.linked_person(dateOfBirth="1980-05-01")
    await office.edit_advoware(betnr, rechtsform="Eheleute")
    pool = await office.resources.database()
    old = {
        "name": "Muster",
        "vorname": None,
        "anrede": None,
        "geburtsdatum": "1980-05-01",
        "rechtsform": None,
    }
    refused = {"vorname": {"espocrm": "Erika", "advoware": "Alt"}}
    await pool.execute(
        "UPDATE sync_state SET base = $2, rejected = $3 WHERE entity_type = 'CBeteiligte' AND entity_id = $1",
        entity_id,
        old,
        refused,
    )
    migration = (
        (MIGRATIONS / "0006_settled_pairs.sql")
        .read_text("utf-8")
        .partition("ALTER TABLE")[0]
    )
    await pool.execute(migration)

    await office.sync(entity_id)

    espo, advo = await office.in_espocrm(entity_id), office.in_advoware(betnr)
    assert (espo["firstName"], espo["salutationName"], espo["dateOfBirth"]) == (
        "Erika",
        "Frau",
        "1980-05-01",
    )
    assert (advo["vorname"], advo["anrede"], advo["rechtsform"]) == (
        "Erika",
        "Frau",
        "Eheleute",
    )


@pytest.mark.parametrize("how", ["nul", "half_emoji"])
async def test_what_no_database_takes_stops_no_record(office: Office, how: str) -> None:
    entity_id, betnr = await office.linked_person()
    fields = [
        {"field": name, "how": how}
        for name in ("vorname", "name", "registergericht", "zusatz")
    ]
    await office.fault(office.advoware, method="GET", path="/Beteiligte", answer=fields)
    await office.edit_espocrm(entity_id, salutationName="Divers")

    outcome = await office.sync(entity_id)

    assert outcome.error is None
    assert office.in_advoware(betnr)["anrede"] == "Divers"


# -- tasks are true -------------------------------------------------------------------------------------------------


async def new_address(office: Office, entity_id: str, **attributes: Any) -> str:
    url = f"{office.espocrm.url}/__sandbox__/records/CAdressen?silent=1"
    record = {
        "adresseStreet": "Weg 1",
        "adresseCity": "Ulm",
        "adressePostalCode": "89073",
        "beteiligteId": entity_id,
    }
    async with office.session.post(url, json={**record, **attributes}) as response:
        return str((await response.json())["id"])


async def edit_address(office: Office, address: str, **attributes: Any) -> None:
    url = f"{office.espocrm.url}/__sandbox__/records/CAdressen/{address}"
    async with office.session.put(url, json=attributes) as response:
        response.raise_for_status()
    office.clock.advance(minutes=20)


@pytest.mark.parametrize(
    ("stored", "edit", "mend"),
    [
        ({}, {"adresseCountry": "FR"}, {"adresseCountry": "DE"}),
        ({}, {"adresseCountry": "Atlantis"}, {"adresseCountry": "DE"}),
        ({}, {"adressePostalCode": "8" * 30}, {"adressePostalCode": "89073"}),
        ({}, {"isActive": False}, {"isActive": True}),
        (
            {"anschrift": "Herrn\nMax Muster\nbei Schmidt"},
            {"adresseStreet": "Gasse 2"},
            None,
        ),
    ],
)
async def test_a_task_about_an_address_stays_while_it_is_true_and_is_cancelled_afterwards(
    office: Office,
    stored: dict[str, Any],
    edit: dict[str, Any],
    mend: dict[str, Any] | None,
) -> None:
    await office.without_form_rules()
    entity_id, betnr = await office.linked_person()
    address = await new_address(office, entity_id)
    await office.sync(entity_id)
    number = office.in_advoware(betnr)["adressen"][0]["id"]
    if stored:
        await office.edit_advoware(betnr, adressen=[{"id": number, **stored}])
        await office.sync(entity_id)
    await edit_address(office, address, **edit)
    await office.sync(entity_id)
    first = {task["id"]: task["status"] for task in await office.tasks()}
    assert set(first.values()) == {"Not Started"}, first

    await office.sync(entity_id)
    assert {task["id"]: task["status"] for task in await office.tasks()} == first

    if mend is None:  # a person mends the printed block in Advoware
        block = "Frau\nErika Muster\nGasse 2\n89073 Ulm"
        await office.edit_advoware(betnr, adressen=[{"id": number, "anschrift": block}])
    else:
        await edit_address(office, address, **mend)
    await office.sync(entity_id)
    assert {task["status"] for task in await office.tasks() if task["id"] in first} == {
        "Canceled"
    }


@pytest.mark.parametrize("tlf", ["0511 1234 / 5678", "0511", "Durchwahl 12"])
async def test_a_task_about_a_number_stays_while_it_is_true_and_is_cancelled_afterwards(
    office: Office, tlf: str
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_advoware(betnr, kommunikation=[{"kommKz": 1, "tlf": tlf}])
    await office.sync(entity_id)
    first = {task["id"]: task["status"] for task in await office.tasks()}
    assert set(first.values()) == {"Not Started"}

    await office.sync(entity_id)
    assert {task["id"]: task["status"] for task in await office.tasks()} == first

    number = office.in_advoware(betnr)["kommunikation"][0]["id"]
    await office.edit_advoware(
        betnr, kommunikation=[{"id": number, "tlf": "0511 123456"}]
    )
    await office.sync(entity_id)
    assert {task["status"] for task in await office.tasks()} == {"Canceled"}


@pytest.mark.parametrize(
    "how",
    [
        {"how": "cut", "to": 5},
        {"how": "cut", "to": 60},
        {"how": "upper"},
        {"how": "blanks"},
        {"how": "nfd"},
    ],
)
async def test_a_message_that_espocrm_stores_otherwise_is_not_written_again(
    office: Office, how: dict[str, Any]
) -> None:
    entity_id, _ = await office.linked_person(lastName="Alt")
    await office.fault(
        office.espocrm,
        method="PUT",
        path="/CBeteiligte",
        stored=[{"field": "syncErrorMessage", **how}],
    )
    await office.fault(
        office.advoware,
        method="PUT",
        path="/Beteiligte",
        stored=[{"field": "name", "how": "ignore"}],
    )
    await office.edit_espocrm(entity_id, lastName="Neu")
    await office.sync(entity_id)
    assert (await office.in_espocrm(entity_id))["syncStatus"] == "conflict"
    await office.sync(entity_id)
    assert office.writes() == []


def test_a_message_to_which_a_sentence_is_added_is_written() -> None:
    assert not shows_message(
        "Zu lang (BET-02).", "Zu lang (BET-02). Unbekannt (BET-03)."
    )
    assert not shows_message(None, "Zu lang (BET-02).")
    assert not shows_message("Zu lang (BET-02).", None)


async def test_an_edit_of_a_field_that_the_other_side_does_not_show_is_reported_and_audited_once(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(dateOfBirth="1980-05-01")
    refuse = [{"field": "rechtsform", "how": "refuse", "to": "field"}]
    await office.fault(office.advoware, method="PUT", path="/Beteiligte", stored=refuse)
    await office.edit_espocrm(entity_id, rechtsform="GmbH", firmenname="Kaufhaus GmbH")
    await office.sync(entity_id)
    await office.edit_advoware(betnr, geburtsdatum="1980-05-02")
    await office.sync(entity_id)
    reported = "\n".join(task["description"] for task in await office.tasks())
    assert "02.05.1980" in reported
    audit = await office.audit(entity_id)
    await assert_rests(office, entity_id)
    assert [
        row["changes"] for row in (await office.audit(entity_id))[len(audit) :]
    ] == [[]]


async def test_a_value_that_is_back_to_what_the_other_side_showed_last_is_no_edit(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(dateOfBirth="1980-05-01")
    odd = [{"field": "geburtsdatum", "how": "date", "to": "impossible"}]
    await office.fault(office.advoware, method="GET", path="/Beteiligte", answer=odd)
    await office.sync(entity_id)
    await office.no_faults()
    refuse = [{"field": "rechtsform", "how": "refuse", "to": "field"}]
    await office.fault(office.advoware, method="PUT", path="/Beteiligte", stored=refuse)
    await office.edit_espocrm(entity_id, rechtsform="GmbH", firmenname="Kaufhaus GmbH")
    await office.sync(entity_id)
    assert office.in_advoware(betnr)["geburtsdatum"][:10] == "1980-05-01"
    reported = "\n".join(
        task["description"]
        for task in await office.tasks()
        if task["status"] != "Canceled"
    )
    assert "Geburtsdatum" not in reported
    await assert_rests(office, entity_id)


@pytest.mark.parametrize(
    "how",
    [{"how": "cut", "to": 4}, {"how": "upper"}, {"how": "value", "to": "Sonstiges"}],
)
@pytest.mark.parametrize("answer", [None, "", "<html>gespeichert</html>"])
async def test_what_advoware_alters_beside_the_change_is_reported_and_not_copied_back(
    office: Office, how: dict[str, Any], answer: str | None
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    if answer is not None:
        await office.fault(
            office.advoware, method="PUT", path="/Beteiligte", text=answer
        )
    await office.fault(
        office.advoware,
        method="PUT",
        path="/Beteiligte",
        stored=[{"field": "name", **how}],
    )
    await office.edit_espocrm(entity_id, firstName="Erna")
    await office.sync(entity_id)
    altered = office.in_advoware(betnr)["name"]
    assert altered != "Musterfrau"
    espo = await office.in_espocrm(entity_id)
    assert (espo["lastName"], espo["firstName"], espo["syncStatus"]) == (
        "Musterfrau",
        "Erna",
        "conflict",
    )
    assert altered in "\n".join(task["description"] for task in await office.tasks())
    await assert_rests(office, entity_id)


async def test_an_edit_that_advoware_alters_beside_another_still_arrives_in_espocrm(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    await office.edit_advoware(betnr, name="Beispielfrau")
    await office.fault(
        office.advoware,
        method="PUT",
        path="/Beteiligte",
        stored=[{"field": "name", "how": "cut", "to": 4}],
    )
    await office.edit_espocrm(entity_id, firstName="Erna")
    await office.sync(entity_id)
    assert (await office.in_espocrm(entity_id))["lastName"] == "Beispielfrau"
    assert office.in_advoware(betnr)["name"] == "Beis"
    await assert_rests(office, entity_id)


@pytest.mark.parametrize("shown", [4711, True, ["x"], {"text": "x"}])
@pytest.mark.parametrize("field", ["name", "vorname", "rechtsform", "anrede"])
async def test_what_is_no_text_is_not_copied(
    office: Office, field: str, shown: Any
) -> None:
    entity_id, _ = await office.linked_person()
    before = await office.in_espocrm(entity_id)
    odd = [{"field": field, "how": "value", "to": shown}]
    await office.fault(office.advoware, method="GET", path="/Beteiligte", answer=odd)
    await office.sync(entity_id)
    after = await office.in_espocrm(entity_id)
    names = (
        "firstName",
        "lastName",
        "firmenname",
        "rechtsform",
        "salutationName",
        "dateOfBirth",
    )
    assert {name: after[name] for name in names} == {
        name: before[name] for name in names
    }
    await assert_rests(office, entity_id)


@pytest.mark.parametrize("shown", [4711, ["x"]])
@pytest.mark.parametrize(
    "attribute",
    ["lastName", "firstName", "rechtsform", "salutationName", "dateOfBirth"],
)
async def test_what_espocrm_shows_and_is_no_text_does_not_reach_advoware(
    office: Office, attribute: str, shown: Any
) -> None:
    entity_id, betnr = await office.linked_person(dateOfBirth="1980-05-01")
    before = office.in_advoware(betnr)
    odd = [{"field": attribute, "how": "value", "to": shown}]
    await office.fault(office.espocrm, method="GET", path="/CBeteiligte/", answer=odd)
    await office.sync(entity_id)
    after = office.in_advoware(betnr)
    names = ("name", "vorname", "anrede", "rechtsform", "geburtsdatum")
    assert {name: after[name] for name in names} == {
        name: before[name] for name in names
    }


async def test_the_task_about_a_missing_address_ends_when_advoware_shows_it_again(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person()
    body = {"beteiligteId": entity_id, "adresseStreet": "Weg 1", "adresseCity": "Celle"}
    await office._request(
        "POST", f"{office.espocrm.url}/__sandbox__/records/CAdressen", json=body
    )
    await office.sync(entity_id)
    gone = [{"field": "adressen", "how": "empty_list"}]
    await office.fault(office.advoware, method="GET", path="/Beteiligte", answer=gone)
    await office.sync(entity_id)
    about = [
        task["id"] for task in await office.tasks() if "Weg 1" in task["description"]
    ]
    await office.sync(entity_id)
    open_tasks = [
        task for task in await office.tasks() if task["status"] == "Not Started"
    ]
    assert [task["id"] for task in open_tasks if task["id"] in about] == about != []
    await office.no_faults()
    await office.sync(entity_id)
    ended = {
        task["id"]: task["status"]
        for task in await office.tasks()
        if task["id"] in about
    }
    assert set(ended.values()) == {"Canceled"}
    await assert_rests(office, entity_id)
