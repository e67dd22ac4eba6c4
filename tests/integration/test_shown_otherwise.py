"""What Advoware shows otherwise, of a record that no one has edited, is no edit: it is left alone on both sides."""

from __future__ import annotations

from typing import Any

import pytest
from beteiligte_office import Office, office
from operator_desk import command

from services.values.sealed import has_sealed

__all__ = ["office"]

PERSON = {
    "lastName": "Müller-Lüdenscheidt",
    "firstName": "Jörg Ägidius",
    "dateOfBirth": "1980-05-01",
}
ADDRESS = {
    "adresseStreet": "Große Straße 12",
    "adressePostalCode": "30159",
    "adresseCity": "Höxter",
    "adresseCountry": "DE",
    "istStandard": True,
}
FORMS = [
    {"how": "cut", "to": 4},
    {"how": "upper"},
    {"how": "ascii"},
    {"how": "format", "to": "{} (alt)"},
    {"how": "null"},
    {"how": "empty_text"},
]
#: A name of Advoware's, where it stands in EspoCRM, what a person makes of it, and another field of the same record.
FIELDS = [
    ("name", "CBeteiligte", "lastName", "Schmidt", "dateOfBirth"),
    ("vorname", "CBeteiligte", "firstName", "Heinz", "dateOfBirth"),
    ("adressen[].strasse", "CAdressen", "adresseStreet", "Am Markt 1", "adresseCity"),
    ("adressen[].plz", "CAdressen", "adressePostalCode", "10115", "adresseCity"),
    ("adressen[].ort", "CAdressen", "adresseCity", "Berlin", "adressePostalCode"),
]
#: Fields with each form in which they look otherwise; null is no value of an Adresse (test_adressen_values.py).
SHOWN = [
    (field, entity, other, form)
    for field, entity, _, _, other in FIELDS
    for form in FORMS
    if not (entity == "CAdressen" and form["how"] == "null")
    and not (field == "adressen[].plz" and form["how"] in {"upper", "ascii"})
]
#: The path of a write, and a field that Advoware refuses in it.
REFUSED = [("Beteiligte", "name"), ("Adressen", "adressen[].ort")]
#: Advoware refuses a record that is written so.
NO_NAME = {"null", "empty_text"}
OTHER_VALUES = {
    "dateOfBirth": "1981-06-02",
    "adresseCity": "Lehrte",
    "adressePostalCode": "31275",
}
OTHER_NAMES = {
    "dateOfBirth": "geburtsdatum",
    "adresseCity": "ort",
    "adressePostalCode": "plz",
}


@pytest.fixture
async def person(office: Office) -> tuple[str, int]:
    """A person with an address that both sides agree on: the ids."""
    entity_id, betnr = await office.linked_person(**PERSON)
    await office.enter("CAdressen", beteiligteId=entity_id, **ADDRESS)
    await office.sync(entity_id)
    await assert_rests(office, entity_id)
    return entity_id, betnr


async def assert_rests(office: Office, entity_id: str) -> None:
    for _ in range(2):
        assert (await office.sync(entity_id)).error is None
        assert office.writes() == []


async def show(office: Office, field: str, form: dict[str, Any]) -> None:
    """From now on Advoware shows the field in this form, and holds what it held."""
    change = {"field": field, **form}
    await office.fault(
        office.advoware, method="GET", path="Beteiligte", answer=[change]
    )


async def edit_in_advoware(office: Office, betnr: int, field: str, value: str) -> None:
    """A person changes it there."""
    if not field.startswith("adressen"):
        await office.edit_advoware(betnr, **{field: value})
        return
    (adresse,) = office.in_advoware(betnr)["adressen"]
    change = {"id": adresse["id"], field.removeprefix("adressen[]."): value}
    await office.edit_advoware(betnr, adressen=[change])


def held(office: Office, betnr: int) -> dict[str, str]:
    """What Advoware holds."""
    record = office.in_advoware(betnr)
    names = ("name", "vorname", "geburtsdatum")
    values = {name: str(record[name]) for name in names}
    (adresse,) = record["adressen"]
    for name in ("strasse", "plz", "ort", "anschrift"):
        values[f"adressen[].{name}"] = str(adresse[name])
    return values


def typed(office: Office) -> dict[str, str]:
    """What EspoCRM holds."""
    values = {}
    for field, entity, attribute, *_ in FIELDS:
        (record,) = office.records(entity)
        values[field] = str(record[attribute])
    return values


