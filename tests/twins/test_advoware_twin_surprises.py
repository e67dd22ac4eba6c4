"""What people and time do to an Advoware: free values, hand-written blocks, copies, and a backup that is put back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from advoware_calls import Advoware, login_body, serving
from espocrm_calls import ManualClock

from sandbox.advoware.app import AdvowareTwin


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def advoware(clock: ManualClock) -> AsyncIterator[Advoware]:
    async with serving(AdvowareTwin(empty=True, clock=clock)) as caller:
        await log_in(caller, clock)
        yield caller


async def log_in(caller: Advoware, clock: ManualClock) -> None:
    body = login_body(RequestTimeStamp=clock().strftime("%Y-%m-%dT%H:%M:%SZ"))
    async with caller.session.post(f"{caller.url}/api/v1/Token", json=body) as answer:
        caller.headers = {
            "Authorization": f"Bearer {(await answer.json())['access_token']}"
        }


async def new(advoware: Advoware, **values: Any) -> dict[str, Any]:
    created: dict[str, Any] = await advoware.call(
        "POST", "/Beteiligte", {"name": "Neumann", **values}
    )
    return created


async def act(advoware: Advoware, action: str, **body: Any) -> Any:
    return await advoware.desktop("POST", "actions", {"action": action, **body})


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rechtsform", "Eheleute"),
        ("anrede", "Frau Dr."),
        ("art", "GnR"),
        ("rechtsform", "e.K."),
    ],
)
async def test_free_values_are_taken_from_people_and_from_the_api(
    advoware: Advoware, field: str, value: str
) -> None:
    record = await new(advoware)
    edited = await advoware.desktop(
        "PUT", f"beteiligte/{record['betNr']}", {field: value}
    )
    assert edited[field] == value
    sent = await advoware.call(
        "PUT", f"/Beteiligte/{record['betNr']}", {**edited, field: f"{value} II"}
    )
    assert sent[field] == f"{value} II"


async def test_an_address_may_consist_of_a_hand_written_block_alone(
    advoware: Advoware,
) -> None:
    record = await new(advoware)
    block = "c/o Lager Süd\nHinterhof, 2. Tor\n30159 Hannover"
    edited = await advoware.desktop(
        "PUT", f"beteiligte/{record['betNr']}", {"adressen": [{"anschrift": block}]}
    )
    address = edited["adressen"][0]
    assert address["anschrift"] == block
    assert {address[field] for field in ("strasse", "plz", "ort", "land")} == {None}


async def test_a_number_may_be_null(advoware: Advoware) -> None:
    record = await new(advoware)
    path = f"beteiligte/{record['betNr']}"
    part = (
        await advoware.desktop(
            "PUT", path, {"kommunikation": [{"tlf": "0511 1", "kommKz": 1}]}
        )
    )["kommunikation"][0]
    after = await advoware.desktop(
        "PUT", path, {"kommunikation": [{"id": part["id"], "tlf": None}]}
    )
    assert after["kommunikation"][0]["tlf"] is None
    assert after["kommunikation"][0]["rowId"] != part["rowId"]


async def test_people_enter_accounts_without_iban_but_the_api_does_not(
    advoware: Advoware,
) -> None:
    record = await new(advoware)
    account = {"kontoNr": "532013000", "blz": "37040044", "bank": "Commerzbank"}
    body = {"bankverbindungen": [account]}
    edited = await advoware.desktop("PUT", f"beteiligte/{record['betNr']}", body)
    assert edited["bankkverbindungen"][0]["iban"] is None
    assert edited["bankkverbindungen"][0]["kontoNr"] == "532013000"
    path = f"/Beteiligte/{record['betNr']}/Bankverbindungen"
    assert await advoware.refused("POST", path, account) == (
        400,
        "Pflichtangaben fehlen: iban.",
    )


async def test_a_copied_address_carries_the_mark_of_the_one_it_was_copied_from(
    advoware: Advoware,
) -> None:
    one, two = await new(advoware), await new(advoware)
    body = {
        "strasse": "Weg 1",
        "ort": "Celle",
        "bemerkung": "EspoCRM-ID: 6b0473f6031b46ee6",
        "standardAnschrift": True,
    }
    source = await advoware.call("POST", f"/Beteiligte/{one['betNr']}/Adressen", body)
    copied = await act(
        advoware, "copy_address", betNr=one["betNr"], id=source["id"], to=two["betNr"]
    )
    assert (copied["bemerkung"], copied["betNr"]) == (source["bemerkung"], two["betNr"])
    assert (copied["id"], copied["rowId"]) != (source["id"], source["rowId"])


@pytest.mark.parametrize("last", ["9999-12-31", "9999-12-31T23:59:00"])
async def test_a_termin_may_last_until_further_notice(
    advoware: Advoware, last: str
) -> None:
    body = {
        "text": "Geschlossen",
        "datum": "2026-12-01",
        "datumBis": last,
        "abwesenheit": 1,
    }
    created = await advoware.call("POST", "/Termine", body)
    found = await advoware.call("GET", "/Termine?from=2030-01-01&to=2030-01-02")
    assert [termin["frNr"] for termin in found] == [created["frNr"]]
    assert found[0]["datumBis"].startswith("9999-12-31")


@pytest.mark.parametrize("value", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+02:00"])
async def test_a_date_that_no_calendar_holds_is_refused_not_a_crash(
    advoware: Advoware, value: str
) -> None:
    assert (
        await advoware.refused(
            "POST", "/Beteiligte", {"name": "Neu", "geburtsdatum": value}
        )
    )[0] == 400
    assert (await advoware.refused("POST", "/Termine", {"text": "x", "datum": value}))[
        0
    ] == 400


async def test_nan_is_no_json(advoware: Advoware) -> None:
    url = f"{advoware.url}/api/v1/advonet/Beteiligte"
    async with advoware.session.post(
        url, data=b'{"name": NaN}', headers=advoware.headers
    ) as answer:
        assert answer.status == 400


# -- a backup is put back ---------------------------------------------------------------------------------------------


async def test_after_a_restore_a_number_belongs_to_another_person(
    advoware: Advoware, clock: ManualClock
) -> None:
    kept = await new(advoware, vorname="Gerda")
    clock.advance(seconds=60)
    lost = await new(advoware, vorname="Hans")
    assert (await act(advoware, "restore", seconds=30))["undone"] == 1
    assert (await advoware.refused("GET", f"/Beteiligte/{lost['betNr']}"))[0] == 404
    clock.advance(seconds=60)
    other = await new(advoware, vorname="Karl")
    assert other["betNr"] == lost["betNr"]
    assert (other["vorname"], other["angelegtAm"]) == ("Karl", "2026-11-23T18:14:22")
    assert other["rowId"] != lost["rowId"]
    assert await advoware.call("GET", f"/Beteiligte/{kept['betNr']}") == kept


async def test_a_restore_takes_back_every_kind_of_write(
    advoware: Advoware, clock: ManualClock
) -> None:
    record = await new(advoware)
    path = f"/Beteiligte/{record['betNr']}"
    phone = await advoware.call(
        "POST", f"{path}/Kommunikationen", {"tlf": "0511 1", "kommKz": 1}
    )
    termin = await advoware.call(
        "POST", "/Termine", {"text": "Alt", "datum": "2026-12-01"}
    )
    removed = await advoware.call(
        "POST", "/Termine", {"text": "Weg", "datum": "2026-12-01"}
    )
    before = await advoware.desktop("GET", "state")
    clock.advance(seconds=60)
    await advoware.call("PUT", path, {**record, "name": "Neu"})
    await advoware.call(
        "PUT", f"{path}/Kommunikationen/{phone['id']}", {"tlf": "0511 2"}
    )
    await advoware.call(
        "POST", f"{path}/Bankverbindungen", {"iban": "DE62370400440000000011"}
    )
    await advoware.desktop(
        "PUT", f"beteiligte/{record['betNr']}", {"adressen": [{"ort": "Celle"}]}
    )
    await advoware.desktop("DELETE", f"beteiligte/{record['betNr']}")
    await advoware.desktop("PUT", f"termine/{termin['frNr']}", {"text": "Neu"})
    await advoware.desktop("DELETE", f"termine/{removed['frNr']}")
    lost = await advoware.call(
        "POST", "/Termine", {"text": "Verloren", "datum": "2026-12-01"}
    )
    await act(advoware, "restore", seconds=30)
    assert await advoware.desktop("GET", "state") == before
    again = await advoware.call(
        "POST", "/Termine", {"text": "Anders", "datum": "2026-12-02"}
    )
    assert again["frNr"] == lost["frNr"]
    part = await advoware.call(
        "POST", f"{path}/Kommunikationen", {"tlf": "0511 3", "kommKz": 1}
    )
    assert part["id"] == phone["id"] + 1


async def test_a_second_restore_goes_back_further(
    advoware: Advoware, clock: ManualClock
) -> None:
    for _ in range(3):
        await new(advoware)
        clock.advance(seconds=60)
    for left in (2, 1, 1):
        await act(advoware, "restore", seconds=90 if left == 2 else 150)
        assert len((await advoware.desktop("GET", "state"))["beteiligte"]) == left


@pytest.mark.parametrize(
    "body",
    [
        {"action": "restore"},
        {"action": "restore", "seconds": -1},
        {"action": "explode"},
        {"seconds": 3},
        [],
    ],
)
async def test_actions_that_make_no_sense_are_refused(
    advoware: Advoware, body: Any
) -> None:
    assert (await advoware.raw("POST", "/__sandbox__/actions", body))[0] == 400


async def test_copying_what_is_not_there_is_404(advoware: Advoware) -> None:
    body = {"action": "copy_address", "betNr": 1, "id": 2, "to": 3}
    assert (await advoware.raw("POST", "/__sandbox__/actions", body))[0] == 404
