"""Situations in which a person's value could vanish without a word, or the sync writes without end."""

from __future__ import annotations

from typing import Any

import pytest
from beteiligte_office import Office, office

from services.beteiligte_check import BeteiligteCheck
from services.core.resources import Resources

__all__ = ["office"]


@pytest.fixture(params=["8.4", "9.3"], autouse=True)
async def version(request: pytest.FixtureRequest, office: Office) -> str:
    await office._request(
        "POST",
        f"{office.espocrm.url}/__sandbox__/settings",
        json={"version": request.param},
    )
    return str(request.param)


async def settled(
    office: Office, entity_id: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both sides after a sync, when two further ones have written nothing."""
    await office.sync(entity_id)
    for _ in range(2):
        await office.sync(entity_id)
        assert office.writes() == []
    espo = await office.in_espocrm(entity_id)
    return espo, office.in_advoware(espo["betnr"])


async def created(office: Office, **attributes: Any) -> tuple[str, int]:
    entity_id = await office.new_person(**attributes)
    assert (await office.sync(entity_id, "create")).result == "created"
    return entity_id, int((await office.in_espocrm(entity_id))["betnr"])


async def created_firm(office: Office, **attributes: Any) -> tuple[str, int]:
    no_name = {"firstName": None, "lastName": None, "salutationName": None}
    return await created(office, **no_name, firmenname="Kaufhaus", **attributes)


async def open_tasks(office: Office) -> list[str]:
    return [
        task["description"]
        for task in await office.tasks()
        if task["status"] == "Not Started"
    ]


# -- fields of a kind that only one side distinguishes -----------------------------------------------------------------


async def test_the_register_number_of_a_firm_without_a_legal_form_arrives(
    office: Office,
) -> None:
    entity_id, betnr = await created_firm(office)
    await office.edit_espocrm(entity_id, handelsregisterNummer="HRB 7")
    _, advo = await settled(office, entity_id)
    assert advo["handelsRegisterNummer"] == "HRB 7"

    await office.edit_advoware(betnr, art="HRB")
    espo, _ = await settled(office, entity_id)
    assert (espo["handelsregisterArt"], espo["syncStatus"]) == ("HRB", "clean")


async def test_a_merchant_is_a_person_in_a_register(office: Office) -> None:
    entity_id, betnr = await office.linked_person(rechtsform="e.K.")
    await office.edit_advoware(
        betnr, handelsRegisterNummer="HRA 1", registergericht="Celle"
    )
    espo, _ = await settled(office, entity_id)
    assert (espo["handelsregisterNummer"], espo["registergericht"]) == (
        "HRA 1",
        "Celle",
    )

    await office.edit_espocrm(entity_id, registergericht="Hannover")
    espo, advo = await settled(office, entity_id)
    assert (advo["registergericht"], advo["vorname"], espo["syncStatus"]) == (
        "Hannover",
        "Erika",
        "clean",
    )
    assert await office.tasks() == []


async def test_the_names_of_a_merchant_arrive_where_only_his_firm_was_known(
    office: Office,
) -> None:
    entity_id, _ = await created_firm(
        office, rechtsform="e.K.", registergericht="Celle"
    )
    await office.edit_espocrm(
        entity_id, firstName="Erika", lastName="Muster", firmenname=""
    )

    _, advo = await settled(office, entity_id)

    assert (advo["vorname"], advo["name"], advo["registergericht"]) == (
        "Erika",
        "Muster",
        "Celle",
    )
    assert await office.tasks() == []


async def test_the_birth_date_of_a_person_in_a_register_arrives(office: Office) -> None:
    entity_id, betnr = await created(office, firstName=None, salutationName=None)
    await office.edit_advoware(betnr, registergericht="Celle")
    await office.sync(entity_id)
    await office.edit_espocrm(entity_id, dateOfBirth="1980-01-02")

    espo, advo = await settled(office, entity_id)

    assert advo["geburtsdatum"].startswith("1980-01-02")
    assert espo["syncStatus"] == "clean"


async def test_what_the_other_kind_has_no_place_for_is_reported_once(
    office: Office,
) -> None:
    betnr = office.advoware.beteiligte.create(
        {"vorname": "Erika", "name": "Muster", "rechtsform": "Frau"}, "SB"
    )["betNr"]
    entity_id = await office.new_person(betnr=betnr, registergericht="Celle")

    espo, _ = await settled(office, entity_id)

    assert espo["syncStatus"] == "conflict"
    assert "Registergericht „Celle“" in espo["syncErrorMessage"]
    assert len(await open_tasks(office)) == 1
    await office.edit_espocrm(entity_id, registergericht="")
    espo, _ = await settled(office, entity_id)
    assert (espo["syncStatus"], await open_tasks(office)) == ("clean", [])


async def test_what_does_not_fit_is_reported_where_a_person_becomes_a_company(
    office: Office,
) -> None:
    await office.without_form_rules()
    entity_id, _ = await office.linked_person(firstName=None, salutationName=None)
    await office.edit_espocrm(
        entity_id,
        rechtsform="GmbH",
        firmenname="X GmbH",
        lastName="",
        handelsregisterArt="H" * 40,
    )

    espo, advo = await settled(office, entity_id)

    assert (advo["name"], advo["art"]) == (
        "X GmbH",
        None,
    )  # 40 characters are more than we send
    assert espo["syncStatus"] == "conflict"
    assert "höchstens 20 Zeichen" in (await open_tasks(office))[0]


async def test_of_a_company_that_becomes_a_person_only_what_does_not_arrive_is_reported(
    office: Office,
) -> None:
    entity_id, _ = await created_firm(
        office, rechtsform="GmbH", registergericht="Celle"
    )
    await office.edit_espocrm(
        entity_id,
        rechtsform="",
        firmenname="",
        firstName="Erika",
        lastName="Muster",
        dateOfBirth="1000-01-01",
    )

    espo, advo = await settled(office, entity_id)

    assert (advo["vorname"], advo["name"], advo["rechtsform"] or "") == (
        "Erika",
        "Muster",
        "",
    )
    assert (
        espo["syncErrorMessage"]
        == "In Advoware nicht angekommen: Geburtsdatum „01.01.1000“ (BET-05)."
    )
    rejected = {
        line["field"]
        for row in await office.audit(entity_id)
        for line in row["changes"]
        if "rejected" in line
    }
    assert rejected == {"geburtsdatum"}


async def test_a_merchant_who_becomes_a_firm_on_both_sides_at_once_loses_nothing(
    office: Office,
) -> None:
    entity_id, betnr = await created(
        office, rechtsform="e.K.", firstName=None, handelsregisterNummer="HRA 2"
    )
    await office.edit_espocrm(
        entity_id, firmenname="Kaufhaus", handelsregisterNummer=""
    )
    await office.edit_advoware(betnr, anrede="")

    espo, advo = await settled(office, entity_id)

    assert (espo["handelsregisterNummer"], advo["handelsRegisterNummer"] or None) == (
        None,
        None,
    )
    lines = [line for row in await office.audit(entity_id) for line in row["changes"]]
    assert "Kaufhaus" in (
        espo["firmenname"],
        advo["name"],
        *(line.get("old") for line in lines),
    )


async def test_what_a_company_says_of_a_person_is_reported_and_a_closed_task_stays_closed(
    office: Office,
) -> None:
    entity_id, betnr = await created_firm(office, rechtsform="GmbH")
    await office.edit_espocrm(entity_id, dateOfBirth="1980-01-02")
    await settled(office, entity_id)
    (task,) = await office.tasks()
    assert "Geburtsdatum: alt (leer), neu 02.01.1980" in task["description"].replace(
        "„", ""
    ).replace("“", "")

    url = f"{office.espocrm.url}/__sandbox__/records/Task/{task['id']}"
    await office._request("PUT", url, json={"status": "Completed"})
    await office.edit_advoware(betnr, name="Kaufhaus Neu")
    await settled(office, entity_id)
    assert [task["status"] for task in await office.tasks()] == ["Completed"]


# -- what cannot be read --------------------------------------------------------------------------------------------


async def test_a_date_of_no_use_is_reported_at_the_creation(office: Office) -> None:
    entity_id, betnr = await created(office, dateOfBirth="1000-01-01")
    espo, _ = await settled(office, entity_id)
    assert espo["syncStatus"] == "conflict"
    assert "01.01.1000" in (await open_tasks(office))[0]

    await office.edit_advoware(
        betnr, geburtsdatum="1980-01-02"
    )  # mended on the other side
    espo, _ = await settled(office, entity_id)
    assert (espo["dateOfBirth"], espo["syncStatus"], await open_tasks(office)) == (
        "1980-01-02",
        "clean",
        [],
    )


async def test_two_values_that_wait_stand_in_one_task_that_stays_true(
    office: Office,
) -> None:
    await office.without_form_rules()
    entity_id, _ = await office.linked_person()
    await office.edit_espocrm(entity_id, dateOfBirth="1000-01-01")
    await office.sync(entity_id)
    await office.edit_espocrm(entity_id, lastName="")
    await settled(office, entity_id)
    (task,) = await open_tasks(office)
    assert "01.01.1000" in task
    assert "Name: alt „Muster“, neu (leer)" in task

    await office.edit_espocrm(entity_id, lastName="Muster")
    await settled(office, entity_id)

    (task,) = await open_tasks(office)
    assert "01.01.1000" in task
    assert "neu (leer)" not in task


async def test_an_answer_that_shows_the_version_before_says_nothing_of_the_write(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    old = office.in_advoware(betnr)
    stale = [
        {"field": name, "how": "value", "to": old[name]} for name in ("rowId", "name")
    ]
    await office.fault(office.advoware, method="PUT", path="/Beteiligte/", answer=stale)
    await office.edit_espocrm(entity_id, lastName="Neu")

    espo, advo = await settled(office, entity_id)

    assert (espo["lastName"], advo["name"]) == ("Neu", "Neu")
    assert (espo["syncStatus"], await open_tasks(office)) == ("clean", [])


async def test_a_value_that_waits_and_gives_way_stays_readable_although_its_task_goes_on(
    office: Office,
) -> None:
    await office.without_form_rules()
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, dateOfBirth="1000-01-01")
    await settled(office, entity_id)
    await office.edit_espocrm(entity_id, lastName="")
    await settled(office, entity_id)

    await office.edit_advoware(betnr, geburtsdatum="1980-05-06T00:00:00")
    espo, _ = await settled(office, entity_id)

    assert espo["dateOfBirth"] == "1980-05-06"
    waiting, replaced = sorted(await open_tasks(office), key=lambda t: "BET-23" in t)
    assert "Name: alt „Muster“, neu (leer)" in waiting
    assert "01.01.1000" not in waiting
    assert "Geburtsdatum: alt „01.01.1000“, neu „06.05.1980“" in replaced
    # What people correct themselves is no news to them.
    await office.edit_espocrm(entity_id, lastName="Muster")
    await settled(office, entity_id)
    assert await open_tasks(office) == [replaced]


@pytest.mark.parametrize("value", [[], ["x"], {"a": 1}, True])
async def test_what_is_no_text_is_not_taken_for_one(office: Office, value: Any) -> None:
    entity_id, betnr = await office.linked_person(registergericht="Celle")
    fields = [
        {"field": name, "how": "value", "to": value}
        for name in ("vorname", "anrede", "rechtsform", "art")
    ]
    await office.fault(
        office.advoware, method="GET", path="/Beteiligte/", answer=fields
    )
    await office.edit_advoware(betnr, registergericht="Hannover")

    espo, _ = await settled(office, entity_id)

    assert (espo["firstName"], espo["salutationName"], espo["rechtsform"] or "") == (
        "Erika",
        "Frau",
        "",
    )
    assert (espo["handelsregisterArt"] or "", espo["registergericht"]) == (
        "",
        "Hannover",
    )
    await office.no_faults()
    await office.edit_advoware(betnr, vorname="Erika Maria")
    espo, _ = await settled(office, entity_id)
    assert (espo["firstName"], await open_tasks(office)) == ("Erika Maria", [])


async def test_a_legal_form_that_espocrm_does_not_show_makes_no_person_of_a_company(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person(rechtsform="GmbH", firmenname="X GmbH")
    rule = {"field": "rechtsform", "how": "missing"}
    await office.fault(
        office.espocrm, method="GET", path="/CBeteiligte/", answer=[rule]
    )
    await office.edit_espocrm(entity_id, firmenname="Y GmbH")

    espo, advo = await settled(office, entity_id)

    assert (advo["name"], advo["rechtsform"], espo["syncStatus"]) == (
        "Y GmbH",
        "GmbH",
        "clean",
    )


async def test_a_firm_that_is_called_like_the_person_is_no_second_name(
    office: Office,
) -> None:
    entity_id, betnr = await created_firm(office, rechtsform="GmbH")
    await office.edit_advoware(
        betnr, rechtsform="Frau", anrede="Frau", vorname="Erika", name="Muster"
    )
    await office.edit_espocrm(entity_id, firmenname="Muster")

    espo, _ = await settled(office, entity_id)

    assert (espo["lastName"], espo["firmenname"]) == ("Muster", "Muster")
    assert await open_tasks(office) == []


async def test_a_company_there_and_a_couple_here_write_nothing_more(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_advoware(betnr, rechtsform="Eheleute")
    await settled(office, entity_id)
    await office.edit_espocrm(entity_id, rechtsform="GmbH", firmenname="X GmbH")
    _, advo = await settled(office, entity_id)
    assert (advo["rechtsform"], advo["name"]) == ("GmbH", "X GmbH")

    await office.edit_advoware(betnr, rechtsform="Eheleute", name="Muster")
    espo, advo = await settled(office, entity_id)

    assert (espo["rechtsform"], espo["firmenname"], advo["rechtsform"]) == (
        "GmbH",
        "Muster",
        "Eheleute",
    )
    assert "Eheleute" in "".join(await open_tasks(office))


async def test_a_task_about_another_kind_ends_where_the_kind_comes_back(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person()
    await office.edit_espocrm(
        entity_id, rechtsform="GmbH", firmenname="X GmbH", firstName="", lastName=""
    )
    await settled(office, entity_id)
    assert "Vorname: alt „Erika“" in "".join(await open_tasks(office))

    await office.edit_espocrm(
        entity_id, rechtsform="", firmenname="", firstName="Erika", lastName="Muster"
    )
    _, advo = await settled(office, entity_id)

    assert (advo["vorname"], await open_tasks(office)) == ("Erika", [])


async def test_an_edit_made_before_a_person_became_a_company_arrives_when_it_is_a_person_again(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(dateOfBirth="1931-02-12")
    await office.edit_advoware(betnr, geburtsdatum="1931-12-02T00:00:00")
    await office.edit_espocrm(entity_id, rechtsform="GmbH", firmenname="X GmbH")
    await settled(office, entity_id)

    await office.edit_espocrm(entity_id, rechtsform="", firmenname="")
    espo, advo = await settled(office, entity_id)

    assert espo["dateOfBirth"] == "1931-12-02"
    assert advo["geburtsdatum"].startswith("1931-12-02")


@pytest.mark.parametrize(
    ("field", "attribute"),
    [
        ("registergericht", "registergericht"),
        ("handelsRegisterNummer", "handelsregisterNummer"),
    ],
)
async def test_an_edit_made_before_a_company_became_a_person_arrives_when_it_is_a_company_again(
    office: Office, field: str, attribute: str
) -> None:
    entity_id, betnr = await office.linked_person(
        rechtsform="GmbH", firmenname="A GmbH", **{attribute: "Ulm 1"}
    )
    await office.edit_advoware(betnr, **{field: "Ulm 2"})
    await office.edit_espocrm(
        entity_id, rechtsform="", lastName="Muster", firmenname=""
    )
    await settled(office, entity_id)

    await office.edit_espocrm(entity_id, rechtsform="GmbH", firmenname="A GmbH")
    espo, advo = await settled(office, entity_id)

    assert (espo[attribute], advo[field]) == ("Ulm 2", "Ulm 2")


async def test_an_edit_of_a_person_waits_in_espocrm_while_it_is_a_company_in_advoware(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(dateOfBirth="1931-02-12")
    await office.edit_espocrm(entity_id, dateOfBirth="1931-12-02")
    await office.edit_advoware(betnr, rechtsform="GmbH", name="X GmbH")
    await settled(office, entity_id)

    await office.edit_advoware(betnr, rechtsform="", name="Muster")
    espo, advo = await settled(office, entity_id)

    assert espo["dateOfBirth"] == "1931-12-02"
    assert advo["geburtsdatum"].startswith("1931-12-02")


async def test_what_a_company_removed_of_a_person_clears_nothing_when_it_is_a_person_again(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(dateOfBirth="1931-02-12")
    await office.edit_advoware(betnr, rechtsform="GmbH", name="X GmbH")
    await settled(office, entity_id)
    await office.edit_espocrm(entity_id, dateOfBirth=None)
    await settled(office, entity_id)

    born = "1931-12-02T00:00:00"
    await office.edit_advoware(betnr, rechtsform="", name="Muster", geburtsdatum=born)
    espo, advo = await settled(office, entity_id)

    assert espo["dateOfBirth"] == "1931-12-02"
    assert advo["geburtsdatum"].startswith("1931-12-02")


async def test_both_edited_a_person_before_it_became_a_company_and_both_edits_are_shown(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(dateOfBirth="1931-02-12")
    await office.edit_advoware(betnr, geburtsdatum="1931-12-02T00:00:00")
    await office.edit_espocrm(
        entity_id, rechtsform="GmbH", firmenname="X GmbH", dateOfBirth="1930-01-01"
    )
    await settled(office, entity_id)

    await office.edit_espocrm(entity_id, rechtsform="", firmenname="")
    espo, advo = await settled(office, entity_id)

    assert espo["dateOfBirth"] == "1930-01-01"
    assert advo["geburtsdatum"].startswith("1930-01-01")
    assert "02.12.1931" in "".join(await open_tasks(office))


async def test_a_task_about_another_kind_ends_when_the_old_values_are_removed(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(
        entity_id, rechtsform="GmbH", firmenname="X GmbH", firstName="", lastName=""
    )
    await settled(office, entity_id)
    await office.edit_espocrm(entity_id, salutationName="")
    await office.edit_advoware(betnr, vorname="", anrede="")

    await settled(office, entity_id)

    assert await open_tasks(office) == []


# -- answers that repeat what was sent ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alteration", [{"how": "cut", "to": 6}, {"how": "upper"}, {"how": "ignore"}]
)
async def test_an_answer_that_repeats_what_was_sent_hides_no_alteration(
    office: Office, alteration: dict[str, Any]
) -> None:
    entity_id, betnr = await office.linked_person()
    rule = {"field": "name", **alteration, "echo": True}
    await office.fault(
        office.advoware, method="PUT", path="/Beteiligte/", stored=[rule]
    )
    await office.edit_espocrm(entity_id, lastName="Müller-Lüdenscheidt")

    espo, advo = await settled(office, entity_id)

    assert advo["name"] != "Müller-Lüdenscheidt"
    assert (espo["lastName"], espo["syncStatus"]) == ("Müller-Lüdenscheidt", "conflict")
    await office.no_faults()
    await office.edit_advoware(betnr, name="Müller-Lüdenscheidt")
    espo, _ = await settled(office, entity_id)
    assert (espo["syncStatus"], await open_tasks(office)) == ("clean", [])


async def test_an_answer_that_repeats_what_was_sent_hides_no_alteration_at_the_creation(
    office: Office,
) -> None:
    rule = {"field": "vorname", "how": "cut", "to": 3, "echo": True}
    await office.fault(office.advoware, path="/Beteiligte", stored=[rule])
    entity_id, _ = await created(office, firstName="Maximiliane")

    espo, _ = await settled(office, entity_id)

    assert (espo["firstName"], espo["syncStatus"]) == ("Maximiliane", "conflict")


# -- a number is not an identity ------------------------------------------------------------------------------------


async def test_the_number_of_another_person_mixes_up_no_one(office: Office) -> None:
    betnr = office.advoware.beteiligte.create(
        {"vorname": "Otto", "name": "Anders"}, "SB"
    )["betNr"]
    entity_id = await office.new_person(betnr=betnr)

    espo, advo = await settled(office, entity_id)

    assert (espo["lastName"], espo["syncStatus"], advo["name"]) == (
        "Muster",
        "conflict",
        "Anders",
    )
    assert "jemand anderem" in (await office.tasks())[0]["name"]
    right = office.advoware.beteiligte.create(
        {"vorname": "Erika", "name": "Muster"}, "SB"
    )["betNr"]
    await office.edit_espocrm(entity_id, betnr=right)
    espo, advo = await settled(office, entity_id)
    assert (espo["syncStatus"], advo["betNr"], await open_tasks(office)) == (
        "clean",
        right,
        [],
    )


@pytest.mark.parametrize("name", ["MUSTER", "Muster-Ehemals", "Muste"])
async def test_a_name_in_another_spelling_is_no_other_person(
    office: Office, name: str
) -> None:
    betnr = office.advoware.beteiligte.create({"name": name}, "SB")["betNr"]
    office.clock.advance(minutes=1)
    entity_id = await office.new_person(
        betnr=betnr, firstName=None, salutationName=None
    )

    espo, _ = await settled(office, entity_id)

    assert espo["syncStatus"] == "clean"


async def given_again(office: Office, betnr: int) -> None:
    """Advoware has lost the number and given it to Otto Anders."""
    await office.delete_in_advoware(betnr)
    office.clock.advance(days=1)
    other = office.advoware.beteiligte.create(
        {"vorname": "Otto", "name": "Anders"}, "SB"
    )
    record = office.advoware.beteiligte._records.pop(other["betNr"])
    office.advoware.beteiligte._records[betnr] = {**record, "betNr": betnr}


async def test_a_record_is_released_where_a_person_says_that_it_is_the_same_one(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await given_again(office, betnr)
    assert (await office.sync(entity_id)).result == "held"

    await office.edit_espocrm(entity_id, firstName="Otto", lastName="Anders")

    espo, advo = await settled(office, entity_id)
    assert (espo["syncStatus"], advo["name"]) == ("clean", "Anders")


@pytest.mark.parametrize("form", ["utc", "fractions", "offset"])
async def test_a_time_of_creation_written_otherwise_is_no_other_creation(
    office: Office, form: str
) -> None:
    entity_id, betnr = await office.linked_person()
    rule = {"field": "angelegtAm", "how": "date", "to": form}
    await office.fault(
        office.advoware, method="GET", path="/Beteiligte/", answer=[rule]
    )
    await office.edit_advoware(betnr, name="Verheiratet")

    espo, _ = await settled(office, entity_id)

    assert (espo["lastName"], espo["syncStatus"]) == ("Verheiratet", "clean")


async def released(office: Office, make_settings: Any) -> Resources:
    restored_at = office.clock.now.isoformat()
    office.clock.advance(minutes=1)
    return Resources(
        make_settings(VMH_ADVOWARE_RESTORED_AT=restored_at), clock=office.clock
    )


async def test_a_confirmed_restore_mixes_up_no_one(
    office: Office, make_settings: Any
) -> None:
    entity_id, betnr = await office.linked_person()
    await given_again(office, betnr)
    async with await released(office, make_settings) as office.resources:
        espo, advo = await settled(office, entity_id)
    assert (espo["lastName"], espo["syncStatus"], advo["name"]) == (
        "Muster",
        "conflict",
        "Anders",
    )


async def test_each_restore_is_recognised_and_reported(
    office: Office, make_settings: Any
) -> None:
    people = [
        await office.linked_person(firstName=name)
        for name in ("Anna", "Berta", "Clara")
    ]

    async def restore() -> None:
        office.clock.advance(days=1)
        for entity_id, _ in people:
            await office.edit_espocrm(entity_id, lastName=f"Neu{office.clock.now:%d}")
            await office.sync(entity_id)
        office.clock.advance(hours=1)
        await office.act(office.advoware, action="restore", seconds=2 * 3600)
        for entity_id, _ in people:
            assert (await office.sync(entity_id, "sync_check", "cron")).result == "held"

    await restore()
    assert len(await open_tasks(office)) == 1
    async with await released(office, make_settings) as office.resources:
        for entity_id, _ in people:
            espo, advo = await settled(office, entity_id)
            assert (espo["lastName"], espo["syncStatus"]) == (advo["name"], "clean")
        assert await open_tasks(office) == []
        await restore()
        assert len(await open_tasks(office)) == 1


async def test_lost_numbers_are_recognised_although_an_earlier_restore_was_confirmed(
    office: Office, make_settings: Any
) -> None:
    async with await released(office, make_settings) as office.resources:
        office.clock.advance(days=30)
        people = [
            await office.linked_person(firstName=name)
            for name in ("Anna", "Berta", "Clara")
        ]
        await office.act(office.advoware, action="restore", seconds=3600)
        for entity_id, _ in people:
            assert (await office.sync(entity_id, "sync_check", "cron")).result == "held"


async def test_an_unclear_creation_waits_without_writing(office: Office) -> None:
    await office.fault(
        office.advoware,
        method="POST",
        path="/Beteiligte$",
        status=502,
        when="after",
        count=1,
    )
    entity_id = await office.new_person()
    await office.sync(entity_id, "create")
    rule = {"field": "[].angelegtAm", "how": "missing"}
    await office.fault(
        office.advoware, method="GET", path="/Beteiligte$", answer=[rule]
    )
    office.clock.advance(minutes=5)
    assert (await office.sync(entity_id)).result == "held"

    for _ in range(2):
        assert (await office.sync(entity_id)).result == "held"
        assert office.writes() == []

    betnr = office.advoware.state()["beteiligte"][0]["betNr"]
    await office.edit_espocrm(entity_id, betnr=betnr)
    espo, _ = await settled(office, entity_id)
    assert (espo["syncStatus"], await open_tasks(office)) == ("clean", [])


async def test_an_older_namesake_is_not_what_an_interrupted_creation_has_made(
    office: Office,
) -> None:
    namesake = {
        "rechtsform": "Frau",
        "anrede": "Frau",
        "vorname": "Erika",
        "name": "Muster",
    }
    older = office.advoware.beteiligte.create(namesake, "SB")["betNr"]
    office.clock.advance(days=2)
    await office.fault(
        office.advoware, method="POST", path="/Beteiligte$", reset=True, count=1
    )
    entity_id = await office.new_person()
    assert (await office.sync(entity_id, "create")).result == "failed"
    office.clock.advance(minutes=5)

    assert (await office.sync(entity_id, "create")).result == "created"

    assert (await office.in_espocrm(entity_id))["betnr"] != older
    assert len(office.advoware.state()["beteiligte"]) == 2


# -- lost deletions -------------------------------------------------------------------------------------------------


async def test_the_list_of_lost_deletions_names_people(office: Office) -> None:
    people = [await office.linked_person(firstName=name) for name in ("Anna", "Berta")]
    for entity_id, _ in people:
        await office.delete_in_espocrm(entity_id)

    async def enqueue(topic: str, data: Any) -> None:
        raise AssertionError("nothing is left to be done")

    await BeteiligteCheck(resources=office.resources).run(enqueue)

    (task,) = await open_tasks(office)
    assert "- Anna Muster, Nr. 1001\n- Berta Muster, Nr. 1002" in task