async def open_tasks(office: Office) -> list[str]:
    """The names of the tasks that are not done."""
    tasks = await office.tasks()
    return [task["name"] for task in tasks if task["status"] == "Not Started"]


async def edit_what_is_refused(office: Office, path: str, field: str) -> None:
    """A user enters something in EspoCRM that Advoware does not take."""
    body = {"message": f"{field.rpartition('.')[2]} ist gesperrt"}
    await office.fault(office.advoware, method="PUT", path=path, status=400, body=body)
    entity, attribute = next(item[1:3] for item in FIELDS if item[0] == field)
    (record,) = office.records(entity)
    await office.edit(entity, record["id"], **{attribute: "Schmidt"})


def other_value(office: Office, betnr: int, other: str) -> str:
    """What Advoware holds of the other field."""
    record = office.in_advoware(betnr)
    if other != "dateOfBirth":
        (record,) = record["adressen"]
    return str(record[OTHER_NAMES[other]]).removesuffix("T00:00:00")


@pytest.mark.parametrize(("field", "entity", "other", "form"), SHOWN)
async def test_it_is_left_alone_and_reported_until_it_is_shown_as_before(
    office: Office,
    person: tuple[str, int],
    field: str,
    entity: str,
    other: str,
    form: dict[str, Any],
) -> None:
    entity_id, betnr = person
    before = held(office, betnr), typed(office)
    await show(office, field, form)

    await office.sync(entity_id)
    assert not office.calls(office.advoware)
    assert (held(office, betnr), typed(office)) == before
    assert len(await open_tasks(office)) == 1
    await assert_rests(office, entity_id)

    await office.no_faults()
    await office.sync(entity_id)
    assert not office.calls(office.advoware)
    assert (held(office, betnr), typed(office)) == before
    await assert_rests(office, entity_id)
    assert await open_tasks(office) == []


@pytest.mark.parametrize(
    ("field", "entity", "other", "form"),
    [item for item in SHOWN if item[0] != "name" or item[3]["how"] not in NO_NAME],
)
async def test_another_edit_goes_on_and_espocrm_keeps_what_it_has(
    office: Office,
    person: tuple[str, int],
    field: str,
    entity: str,
    other: str,
    form: dict[str, Any],
) -> None:
    """A write sends the whole record, as it is shown: what stands in EspoCRM is the only right value from then on."""
    entity_id, betnr = person
    in_espocrm = typed(office)
    await show(office, field, form)
    (record,) = office.records(entity)
    await office.edit(entity, record["id"], **{other: OTHER_VALUES[other]})
    await office.sync(entity_id)
    assert other_value(office, betnr, other) == OTHER_VALUES[other]
    assert typed(office)[field] == in_espocrm[field]
    await office.no_faults()

    await office.sync(entity_id)
    await assert_rests(office, entity_id)
    assert typed(office)[field] == in_espocrm[field]
    assert len(await open_tasks(office)) == 1

    await edit_in_advoware(office, betnr, field, in_espocrm[field])
    await office.sync(entity_id)
    await assert_rests(office, entity_id)
    assert held(office, betnr)[field] == typed(office)[field] == in_espocrm[field]
    assert await open_tasks(office) == []


async def test_a_time_that_is_not_shown_proves_no_edit(
    office: Office, person: tuple[str, int]
) -> None:
    entity_id, _ = person
    in_espocrm = typed(office)
    answer: list[dict[str, Any]] = [
        {"field": "name", "how": "cut", "to": 4},
        {"field": "geaendertAm", "how": "missing"},
    ]
    await office.fault(office.advoware, method="GET", path="Beteiligte", answer=answer)

    await office.sync(entity_id)

    assert typed(office) == in_espocrm
    assert len(await open_tasks(office)) == 1


@pytest.mark.parametrize(("field", "entity", "other", "form"), SHOWN)
async def test_a_user_ends_it_by_saving_in_advoware(
    office: Office,
    person: tuple[str, int],
    field: str,
    entity: str,
    other: str,
    form: dict[str, Any],
) -> None:
    """What is shown is what he has saved, then."""
    entity_id, betnr = person
    await show(office, field, form)
    await office.sync(entity_id)
    await office.no_faults()

    await edit_in_advoware(office, betnr, field, "Neu 1")
    await office.sync(entity_id)

    assert typed(office)[field] == "Neu 1"
    await assert_rests(office, entity_id)
    assert await open_tasks(office) == []


