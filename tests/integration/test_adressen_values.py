"""What either side shows and the other cannot hold destroys nothing: it is written or reported (G1, G2, G4, G6)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from office import BETEILIGTE_ID, LAWYER_ID, Office, office, strike

from sandbox.advoware.beteiligte import ADRESSE as ADRESSE_KIND
from services.adressen_sync import AdressenSync
from services.core.resources import Resources
from services.vmh_sync.result import PartResult
from services.vmh_sync.store import SyncState

__all__ = ["office"]

FULL = {
    "adresseStreet": "Lange Straße 5\nHinterhaus",
    "adressePostalCode": "30159",
    "adresseCity": "Hannover",
    "adresseCountry": "AT",
    "postfach": "12",
    "postfachPLZ": "30001",
    "gueltigVon": "2020-01-01",
    "gueltigBis": "2030-12-31",
    "istStandard": True,
}


@pytest.fixture
def sync(office: Office, resources: Resources) -> Any:
    """Sync once; ``hide`` changes what Advoware answers about the only Adresse, as a fault on the way would."""

    async def run(hide: Callable[[dict[str, Any]], Any] | None = None) -> PartResult:
        office.forget_calls()
        answer = office.beteiligter()
        if hide is not None:
            answer["adressen"] = [
                hide(adresse) or adresse for adresse in answer["adressen"]
            ]
        return await AdressenSync(resources=resources).sync_part(
            office.espo, answer, office.store
        )

    return run


async def linked(office: Office, sync: Any, **attributes: Any) -> str:
    record = await office.enter(
        "CAdressen", **{**FULL, "beteiligteId": BETEILIGTE_ID, **attributes}
    )
    assert (await sync()).errors == ()
    return str(record["id"])


def row(office: Office, entity_id: str) -> dict[str, Any]:
    return next(
        record for record in office.records("CAdressen") if record["id"] == entity_id
    )


def adresse(office: Office) -> dict[str, Any]:
    (found,) = office.beteiligter()["adressen"]
    return dict(found)


def change(office: Office, **changes: Any) -> None:
    """A person changes the only Adresse in Advoware."""
    office.edit_beteiligter(adressen=[{"id": adresse(office)["id"], **changes}])


def reasons(result: PartResult) -> list[Any]:
    return sorted(
        problem.details.reason or problem.action_type for problem in result.problems
    )


async def assert_settled(sync: Any) -> PartResult:
    result: PartResult = await sync()
    assert result.errors == ()
    assert not result.wrote_advoware
    assert result.changes == ()
    return result


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda record: {key: value for key, value in record.items() if key != name}


def having(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda record: {**record, **values}


# -- unknown is not empty -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "strasse",
        "plz",
        "ort",
        "land",
        "postfach",
        "postfachPLZ",
        "gueltigVon",
        "gueltigBis",
    ],
)
@pytest.mark.parametrize("how", ["missing", "null", "number", "list", "unreadable"])
async def test_what_advoware_does_not_say_clearly_clears_and_changes_nothing(
    office: Office, sync: Any, name: str, how: str
) -> None:
    entity_id = await linked(office, sync)
    values = {"null": None, "number": 1067, "list": ["a"], "unreadable": "Absurdistan"}
    if how == "unreadable" and name not in {"land", "gueltigVon", "gueltigBis"}:
        return
    before = {key: row(office, entity_id)[key] for key in FULL}
    result = await sync(
        without(name) if how == "missing" else having(**{name: values[how]})
    )
    assert {key: row(office, entity_id)[key] for key in FULL} == before
    assert result.errors == ()
    if how != "missing":  # no one has edited anything that could not arrive
        assert reasons(result) == ["address_unknown_advoware"]
        assert result.standing
    assert not [call for call in office.write_requests() if "Advoware" in call]
    assert (await sync()).problems == ()
    assert row(office, entity_id)["syncStatus"] == "clean"
    await assert_settled(sync)


@pytest.mark.parametrize(
    "day",
    [
        "0001-01-01T00:00:00",
        "0001-01-01T00:00:00+00:00",
        "9999-12-31T23:59:59.9999999",
        "9999-12-31Z",
    ],
)
async def test_dotnets_extreme_dates_are_no_dates(
    office: Office, sync: Any, day: str
) -> None:
    entity_id = await linked(office, sync, gueltigVon=None, gueltigBis=None)
    result = await sync(having(gueltigVon=day, gueltigBis=day))
    assert (result.errors, result.problems, office.write_requests()) == ((), (), [])
    assert row(office, entity_id)["gueltigBis"] is None


@pytest.mark.parametrize(
    "day", ["1492-10-12", "2201-01-01", "31.12.2030", "2030-02-31", "/Date(1)/"]
)
async def test_an_impossible_date_is_reported_and_not_copied(
    office: Office, sync: Any, day: str
) -> None:
    entity_id = await linked(office, sync)
    result = await sync(having(gueltigBis=day))
    assert reasons(result) == ["address_unknown_advoware"]
    assert row(office, entity_id)["gueltigBis"] == "2030-12-31"
    assert day in str(result.problems[0].details.fields)


async def test_keys_in_other_case_are_read_all_the_same(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    result = await sync(
        lambda record: {key.upper(): value for key, value in record.items()}
    )
    assert (
        result.errors,
        result.problems,
        result.changes,
        office.write_requests(),
    ) == (
        (),
        (),
        (),
        [],
    )
    await office.edit("CAdressen", entity_id, adresseCity="Celle")
    await sync(
        lambda record: {key.capitalize(): value for key, value in record.items()}
    )
    assert adresse(office)["ort"] == "Celle"


@pytest.mark.parametrize("how", ["missing", "null"])
async def test_an_edit_elsewhere_does_not_empty_what_advoware_did_not_show(
    office: Office, sync: Any, how: str
) -> None:
    entity_id = await linked(office, sync)
    await office.edit("CAdressen", entity_id, adresseStreet="Neue Straße 7\nHinterhaus")
    hide = without("ort") if how == "missing" else having(ort=None)
    await sync(hide)
    assert (adresse(office)["strasse"], adresse(office)["ort"]) == (
        "Neue Straße 7",
        "Hannover",
    )
    assert "30159 Hannover" in adresse(office)["anschrift"]
    assert (await sync()).problems == ()
    await assert_settled(sync)


@pytest.mark.parametrize(
    "hide", [without("anschrift"), having(anschrift=None), having(anschrift=["x"])]
)
async def test_a_block_that_advoware_did_not_show_is_not_built_over(
    office: Office, sync: Any, hide: Any
) -> None:
    entity_id = await linked(office, sync)
    change(office, anschrift="Fa. Müller\nc/o Meier\nLange Straße 5\n30159 Hannover")
    await sync()
    await office.edit("CAdressen", entity_id, adresseCity="Celle")
    assert reasons(await sync(hide)) == ["address_missing"]
    assert not [call for call in office.write_requests() if "Advoware" in call]
    assert (await sync()).problems == ()
    assert (
        adresse(office)["anschrift"]
        == "Fa. Müller\nc/o Meier\nLange Straße 5\n30159 Celle"
    )
    assert row(office, entity_id)["adresseStreet"].startswith("Lange Straße 5")


async def test_a_value_emptied_in_advoware_is_emptied_in_espocrm(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    change(office, postfach="", ort="")
    await sync()
    assert (
        row(office, entity_id)["postfach"],
        row(office, entity_id)["adresseCity"],
    ) == (None, None)
    await assert_settled(sync)


async def test_a_field_that_says_nothing_is_settled_when_the_person_empties_espocrm(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    change(office, postfach=None)
    assert reasons(await sync()) == ["address_unknown_advoware"]
    assert row(office, entity_id)["syncStatus"] == "conflict"
    assert reasons(await assert_settled(sync)) == ["address_unknown_advoware"]
    await office.edit("CAdressen", entity_id, postfach=None)
    assert (await sync()).problems == ()
    assert row(office, entity_id)["syncStatus"] == "clean"
    await assert_settled(sync)


async def test_an_unknown_country_entered_in_espocrm_is_reported_and_stays(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    await office.edit(
        "CAdressen", entity_id, adresseCountry="Absurdistan", adresseCity="Celle"
    )
    result = await sync()
    assert reasons(result) == ["address_unknown_espocrm"]
    (problem,) = result.problems
    assert problem.details.as_json()["fields"] == [
        {"field": "land", "old": "Österreich", "new": "Absurdistan"}
    ]
    assert (problem.details.name, problem.details.betnr) == (
        "Max Müller",
        str(office.betnr),
    )
    assert (adresse(office)["land"], adresse(office)["ort"]) == ("Österreich", "Celle")
    assert (
        row(office, entity_id)["adresseCountry"],
        row(office, entity_id)["syncStatus"],
    ) == (
        "Absurdistan",
        "conflict",
    )
    assert (await assert_settled(sync)).problems == (problem,)
    await office.edit("CAdressen", entity_id, adresseCountry="Österreich")
    assert (await sync()).problems == ()
    assert row(office, entity_id)["syncStatus"] == "clean"


async def test_unknown_countries_at_create_are_left_out_and_reported_in_both_directions(
    office: Office, sync: Any
) -> None:
    office.edit_beteiligter(
        adressen=[
            {"strasse": "Am Wall 1", "plz": "1", "ort": "X", "land": "Absurdistan"}
        ]
    )
    entity_id = await linked(office, sync, adresseCountry="Phantasien")
    reported = await assert_settled(sync)
    assert reasons(reported) == ["address_unknown_advoware", "address_unknown_espocrm"]
    assert len(reported.standing) == 2
    lands = {item["strasse"]: item["land"] for item in office.beteiligter()["adressen"]}
    assert lands == {"Am Wall 1": "Absurdistan", "Lange Straße 5": ""}
    (other,) = (
        record for record in office.records("CAdressen") if record["id"] != entity_id
    )
    assert (other["adresseCountry"], other["adresseStreet"]) == (None, "Am Wall 1")
    assert {record["syncStatus"] for record in office.records("CAdressen")} == {
        "conflict"
    }


# -- lengths and refusals -------------------------------------------------------------------------------------------


async def test_an_over_long_value_is_left_out_at_create_and_at_update(
    office: Office, sync: Any
) -> None:
    await office.change_settings(
        form_rules=False
    )  # as saved before the extension asked for it
    entity_id = await linked(
        office, sync, postfach="x" * 60, adressePostalCode="9" * 30
    )
    shown = adresse(office)
    assert (shown["strasse"], shown["ort"], shown["postfach"]) == (
        "Lange Straße 5",
        "Hannover",
        "",
    )
    assert row(office, entity_id)["syncStatus"] == "conflict"
    assert reasons(await assert_settled(sync)) == ["address_too_long_advoware"]
    await office.edit("CAdressen", entity_id, adressePostalCode="30161")
    await sync()
    assert adresse(office)["plz"] == "30161"
    await office.edit(
        "CAdressen", entity_id, adressePostalCode="8" * 30, adresseCity="Celle"
    )
    result = await sync()
    assert (adresse(office)["plz"], adresse(office)["ort"]) == ("30161", "Celle")
    assert any(
        item.new == "8" * 30
        for problem in result.problems
        for item in problem.details.fields
    )


async def test_a_value_too_long_for_espocrm_is_reported_and_the_rest_arrives(
    office: Office, sync: Any
) -> None:
    office.edit_beteiligter(adressen=[{"strasse": "S" * 250, "plz": "30159", "ort": "Hannover", "bemerkung": "B" * 600,
                                  "anschrift": f"Max\n{'S' * 250}\nHinterhaus\n30159 Hannover"}])  # fmt: skip
    result = await sync()
    assert result.errors == ()
    assert reasons(result) == ["address_too_long_espocrm"]
    (record,) = office.records("CAdressen")
    assert (record["adresseCity"], record["adresseStreet"]) == ("Hannover", None)
    assert len(record["bezeichnung"]) <= 255
    await assert_settled(sync)
    change(office, ort="Celle")
    await sync()
    assert office.records("CAdressen")[0]["adresseCity"] == "Celle"


async def test_a_label_longer_than_espocrm_takes_is_shortened(
    office: Office, sync: Any
) -> None:
    office.edit_beteiligter(
        adressen=[{"strasse": "S" * 250, "plz": "30159", "ort": "Hannover"}]
    )
    assert (await sync()).errors == ()
    assert office.records("CAdressen")[0]["bezeichnung"] == "S" * 250 + ", 30…"


@pytest.mark.parametrize("refusal", [{"message": "Das Feld 'ort' ist ungültig."}, None])
async def test_a_refused_value_is_found_left_out_and_reported_and_the_rest_is_written(
    office: Office, sync: Any, monkeypatch: pytest.MonkeyPatch, refusal: Any
) -> None:
    entity_id = await linked(office, sync)
    refuse(monkeypatch, "ort", "Xanten", refusal)
    await office.edit(
        "CAdressen",
        entity_id,
        adresseCity="Xanten",
        adresseStreet="Neue Straße 7\nHinterhaus",
    )
    result = await sync()
    assert (result.errors, result.wrote_advoware) == ((), True)
    assert reasons(result) == ["address_value_refused"]
    assert (adresse(office)["strasse"], adresse(office)["ort"]) == (
        "Neue Straße 7",
        "Hannover",
    )
    assert adresse(office)["anschrift"].splitlines()[1:] == [
        "Neue Straße 7",
        "Hinterhaus",
        "30159 Hannover",
        "ÖSTERREICH",
    ]
    assert row(office, entity_id)["adresseCity"] == "Xanten"
    assert reasons(await assert_settled(sync)) == ["address_value_refused"]
    await office.edit("CAdressen", entity_id, adresseCity="Celle")
    assert (await sync()).problems == ()
    assert (adresse(office)["ort"], row(office, entity_id)["syncStatus"]) == (
        "Celle",
        "clean",
    )


@pytest.mark.parametrize(
    "refusal", [{"message": "Das Feld 'postfach' ist ungültig."}, None]
)
async def test_a_value_refused_at_create_is_left_out_and_reported(
    office: Office, sync: Any, monkeypatch: pytest.MonkeyPatch, refusal: Any
) -> None:
    refuse(monkeypatch, "postfach", "12", refusal)
    entity_id = await linked(office, sync)
    shown = adresse(office)
    assert (shown["strasse"], shown["land"], shown["postfach"]) == (
        "Lange Straße 5",
        "Österreich",
        "",
    )
    assert row(office, entity_id)["syncStatus"] == "conflict"
    assert reasons(await assert_settled(sync)) == ["address_value_refused"]


async def test_two_values_refused_without_a_word_do_not_stop_the_create(
    office: Office, sync: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "postfach", "12", None)
    refuse(monkeypatch, "ort", "Hannover", None)
    entity_id = await linked(office, sync)
    assert row(office, entity_id)["advowareId"] == adresse(office)["id"]
    assert set(reasons(await assert_settled(sync))) == {"address_value_refused"}


def refuse(
    monkeypatch: pytest.MonkeyPatch, field: str, refused: str, refusal: Any
) -> None:
    """Let Advoware refuse one value of a field, with or without saying which field it is."""
    from sandbox.advoware.records import RefusedError

    check = ADRESSE_KIND.fields[field]

    def checked(value: Any, name: str) -> Any:
        if value == refused:
            raise RefusedError(400, refusal["message"] if refusal else "")
        return check(value, name)

    monkeypatch.setitem(ADRESSE_KIND.fields, field, checked)  # type: ignore[arg-type]


async def test_a_value_that_espocrm_refuses_is_left_out_and_reported(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    change(office, ort="Celle", postfach="77")
    reason = "Field validation failure; entityType: CAdressen, field: adresseCity, type: valid."
    strike(
        office.espocrm,
        "PUT",
        "/CAdressen/",
        status=400,
        headers={"X-Status-Reason": reason},
    )
    result = await sync()
    assert result.errors == ()
    assert reasons(result) == ["address_value_refused_espocrm"]
    record = row(office, entity_id)
    assert (record["adresseCity"], record["postfach"], record["syncStatus"]) == (
        "Hannover",
        "77",
        "conflict",
    )
    assert reasons(await assert_settled(sync)) == ["address_value_refused_espocrm"]
    change(office, ort="Peine")
    assert (await sync()).problems == ()
    assert row(office, entity_id)["adresseCity"] == "Peine"


# -- stored differently ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "store",
    [lambda text: text.upper(), lambda text: text[:5], lambda text: f"D-{text}"],
)
async def test_what_advoware_stores_differently_is_reported_once_and_never_copied_back(
    office: Office,
    sync: Any,
    monkeypatch: pytest.MonkeyPatch,
    store: Callable[[str], str],
) -> None:
    entity_id = await linked(office, sync)
    check = ADRESSE_KIND.fields["ort"]
    monkeypatch.setitem(
        ADRESSE_KIND.fields,
        "ort",
        lambda value, name: store(check(value, name)) if value else value,
    )  # type: ignore[arg-type]
    await office.edit("CAdressen", entity_id, adresseCity="Bad Pyrmont")
    result = await sync()
    stored = store("Bad Pyrmont")
    assert reasons(result) == ["address_altered_advoware"]
    assert adresse(office)["ort"] == stored
    assert (
        row(office, entity_id)["adresseCity"],
        row(office, entity_id)["syncStatus"],
    ) == ("Bad Pyrmont", "conflict")
    assert (await assert_settled(sync)).problems == result.problems
    await office.edit("CAdressen", entity_id, adresseCity="Bad Nenndorf")
    await sync()
    assert adresse(office)["ort"] == store("Bad Nenndorf")
    assert row(office, entity_id)["adresseCity"] == "Bad Nenndorf"
    monkeypatch.undo()
    change(office, ort="Bad Eilsen")
    assert (await sync()).problems == ()
    assert (
        row(office, entity_id)["adresseCity"],
        row(office, entity_id)["syncStatus"],
    ) == ("Bad Eilsen", "clean")
    await assert_settled(sync)


async def test_what_advoware_changes_beside_the_change_is_not_copied_back(
    office: Office, sync: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entity_id = await linked(office, sync)
    check = ADRESSE_KIND.fields["strasse"]
    monkeypatch.setitem(
        ADRESSE_KIND.fields, "strasse", lambda value, name: check(value, name).upper()
    )  # type: ignore[arg-type]
    await office.edit("CAdressen", entity_id, adresseCity="Celle")
    assert reasons(await sync()) == ["address_altered_advoware"]
    assert adresse(office)["strasse"] == "LANGE STRASSE 5"
    assert row(office, entity_id)["adresseStreet"] == "Lange Straße 5\nHinterhaus"
    await assert_settled(sync)
    assert row(office, entity_id)["adresseStreet"] == "Lange Straße 5\nHinterhaus"


async def test_what_advoware_stores_differently_at_create_is_reported(
    office: Office, sync: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = ADRESSE_KIND.fields["postfach"]
    monkeypatch.setitem(
        ADRESSE_KIND.fields,
        "postfach",
        lambda value, name: (check(value, name) or "")[:1],
    )  # type: ignore[arg-type]
    entity_id = await linked(office, sync)
    assert reasons(await assert_settled(sync)) == ["address_altered_advoware"]
    assert (
        row(office, entity_id)["postfach"],
        row(office, entity_id)["syncStatus"],
    ) == ("12", "conflict")


async def test_what_espocrm_stores_differently_is_reported_once_and_never_copied_back(
    office: Office, sync: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entity_id = await linked(office, sync)
    shout(monkeypatch, "Celle")
    change(office, ort="Celle")
    result = await sync()
    assert reasons(result) == ["address_altered_espocrm"]
    assert not result.was_edited
    assert (
        row(office, entity_id)["adresseCity"],
        row(office, entity_id)["syncStatus"],
    ) == ("CELLE", "conflict")
    assert (await assert_settled(sync)).problems == result.problems
    assert adresse(office)["ort"] == "Celle"
    change(office, ort="Peine")
    assert (await sync()).problems == ()
    assert row(office, entity_id)["adresseCity"] == "Peine"


async def test_what_espocrm_stores_differently_at_create_is_reported(
    office: Office, sync: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shout(monkeypatch, "Bremen")
    office.edit_beteiligter(
        adressen=[{"strasse": "Am Wall 1", "plz": "28195", "ort": "Bremen"}]
    )
    result = await sync()
    assert reasons(result) == ["address_altered_espocrm"]
    assert office.records("CAdressen")[0]["syncStatus"] == "conflict"
    await assert_settled(sync)
    assert adresse(office)["ort"] == "Bremen"


def shout(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """Let EspoCRM store a word in capitals."""
    from sandbox.espocrm import validation as espocrm_validation

    convert = espocrm_validation._to_text
    monkeypatch.setattr(
        espocrm_validation,
        "_to_text",
        lambda value: word.upper() if value == word else convert(value),
    )


async def test_a_put_that_changed_nothing_is_no_write(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    old = adresse(office)
    await office.edit("CAdressen", entity_id, adresseCity="Celle")
    strike(office.advoware, "PUT", "/Adressen/", status=200, body=old)
    result = await sync()
    assert not result.wrote_advoware
    assert reasons(result) == ["address_refused"]


async def test_a_request_that_was_refused_is_no_write(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    await office.edit("CAdressen", entity_id, adresseCity="Celle")
    await office.enter(
        "CAdressen",
        beteiligteId=BETEILIGTE_ID,
        adresseStreet="Weg 9",
        adresseCity="Ulm",
    )
    strike(office.advoware, "P", "", status=403, count=None)
    for method in ("PUT", "POST"):
        strike(office.advoware, method, "/Adressen", status=403, count=None)
    result = await sync()
    assert len(result.errors) == 2
    assert not result.wrote_advoware


# -- one odd entry never stops its neighbours -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [{"strasse": "Weg 1"}, {"id": None}, {"id": "abc"}, {"id": True}, None, 7, []],
)
async def test_an_entry_without_a_number_stops_no_one(
    office: Office, resources: Resources, sync: Any, odd: Any
) -> None:
    first = await linked(office, sync)
    second = await office.enter(
        "CAdressen",
        beteiligteId=BETEILIGTE_ID,
        adresseStreet="Weg 9",
        adresseCity="Ulm",
    )
    await office.edit("CAdressen", first, adresseCity="Celle")
    answer = office.beteiligter()
    answer["adressen"] = [odd, *answer["adressen"]]
    result = await AdressenSync(resources=resources).sync_part(
        office.espo, answer, office.store
    )
    assert adresse_of(office, first)["ort"] == "Celle"
    assert adresse_of(office, str(second["id"]))["strasse"] == "Weg 9"
    assert result.errors == (
        "Nicht alle Adressen wurden abgeglichen: Advoware hat Einträge ohne Nummer geliefert (1) (ADR-22).",
    )


def adresse_of(office: Office, entity_id: str) -> dict[str, Any]:
    number = row(office, entity_id)["advowareId"]
    return next(
        dict(item) for item in office.beteiligter()["adressen"] if item["id"] == number
    )


async def test_an_unreadable_entry_may_be_the_one_that_seems_to_be_gone(
    office: Office, resources: Resources, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    answer = {**office.beteiligter(), "adressen": [{"strasse": "Lange Straße 5"}]}
    strike(
        office.advoware, "GET", f"/Beteiligte/{office.betnr}", status=200, body=answer
    )
    await AdressenSync(resources=resources).sync_part(office.espo, answer, office.store)
    assert row(office, entity_id)["isActive"] is True


@pytest.mark.parametrize(
    "answer", [{"adressen": None}, {"adressen": {}}, {"Adressen": "x"}]
)
async def test_an_answer_without_the_list_is_reported_in_the_firms_language(
    office: Office, resources: Resources, answer: Any
) -> None:
    beteiligter = {
        name: value
        for name, value in office.beteiligter().items()
        if name != "adressen"
    }
    result = await AdressenSync(resources=resources).sync_part(
        office.espo, {**beteiligter, **answer}, office.store
    )
    assert result.errors == (
        "Die Adressen wurden nicht abgeglichen: Advoware hat ihre Liste nicht geliefert (ADR-21).",
    )


async def test_a_defect_at_one_address_is_recorded_there_and_the_others_go_on(
    office: Office, sync: Any, caplog: pytest.LogCaptureFixture
) -> None:
    entity_id = await linked(office, sync)
    state = await office.store.load("CAdressen", entity_id)
    assert state is not None
    await office.store.save(
        SyncState(**{**state.__dict__, "rejected": {"anschrift": "kaputt"}})
    )
    await office.edit("CAdressen", entity_id, adresseCity="Celle")
    other = await office.enter(
        "CAdressen",
        beteiligteId=BETEILIGTE_ID,
        adresseStreet="Weg 9",
        adresseCity="Ulm",
    )
    result = await sync()
    assert len(result.errors) == 1
    assert "Fehler im Programm (ADR-20)" in result.errors[0]
    assert row(office, entity_id)["syncStatus"] == "failed"
    assert row(office, str(other["id"]))["syncStatus"] == "clean"
    (line,) = (
        record.getMessage()
        for record in caplog.records
        if "adressen.failed" in record.getMessage()
    )
    assert "adressen/" in line
    assert ", line " in line


async def test_a_direct_read_that_fails_stops_no_one(office: Office, sync: Any) -> None:
    entity_id = await linked(office, sync)
    await office.delete("CAdressen", entity_id)
    other = await office.enter(
        "CAdressen",
        beteiligteId=BETEILIGTE_ID,
        adresseStreet="Weg 9",
        adresseCity="Ulm",
    )
    strike(office.espocrm, "GET", f"/CAdressen/{entity_id}", status=403)
    result = await sync()
    assert len(result.errors) == 1
    assert row(office, str(other["id"]))["syncStatus"] == "clean"
    assert reasons(await sync()) == ["address_delete_required"]


# -- creating -------------------------------------------------------------------------------------------------------


async def test_a_create_answered_with_an_unreadable_body_is_found_again(
    office: Office, sync: Any
) -> None:
    record = await office.enter("CAdressen", **FULL, beteiligteId=BETEILIGTE_ID)
    strike(office.advoware, "POST", "/Adressen", when="after", truncate_json=True)
    result = await sync()
    assert result.errors == (
        "Die Adresse „Lange Straße 5, 30159 Hannover“ wurde nicht abgeglichen: "
        "Advoware hat unverständlich geantwortet (ADR-20).",
    )
    assert (await sync()).errors == ()
    assert row(office, str(record["id"]))["advowareId"] == adresse(office)["id"]


async def make_unanswered(office: Office, sync: Any) -> None:
    """An Adresse whose CAdressen was made, and the answer lost."""
    office.edit_beteiligter(
        adressen=[{"strasse": "Am Wall 1", "plz": "28195", "ort": "Bremen"}]
    )
    strike(office.espocrm, "POST", "/CAdressen", when="after", truncate_json=True)
    assert (await sync()).errors


async def test_an_edit_in_advoware_after_a_create_in_espocrm_whose_answer_was_lost_is_kept(
    office: Office, sync: Any
) -> None:
    await make_unanswered(office, sync)
    number = adresse(office)["id"]
    office.edit_beteiligter(adressen=[{"id": number, "strasse": "Am Wall 2"}])

    await sync()

    (record,) = office.records("CAdressen")
    assert record["adresseStreet"] == "Am Wall 2"
    assert adresse(office)["strasse"] == "Am Wall 2"


async def test_an_address_that_is_deactivated_since_it_was_created_unanswered_is_reported(
    office: Office, sync: Any
) -> None:
    await make_unanswered(office, sync)
    (record,) = office.records("CAdressen")
    await office.edit("CAdressen", record["id"], isActive=False)

    (problem,) = (await sync()).problems

    assert problem.action_type == "address_delete_required"
    (record,) = office.records("CAdressen")
    assert (record["isActive"], record["syncStatus"]) == (False, "conflict")


async def test_a_record_that_was_edited_since_it_was_created_unanswered_wins(
    office: Office, sync: Any
) -> None:
    await make_unanswered(office, sync)
    (record,) = office.records("CAdressen")
    await office.edit("CAdressen", record["id"], adresseStreet="Am Wall 3")
    number = adresse(office)["id"]
    office.edit_beteiligter(adressen=[{"id": number, "strasse": "Am Wall 2"}])

    await sync()

    assert adresse(office)["strasse"] == "Am Wall 3"
    (task,) = await office.tasks()
    assert "Gleichzeitige Änderung prüfen" in task["name"]
    assert "Am Wall 2" in task["description"]
    await sync()
    assert len(await office.tasks()) == 1


@pytest.mark.parametrize(
    ("in_espocrm", "in_advoware", "reported"),
    [
        ({"adresseCity": "Peine"}, {"ort": "Celle"}, ["Celle"]),
        (
            {"adresseCity": "Peine", "adressePostalCode": "31224"},
            {"ort": "Celle", "plz": "29221"},
            ["Celle", "29221"],
        ),
        ({"adresseCity": "Peine"}, {"strasse": "Am Wall 2"}, ["Am Wall 2"]),
        ({"adresseCity": "Celle"}, {"ort": "Celle"}, []),
        ({"adresseCity": ""}, {"ort": "Celle"}, []),
        ({"adresseCity": "Peine"}, {"ort": ""}, []),
        ({"bezeichnung": "Zweitwohnung"}, {"ort": "Celle"}, ["Celle"]),
    ],
)
async def test_what_a_record_that_was_created_unanswered_replaces_in_advoware_is_reported(
    office: Office,
    sync: Any,
    in_espocrm: dict[str, Any],
    in_advoware: dict[str, Any],
    reported: list[str],
) -> None:
    await make_unanswered(office, sync)
    (record,) = office.records("CAdressen")
    await office.edit("CAdressen", record["id"], **in_espocrm)
    number = adresse(office)["id"]
    office.edit_beteiligter(adressen=[{"id": number, **in_advoware}])

    await sync()
    await sync()

    shown = json.dumps([adresse(office), *office.records("CAdressen")])
    texts = [task["description"] for task in await office.tasks()]
    for value in reported:
        assert any(value in text for text in texts) or value in shown
    if not reported:
        assert texts == []


@pytest.mark.parametrize(
    ("in_espocrm", "in_advoware", "city"),
    [
        ({}, {"ort": "Celle"}, "Celle"),
        ({"adresseCity": "Peine"}, {}, "Peine"),
        ({"adresseCity": "Peine"}, {"ort": "Celle"}, "Peine"),
        ({}, {"ort": "HANNOVER"}, "Hannover"),
        ({}, {"ort": "Hann"}, "Hannover"),
        ({}, {"ort": ""}, "Hannover"),
    ],
)
async def test_an_edit_in_advoware_after_a_create_there_whose_answer_was_lost_is_kept(
    office: Office,
    sync: Any,
    in_espocrm: dict[str, Any],
    in_advoware: dict[str, Any],
    city: str,
) -> None:
    record = await office.enter("CAdressen", **FULL, beteiligteId=BETEILIGTE_ID)
    strike(office.advoware, "POST", "/Adressen", when="after", reset=True)
    assert (await sync()).errors
    if in_espocrm:
        await office.edit("CAdressen", record["id"], **in_espocrm)
    change(office, **in_advoware)

    result = await sync()

    assert row(office, record["id"])["adresseCity"] == city
    assert adresse(office)["ort"] == city
    is_conflict = bool(in_espocrm) and bool(in_advoware)
    assert ("conflict" in str(result.changes)) == is_conflict
    assert is_conflict == ("Celle" in str(result.problems))
    assert len(office.records("CAdressen")) == 1
    await assert_settled(sync)


async def test_what_a_create_has_sent_that_no_one_has_edited_since_is_no_edit(
    office: Office, sync: Any
) -> None:
    record = await office.enter("CAdressen", **FULL, beteiligteId=BETEILIGTE_ID)
    strike(office.advoware, "POST", "/Adressen", when="after", reset=True)
    assert (await sync()).errors

    await sync()

    assert office.write_requests() == [f"EspoCRM PUT /api/v1/CAdressen/{record['id']}"]
    await assert_settled(sync)


async def test_an_address_that_the_sync_creates_takes_over_the_assignee(
    office: Office, sync: Any
) -> None:
    office.edit_beteiligter(
        adressen=[{"strasse": "Am Wall 1", "plz": "28195", "ort": "Bremen"}]
    )
    assert (await sync()).errors == ()
    assert office.records("CAdressen")[0]["assignedUserId"] == LAWYER_ID


async def test_an_address_is_created_although_espocrm_lets_no_one_be_assigned(
    office: Office, sync: Any
) -> None:
    office.edit_beteiligter(
        adressen=[{"strasse": "Am Wall 1", "plz": "28195", "ort": "Bremen"}]
    )
    strike(office.espocrm, "POST", "/CAdressen", status=403)
    assert (await sync()).errors == ()
    assert office.records("CAdressen")[0]["assignedUserId"] is None
    await assert_settled(sync)


# -- further oddities -----------------------------------------------------------------------------------------------


async def test_what_espocrm_does_not_show_is_not_emptied_in_advoware(
    office: Office, resources: Resources, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    before = adresse(office)
    part = AdressenSync(resources=resources)
    shown = {
        name: value
        for name, value in row(office, entity_id).items()
        if name not in FULL and name != "isActive"
    }
    result = await part.sync_part(
        office.espo, office.beteiligter(), office.store, rows=[shown]
    )
    assert (result.problems, result.errors) == ((), ())
    assert adresse(office) == before
    assert {name: row(office, entity_id)[name] for name in FULL} == FULL


async def test_an_answer_to_a_write_that_does_not_show_everything_is_no_edit_of_a_person(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    change(office, ort="Celle")
    short = {"id": entity_id, "adresseCity": "Celle", "syncStatus": "clean"}
    strike(office.espocrm, "PUT", "/CAdressen/", status=200, body=short)
    result = await sync()
    assert not result.was_edited
    assert result.problems == ()


async def test_an_address_that_reads_show_otherwise_than_answers_to_writes_comes_to_rest(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    both = [
        {"field": name, "how": "upper"}
        for name in ("adresseStreet", "list[].adresseStreet")
    ]
    strike(office.espocrm, "GET", "/CAdressen", count=None, answer=both)
    assert not (await sync()).was_edited
    assert row(office, entity_id)["syncStatus"] != "dirty"
    await sync()
    assert office.write_requests() == []


async def test_an_answer_to_a_create_that_does_not_name_the_main_address_changes_nothing(
    office: Office, sync: Any
) -> None:
    record = await office.enter("CAdressen", **FULL, beteiligteId=BETEILIGTE_ID)
    answer = {
        "id": 77,
        "strasse": "Lange Straße 5",
        "plz": "30159",
        "ort": "Hannover",
        "anschrift": "x",
    }
    strike(office.advoware, "POST", "/Adressen", status=201, body=answer)
    await sync()
    assert row(office, str(record["id"]))["istStandard"] is True


@pytest.mark.parametrize("word", ["false", 0, None, "x"])
async def test_only_a_plain_yes_makes_a_main_address(
    office: Office, sync: Any, word: Any
) -> None:
    entity_id = await linked(office, sync)
    result = await sync(having(standardAnschrift=word))
    assert (result.problems, office.write_requests()) == ((), [])
    assert row(office, entity_id)["istStandard"] is True


async def test_the_same_number_twice_is_read_once(
    office: Office, resources: Resources, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    answer = office.beteiligter()
    answer["adressen"] *= 2
    office.forget_calls()
    await AdressenSync(resources=resources).sync_part(office.espo, answer, office.store)
    assert office.write_requests() == []
    assert [record["id"] for record in office.records("CAdressen")] == [entity_id]


async def test_a_line_that_advoware_wraps_is_not_copied_back(
    office: Office, sync: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entity_id = await linked(office, sync)
    wrap = {"3. Stock links": "3. Stock\nlinks"}
    check = ADRESSE_KIND.fields["anschrift"]

    def wrapped(value: Any, name: str) -> Any:
        return "\n".join(
            wrap.get(line, line) for line in check(value, name).split("\n")
        )

    monkeypatch.setitem(ADRESSE_KIND.fields, "anschrift", wrapped)  # type: ignore[arg-type]
    await office.edit(
        "CAdressen", entity_id, adresseStreet="Lange Straße 5\n3. Stock links"
    )
    assert reasons(await sync()) == ["address_altered_advoware"]
    await assert_settled(sync)
    assert row(office, entity_id)["adresseStreet"] == "Lange Straße 5\n3. Stock links"


async def test_a_block_that_would_be_too_long_is_left_and_reported(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    block = f"{'N' * 970}\nLange Straße 5\nUlm"
    change(office, anschrift=block)
    await office.edit("CAdressen", entity_id, adresseStreet=f"{'S' * 60}\nHinterhaus")
    assert "address_block" in reasons(await sync())
    assert (adresse(office)["anschrift"], adresse(office)["strasse"]) == (
        block,
        "S" * 60,
    )


async def test_a_deactivated_address_keeps_what_waits_until_it_is_used_again(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    await office.edit("CAdressen", entity_id, adresseCountry="Absurdistan")
    assert reasons(await sync()) == ["address_unknown_espocrm"]
    await office.edit("CAdressen", entity_id, isActive=False)
    assert reasons(await sync()) == ["address_delete_required"]
    await office.edit("CAdressen", entity_id, isActive=True)
    assert reasons(await sync()) == [
        "address_reactivate_required",
        "address_unknown_espocrm",
    ]
    assert row(office, entity_id)["syncStatus"] == "conflict"


async def test_what_was_written_to_advoware_is_in_the_audit_although_espocrm_then_fails(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    await office.edit("CAdressen", entity_id, adresseCity="Celle")
    strike(office.espocrm, "PUT", "/CAdressen/", status=403, count=None)
    result = await sync()
    assert len(result.errors) == 1
    assert result.wrote_advoware
    assert [
        (change["field"], change["old"], change["new"]) for change in result.changes
    ] == [("ort", "Hannover", "Celle")]
