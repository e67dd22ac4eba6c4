"""The rules of the forms, on a real EspoCRM: what people may save, how refusals read, what then waits for the sync."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from espocrm_rest import Answer, Espo, Rest

#: The twin has the rules, and not what only people meet: sentences, links in panels, filters, sorting, menus.
only_real = pytest.mark.parametrize("espo", ["real"], indirect=True)
IBAN = "DE89370400440532013000"


async def _post(user: Rest, entity: str, body: dict[str, Any]) -> Answer:
    return await user.request("POST", entity, body, {"X-Skip-Duplicate-Check": "true"})


def _sentence(answer: Answer) -> tuple[str, str]:
    """The label of the sentence that a form shows, and the field it is about."""
    assert answer.status == 400, answer
    translation = answer.body["messageTranslation"]
    return translation["label"], translation["data"]["field"]


async def _beteiligter(espo: Espo, status: str = "clean") -> str:
    """A Beteiligter that the sync knows; its id."""
    record = await espo.sync.post(
        "CBeteiligte", {"lastName": f"Muster {uuid4().hex[:8]}"}
    )
    await _set_status(espo, record["id"], status)
    return str(record["id"])


async def _set_status(espo: Espo, record_id: str, status: str) -> None:
    await espo.sync.put(f"CBeteiligte/{record_id}", {"syncStatus": status})


async def _status(espo: Espo, record_id: str) -> Any:
    return (await espo.sync.get(f"CBeteiligte/{record_id}"))["syncStatus"]


# -- what a Beteiligter is called ---------------------------------------------------------------------------------


@only_real
@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"lastName": None, "firstName": "Max"}, ("nameMissing", "lastName")),
        (
            {"lastName": "", "firmenname": "", "rechtsform": "GmbH"},
            ("nameMissing", "lastName"),
        ),
        ({"firmenname": "Bau"}, ("rechtsformMissing", "firmenname")),
        (
            {"lastName": None, "firmenname": "Bau", "rechtsform": ""},
            ("rechtsformMissing", "lastName"),
        ),
    ],
)
async def test_people_cannot_save_a_beteiligter_without_name_or_firm_with_legal_form(
    espo: Espo, body: dict[str, Any], refusal: tuple[str, str]
) -> None:
    answer = await _post(espo.person, "CBeteiligte", body)
    assert _sentence(answer) == refusal
    assert answer.reason.startswith(
        "Field validation failure; entityType: CBeteiligte, field: "
    )


@only_real
async def test_a_name_cannot_be_taken_away_and_whoever_has_none_can_be_edited_otherwise(
    espo: Espo,
) -> None:
    person = await espo.person.post("CBeteiligte", {"lastName": "Muster"})
    answer = await espo.person.request(
        "PUT", f"CBeteiligte/{person['id']}", {"lastName": ""}
    )
    assert _sentence(answer) == ("nameMissing", "lastName")
    firm = await espo.person.post(
        "CBeteiligte", {"firmenname": "Bau", "rechtsform": "GmbH"}
    )
    answer = await espo.person.request(
        "PUT", f"CBeteiligte/{firm['id']}", {"rechtsform": None}
    )
    assert _sentence(answer) == ("rechtsformMissing", "rechtsform")
    nameless = await espo.sync.post("CBeteiligte", {"firmenname": "Ohne Rechtsform"})
    await espo.person.put(f"CBeteiligte/{nameless['id']}", {"description": "x"})


async def test_the_sync_may_write_what_advoware_has(espo: Espo) -> None:
    for body in ({"firmenname": "Bau"}, {"firstName": "Max"}, {"description": "leer"}):
        await espo.sync.post("CBeteiligte", body)


@only_real
async def test_firms_stand_among_persons_in_alphabetical_order(espo: Espo) -> None:
    mark = uuid4().hex[:8]
    for body in (
        {"firstName": f"Xa {mark}", "lastName": "Anders"},
        {"firmenname": f"Xb {mark} Bau", "rechtsform": "GmbH"},
        {"firstName": f"Xc {mark}", "lastName": "Celik"},
    ):
        await espo.person.post("CBeteiligte", body)
    query = f"where[0][type]=textFilter&where[0][value]=X*{mark}*&orderBy=name&order="
    for order, names in (("asc", ["Xa", "Xb", "Xc"]), ("desc", ["Xc", "Xb", "Xa"])):
        found = await espo.person.get(f"CBeteiligte?{query.replace('X*', '*')}{order}")
        assert [row["name"][:2] for row in found["list"]] == names


# -- addresses and accounts ---------------------------------------------------------------------------------------


@only_real
@pytest.mark.parametrize(
    ("iban", "refusal"),
    [
        ("89370400440532013000", "ibanStart"),
        ("DE8937040044-0532013000", "ibanStart"),
        ("XX89370400440532013000", "ibanCountry"),
        ("DE8937040044053201300", "ibanLength"),
        ("DE89 3704 0044 0532 0130 000", "ibanLength"),
        ("DE8937040044O532013000", "ibanFormat"),
        ("DE89370400440532013001", "ibanCheckDigits"),
        ("DE89370400440532031000", "ibanCheckDigits"),
    ],
)
async def test_a_wrong_iban_says_what_is_wrong(
    espo: Espo, iban: str, refusal: str
) -> None:
    owner = await _beteiligter(espo)
    answer = await _post(
        espo.person, "CBankverbindungen", {"beteiligteId": owner, "iban": iban}
    )
    assert _sentence(answer) == (refusal, "iban")
    assert iban not in answer.reason
    answer = await _post(
        espo.sync, "CBankverbindungen", {"beteiligteId": owner, "iban": iban}
    )
    assert answer.body["messageTranslation"] == {
        "label": "validationFailure",
        "scope": None,
        "data": {"field": "iban", "type": "iban"},
    }


@only_real
@pytest.mark.parametrize(
    ("bic", "refusal"), [("DEUTDEF", "bicLength"), ("DEUT12FF", "bicFormat")]
)
async def test_a_wrong_bic_says_what_is_wrong(
    espo: Espo, bic: str, refusal: str
) -> None:
    owner = await _beteiligter(espo)
    answer = await _post(
        espo.person, "CBankverbindungen", {"beteiligteId": owner, "bic": bic}
    )
    assert _sentence(answer) == (refusal, "bic")


async def test_blanks_and_small_letters_are_fine(espo: Espo) -> None:
    body = {
        "beteiligteId": await _beteiligter(espo),
        "iban": "de89 3704 0044 0532 0130 00",
        "bic": "deut de ff",
    }
    await espo.person.post("CBankverbindungen", body)


@only_real
@pytest.mark.parametrize(
    ("entity", "body"),
    [("CAdressen", {"adresseCity": "Hannover"}), ("CBankverbindungen", {"iban": IBAN})],
)
async def test_an_address_or_account_belongs_to_a_beteiligter(
    espo: Espo, entity: str, body: dict[str, Any]
) -> None:
    answer = await _post(espo.person, entity, body)
    assert _sentence(answer) == ("validationFailure", "beteiligte")
    owner = await _beteiligter(espo)
    record = await espo.person.post(entity, {**body, "beteiligteId": owner})
    answer = await espo.person.request(
        "PUT", f"{entity}/{record['id']}", {"beteiligteId": None}
    )
    assert _sentence(answer) == ("validationFailure", "beteiligte")
    link = {"CAdressen": "adressen", "CBankverbindungen": "bankverbindungen"}[entity]
    answer = await espo.person.request(
        "DELETE", f"CBeteiligte/{owner}/{link}", {"id": record["id"]}
    )
    assert answer.status == 403


async def test_an_address_is_called_by_street_and_place_until_a_user_names_it(
    espo: Espo,
) -> None:
    body = {
        "adresseStreet": "Lange Straße 5\nHinterhaus",
        "adressePostalCode": "30159",
        "adresseCity": "Hannover",
    }
    address = await espo.person.post(
        "CAdressen", {**body, "beteiligteId": await _beteiligter(espo)}
    )
    path = f"CAdressen/{address['id']}"
    assert address["name"] == address["bezeichnung"] == "Lange Straße 5, 30159 Hannover"
    assert (await espo.person.put(path, {"adresseCity": "Celle"}))[
        "name"
    ] == "Lange Straße 5, 30159 Celle"
    assert (await espo.person.put(path, {"name": "Kanzlei"}))[
        "bezeichnung"
    ] == "Kanzlei"
    assert (await espo.person.put(path, {"adresseCity": "Peine"}))["name"] == "Kanzlei"
    assert (await espo.person.put(path, {"name": ""}))[
        "name"
    ] == "Lange Straße 5, 30159 Peine"
    box = {"adresseStreet": None, "postfach": "12 34"}
    assert (await espo.person.put(path, {**box, "name": None}))[
        "name"
    ] == "Postfach 12 34, 30159 Peine"


# -- what then waits for the sync ---------------------------------------------------------------------------------


@only_real
@pytest.mark.parametrize(
    ("entity", "link", "body"),
    [
        ("CAdressen", "adressen", {"adresseCity": "Hannover"}),
        ("CBankverbindungen", "bankverbindungen", {"iban": IBAN}),
    ],
)
async def test_a_part_that_comes_goes_or_moves_makes_its_beteiligte_wait(
    espo: Espo, entity: str, link: str, body: dict[str, Any]
) -> None:
    first, second = await _beteiligter(espo), await _beteiligter(espo)
    part = await espo.sync.post(entity, {**body, "beteiligteId": first})

    async def waiting() -> tuple[bool, bool]:
        found = [await _status(espo, record) == "dirty" for record in (first, second)]
        for record in (first, second):
            await _set_status(espo, record, "clean")
        return found[0], found[1]

    assert await waiting() == (False, False)
    await espo.person.post(f"CBeteiligte/{second}/{link}", {"id": part["id"]})
    assert await waiting() == (True, True)
    await espo.person.put(f"{entity}/{part['id']}", {"beteiligteId": first})
    assert await waiting() == (True, True)
    await espo.sync.put(f"{entity}/{part['id']}", {"beteiligteId": second})
    assert await waiting() == (False, False)
    await espo.person.request("DELETE", f"{entity}/{part['id']}")
    assert await waiting() == (False, True)


async def test_a_beteiligter_that_is_not_in_advoware_yet_stays_new_and_a_mark_is_no_new_version(
    espo: Espo,
) -> None:
    owner = await _beteiligter(espo, "pending_sync")
    part = await espo.person.post(
        "CAdressen", {"adresseCity": "Hannover", "beteiligteId": owner}
    )
    await espo.person.request("DELETE", f"CAdressen/{part['id']}")
    assert await _status(espo, owner) == "pending_sync"
    await _set_status(espo, owner, "clean")
    part = await espo.person.post(
        "CAdressen", {"adresseCity": "Hannover", "beteiligteId": owner}
    )
    version = (await espo.person.get(f"CBeteiligte/{owner}"))["versionNumber"]
    await espo.person.request("DELETE", f"CAdressen/{part['id']}")
    after = await espo.person.get(f"CBeteiligte/{owner}")
    assert (after["syncStatus"], after["versionNumber"]) == ("dirty", version)


# -- finding ------------------------------------------------------------------------------------------------------


@only_real
async def test_the_filters_of_lists_find_what_their_names_say(espo: Espo) -> None:
    user = (await espo.person.get("App/user"))["user"]["id"]
    records: dict[tuple[str, bool], str] = {}
    statuses = (
        "clean",
        "dirty",
        "pending_sync",
        "failed",
        "permanently_failed",
        "conflict",
        "deleted_in_advoware",
    )
    for status in statuses:
        for is_mine in (True, False):
            record = await _beteiligter(espo, status)
            if is_mine:
                await espo.sync.put(f"CBeteiligte/{record}", {"assignedUserId": user})
            records[status, is_mine] = record
    ids = "".join(f"&where[1][value][]={record}" for record in records.values())

    async def found(name: str) -> set[tuple[str, bool]]:
        only_these = f"where[1][type]=in&where[1][attribute]=id{ids}"
        answer = await espo.person.get(
            f"CBeteiligte?primaryFilter={name}&maxSize=200&{only_these}"
        )
        rows = {row["id"] for row in answer["list"]}
        return {key for key, record in records.items() if record in rows}

    def of(
        *wanted: str, mine: tuple[bool, ...] = (True, False)
    ) -> set[tuple[str, bool]]:
        return {(status, is_mine) for status in wanted for is_mine in mine}

    needs_person = ("permanently_failed", "conflict", "deleted_in_advoware")
    assert await found("notInSync") == of(*statuses[1:])
    assert await found("syncFailed") == of("failed", "permanently_failed")
    assert await found("needsPerson") == of(*needs_person)
    assert await found("waitsForMe") == of(*needs_person, mine=(True,))


@only_real
async def test_whoever_types_a_part_of_a_name_finds_it(espo: Espo) -> None:
    mark = "".join(random.choices("bcdfghjklmnpqrstvwxz", k=8))  # noqa: S311 - no secret
    person = {"firstName": "Erika", "lastName": f"{mark.title()}-Weber"}
    firm = {
        "firmenname": f"Bauunternehmung {mark.title()}bau & Söhne",
        "rechtsform": "GmbH",
    }
    ids = [
        (await _post(espo.person, "CBeteiligte", body)).body["id"]
        for body in (person, firm)
    ]

    async def found(path: str, typed: str) -> list[int]:
        rows = (await espo.person.get(f"{path}{quote(typed)}"))["list"]
        return sorted(ids.index(row["id"]) for row in rows if row["id"] in ids)

    for path in (
        "CBeteiligte?maxSize=200&textFilter=",
        "CBeteiligte?maxSize=200&q=",
        "GlobalSearch?maxSize=50&q=",
    ):
        for typed in (mark[:3], mark[:5]):
            assert 0 in await found(path, typed), "the beginning of a last name"
        assert await found(path, f"{mark}-We") == [0]
        assert await found(path, f"Erika {mark}") == [0]
        assert await found(path, f"{mark}bau") == [1], "a word in the middle"
        assert await found(path, f"Bauunternehmung {mark}") == [1]
        assert await found(path, f"Erika {mark[::-1]}") == [], "all words count"


@only_real
async def test_beteiligte_come_first_in_the_bar_and_are_in_search_and_quick_create(
    espo: Espo,
) -> None:
    settings = await espo.person.get("Settings")
    assert settings["tabList"][0] == "CBeteiligte"
    assert settings["tabList"].count("CBeteiligte") == 1
    assert "CBeteiligte" in settings["globalSearchEntityList"]
    assert "CBeteiligte" in settings["quickCreateList"]