@pytest.mark.parametrize("form", FORMS[:4], ids=lambda form: form["how"])
@pytest.mark.parametrize(("field", "entity", "attribute", "new", "other"), FIELDS)
async def test_a_user_ends_it_by_an_edit_in_espocrm(
    office: Office,
    person: tuple[str, int],
    field: str,
    entity: str,
    attribute: str,
    new: str,
    other: str,
    form: dict[str, Any],
) -> None:
    entity_id, betnr = person
    await show(office, field, form)
    await office.sync(entity_id)

    (record,) = office.records(entity)
    await office.edit(entity, record["id"], **{attribute: new})
    await office.sync(entity_id)
    assert held(office, betnr)[field] == new

    await office.no_faults()
    await office.sync(entity_id)
    assert held(office, betnr)[field] == typed(office)[field] == new
    await assert_rests(office, entity_id)
    assert await open_tasks(office) == []


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ({"how": "cut", "to": 4}, "Müll"),
        ({"how": "upper"}, "MÜLLER-LÜDENSCHEIDT"),
        ({"how": "format", "to": "{} (alt)"}, "Müller-Lüdenscheidt (alt)"),
    ],
)
async def test_a_user_ends_it_by_typing_what_is_shown(
    office: Office, person: tuple[str, int], form: dict[str, Any], shown: str
) -> None:
    entity_id, _ = person
    await show(office, "name", form)
    await office.sync(entity_id)

    await office.edit_espocrm(entity_id, lastName=shown)
    await office.sync(entity_id)

    assert not office.calls(office.advoware)
    await assert_rests(office, entity_id)
    assert typed(office)["name"] == shown
    assert await open_tasks(office) == []


@pytest.mark.parametrize(
    ("side", "hidden", "field"),
    [
        ("espocrm", "lastName", "name"),
        ("advoware", "name", "name"),
        ("espocrm", "list[].adresseCity", "adressen[].ort"),
        ("advoware", "adressen[].ort", "adressen[].ort"),
    ],
)
async def test_an_edit_made_while_its_field_was_not_shown_is_found_later(
    office: Office, person: tuple[str, int], side: str, hidden: str, field: str
) -> None:
    """Such a version is not known as a whole, and its values still count."""
    entity_id, betnr = person
    twin = office.espocrm if side == "espocrm" else office.advoware
    missing = [{"field": hidden, "how": "missing"}]
    await office.fault(twin, method="GET", answer=missing)
    await edit_in_advoware(office, betnr, field, "Lehrte")
    await office.sync(entity_id)
    await office.sync(entity_id)
    await office.no_faults()

    await office.sync(entity_id)

    assert typed(office)[field] == "Lehrte"


@pytest.mark.parametrize(("field", "entity", "other", "form"), SHOWN)
async def test_a_user_who_saves_something_else_in_advoware_does_not_make_it_an_edit(
    office: Office,
    person: tuple[str, int],
    field: str,
    entity: str,
    other: str,
    form: dict[str, Any],
) -> None:
    entity_id, betnr = person
    in_espocrm = typed(office)
    await show(office, field, form)
    await office.sync(entity_id)

    name = OTHER_NAMES[other]
    value = OTHER_VALUES[other]
    if entity == "CAdressen":
        name = f"adressen[].{name}"
    else:
        value += "T00:00:00"
    await edit_in_advoware(office, betnr, name, value)
    await office.sync(entity_id)
    await office.sync(entity_id)
    await assert_rests(office, entity_id)
    (record,) = office.records(entity)
    assert record[other] == OTHER_VALUES[other]
    assert typed(office)[field] == in_espocrm[field]
    assert len(await open_tasks(office)) == 1

    await office.no_faults()
    await office.sync(entity_id)
    await assert_rests(office, entity_id)
    assert typed(office)[field] == held(office, betnr)[field] == in_espocrm[field]
    assert await open_tasks(office) == []


@pytest.mark.parametrize(("path", "shown"), REFUSED)
async def test_a_value_that_waits_for_a_user_still_waits_afterwards(
    office: Office, person: tuple[str, int], path: str, shown: str
) -> None:
    """Advoware has refused it; then it shows its own in another form, and as before again."""
    entity_id, _ = person
    await edit_what_is_refused(office, path, shown)
    await office.sync(entity_id)
    await office.no_faults()
    waiting = await open_tasks(office)
    assert waiting

    await show(office, shown, {"how": "upper"})
    await office.sync(entity_id)
    assert await open_tasks(office) == waiting

    await office.no_faults()
    await office.sync(entity_id)
    await assert_rests(office, entity_id)
    assert await open_tasks(office) == waiting
    assert typed(office)[shown] == "Schmidt"


@pytest.mark.parametrize(("path", "shown"), REFUSED)
async def test_what_is_refused_while_it_is_shown_otherwise_stops_nothing_later(
    office: Office, person: tuple[str, int], path: str, shown: str
) -> None:
    entity_id, betnr = person
    await show(office, shown, {"how": "cut", "to": 4})
    await office.sync(entity_id)
    await edit_what_is_refused(office, path, shown)
    await office.sync(entity_id)
    await office.sync(entity_id)
    await office.no_faults()
    await office.sync(entity_id)
    await office.sync(entity_id)

    assert typed(office)[shown] == held(office, betnr)[shown]
    await assert_rests(office, entity_id)
    assert not [name for name in await open_tasks(office) if "anders als" in name]


async def test_a_name_is_kept_also_after_a_person_has_become_a_company(
    office: Office, person: tuple[str, int]
) -> None:
    entity_id, _ = person
    await office.edit_espocrm(entity_id, rechtsform="GmbH", firmenname="Muster GmbH")
    await office.sync(entity_id)
    await assert_rests(office, entity_id)
    await show(office, "name", {"how": "cut", "to": 4})

    await office.sync(entity_id)

    assert (await office.in_espocrm(entity_id))["firmenname"] == "Muster GmbH"
    assert "Advoware zeigt eine Angabe anders" in "".join(await open_tasks(office))


async def test_a_field_that_was_shown_empty_is_emptied_by_a_user(
    office: Office, person: tuple[str, int]
) -> None:
    entity_id, betnr = person
    await show(office, "vorname", {"how": "null"})
    await office.sync(entity_id)
    assert (await office.in_espocrm(entity_id))["firstName"] == PERSON["firstName"]

    await office.no_faults()
    await office.sync(entity_id)
    await office.edit_advoware(betnr, vorname="")
    await office.sync(entity_id)

    assert not (await office.in_espocrm(entity_id))["firstName"]


@pytest.mark.parametrize("form", FORMS[:4], ids=lambda form: form["how"])
async def test_after_an_erasure_no_mark_of_a_value_is_written(
    office: Office, person: tuple[str, int], form: dict[str, Any]
) -> None:
    entity_id, betnr = person
    await command(office.resources, "privacy", "erase", entity_id, "--apply")
    await show(office, "name", form)
    # Where neither side shows a value, it is not known any more.
    hidden = [{"field": "lastName", "how": "missing"}]
    await office.fault(office.espocrm, method="GET", answer=hidden)

    await office.sync(entity_id)
    await office.edit_espocrm(entity_id, dateOfBirth="1981-06-02")
    await office.sync(entity_id)

    assert not has_sealed([office.in_advoware(betnr), *office.records("CBeteiligte")])


COMPANY = {
    "firstName": None,
    "lastName": None,
    "salutationName": None,
    "rechtsform": "GmbH",
    "firmenname": "Muster GmbH",
    "registergericht": "Hannover",
    "handelsregisterNummer": "hrb 12345",
}


@pytest.mark.parametrize(
    ("record", "field", "attribute", "form"),
    [
        (PERSON, "geburtsdatum", "dateOfBirth", {"how": "null"}),
        (
            PERSON,
            "geburtsdatum",
            "dateOfBirth",
            {"how": "value", "to": "1999-01-01T00:00:00"},
        ),
        (PERSON, "name", "lastName", {"how": "pad", "to": 120}),
        (COMPANY, "name", "firmenname", {"how": "cut", "to": 3}),
        (COMPANY, "registergericht", "registergericht", {"how": "null"}),
        (COMPANY, "rechtsform", "rechtsform", {"how": "null"}),
    ],
)
async def test_other_fields_are_left_alone_as_well(
    office: Office,
    record: dict[str, Any],
    field: str,
    attribute: str,
    form: dict[str, Any],
) -> None:
    entity_id, _ = await office.linked_person(**record)
    await office.sync(entity_id)
    await show(office, field, form)
    await office.sync(entity_id)
    await assert_rests(office, entity_id)
    assert (await office.in_espocrm(entity_id))[attribute] == record[attribute]

    await office.no_faults()
    await office.sync(entity_id)
    await assert_rests(office, entity_id)
    assert (await office.in_espocrm(entity_id))[attribute] == record[attribute]
    assert await open_tasks(office) == []
