"""Phone numbers and mail addresses stay equal in EspoCRM and Advoware, through every case, refusal and crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from kommunikation_firm import (
    ID,
    KOMMUNIKATIONEN,
    Firm,
    Row,
    fault,
    firm,
    linked,
    marked,
)
from waiting import held, until

from services.advoware_service import AdvowareService
from services.core.errors import Forbidden, UpstreamTimeout
from services.core.resources import Resources
from services.espocrm import EspoCRMAPI
from services.kommunikation_mapper import Marker, parse_marker
from services.kommunikation_sync_utils import ENTITY_TYPE, KommunikationSyncManager
from services.vmh_sync.store import SyncStore

__all__ = ["firm", "linked"]


# -- first sync -----------------------------------------------------------------------------------------------------


async def test_the_first_sync_pairs_what_is_equal_and_copies_the_rest_both_ways(
    firm: Firm,
) -> None:
    await firm.espo_edit(
        phoneNumberData=[
            {"phoneNumber": "+4951112345", "type": "Office", "primary": False},
            {"phoneNumber": "+491713920001", "type": "Mobile", "primary": True},
        ],
        emailAddressData=[{"emailAddress": "J.Mueller@Example.de", "primary": True}],
    )
    await firm.advo_edit(
        {"tlf": "0511/12345", "kommKz": 6, "bemerkung": "privat"},
        {"tlf": "j.mueller@example.DE", "kommKz": 8, "online": True},
        {"tlf": "0511 / 99-88", "kommKz": 2},
        {"tlf": "https://example.de", "kommKz": 5, "bemerkung": "Seite"},
    )

    result = await firm.sync()

    assert result.errors == ()
    assert await firm.phones() == ["+491713920001", "+4951112345", "+495119988"]
    assert await firm.mails() == ["J.Mueller@Example.de"]
    assert [
        (row["tlf"], row["kommKz"], row["bemerkung"], row["online"])
        for row in firm.entries()
    ] == [
        ("0511/12345", 6, marked("+4951112345", 6, "privat"), False),
        ("j.mueller@example.DE", 8, marked("J.Mueller@Example.de", 8), True),
        ("0511 / 99-88", 2, marked("+495119988", 2), False),
        ("https://example.de", 5, "Seite", False),
        ("+491713920001", 3, marked("+491713920001", 3), False),
    ]
    await firm.assert_settled()


async def test_a_record_without_any_kommunikation_gets_its_hash_and_then_costs_nothing(
    firm: Firm,
) -> None:
    await firm.sync()

    assert (await firm.espo())["kommunikationHash"] == "d41d8cd98f00b204"
    await firm.assert_settled()


async def test_an_unchanged_record_is_only_read(linked: Firm) -> None:
    await linked.sync()

    assert linked.calls() == [f"GET {linked.betnr}", f"GET {ID}"]
    await linked.assert_settled()


async def test_espocrm_is_written_once_and_advoware_read_right_before_its_writes_and_after(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495111111")
    await firm.advo_edit(
        {"tlf": "a@b.de", "kommKz": 4}, {"tlf": "0511 3333", "kommKz": 1}
    )
    await firm.espo()
    firm.calls()

    await firm.sync()

    calls = firm.calls()
    assert [call for call in calls if call.startswith("PUT 6b")] == [f"PUT {ID}"]
    # One read of EspoCRM, because its answer shows what it has made of our values; and who else has them, which takes
    # time: Advoware is read once more before it is written.
    assert sorted(calls) == sorted(
        [*[f"GET {firm.betnr}"] * 3, f"GET {ID}", "GET CBeteiligte"]
        + [call for call in calls if not call.startswith("GET")]
    )
    assert sorted(call.split()[0] for call in calls if not call.startswith("GET")) == [
        "POST",
        "PUT",
        "PUT",
        "PUT",
    ]


# -- the six cases --------------------------------------------------------------------------------------------------


async def test_var1_a_new_value_in_espocrm_is_created_in_advoware_with_its_marker(
    linked: Firm,
) -> None:
    await linked.espo_phones("+495111111", "+495112222", "+495113333")

    await linked.sync()

    assert linked.values() == ["+495111111", "+495112222", "+495113333"]
    assert linked.entries()[2]["bemerkung"] == marked("+495113333")
    await linked.assert_settled()


async def test_var1_uses_an_empty_slot_of_the_same_kommkz_first(linked: Firm) -> None:
    await linked.espo_phones("+495112222")
    await linked.sync()
    await linked.espo_edit(
        phoneNumberData=[
            {"phoneNumber": "+495112222", "type": "Office", "primary": True},
            {"phoneNumber": "+491713920001", "type": "Mobile"},
            {"phoneNumber": "+495114444", "type": "Office"},
        ]
    )

    await linked.sync()

    assert [
        (row["tlf"], row["kommKz"], row["bemerkung"]) for row in linked.entries()
    ] == [
        ("+495114444", 1, marked("+495114444", 1, "nur vormittags")),
        ("+495112222", 1, marked("+495112222")),
        ("+491713920001", 3, marked("+491713920001", 3)),
    ]
    await linked.assert_settled()


async def test_var2_a_value_deleted_in_espocrm_becomes_an_empty_slot(
    linked: Firm,
) -> None:
    await linked.espo_phones("+495112222")

    result = await linked.sync()

    first = linked.entries()[0]
    assert (first["tlf"], first["bemerkung"]) == ("", "[ESPOCRM-SLOT:1] nur vormittags")
    assert [(line["case"], line["old"], line["new"]) for line in result.changes] == [
        ("Var2", "+495111111", None)
    ]
    await linked.assert_settled()


@pytest.mark.parametrize(
    "how", [{"delete": True}, {"tlf": ""}, {"tlf": "", "bemerkung": ""}]
)
async def test_var3_a_value_deleted_or_emptied_in_advoware_goes_from_espocrm(
    linked: Firm, how: Row
) -> None:
    await linked.advo_edit({"id": linked.entries()[0]["id"], **how})

    await linked.sync()

    espo = await linked.espo()
    assert [
        (row["phoneNumber"], row["primary"]) for row in espo["phoneNumberData"]
    ] == [("+495112222", True)]
    assert "+495111111" not in str(linked.entries())
    await linked.assert_settled()


async def test_var3_that_an_entry_is_gone_is_not_believed_at_once(linked: Firm) -> None:
    espo = await linked.espo()
    advo = await AdvowareService(resources=linked.resources).get_beteiligter(
        linked.betnr
    )
    store = SyncStore(await linked.resources.database())

    result = await KommunikationSyncManager(resources=linked.resources).sync_part(
        espo, {**advo, "kommunikation": []}, store
    )

    assert (result.espocrm, result.changes) == ({}, ())
    assert linked.values() == ["+495111111", "+495112222"]


async def test_var4_a_new_value_in_advoware_is_added_to_espocrm_and_marked(
    linked: Firm,
) -> None:
    await linked.advo_edit(
        {"tlf": "0511/33-33", "kommKz": 6, "bemerkung": "Ferienhaus"}
    )

    await linked.sync()

    added = (await linked.espo())["phoneNumberData"][2]
    assert (added["phoneNumber"], added["type"], added["primary"]) == (
        "+495113333",
        "Home",
        False,
    )
    last = linked.entries()[2]
    assert (last["tlf"], last["bemerkung"]) == (
        "0511/33-33",
        marked("+495113333", 6, "Ferienhaus"),
    )
    await linked.assert_settled()


async def test_var4_a_value_that_a_user_types_into_a_slot_is_new(linked: Firm) -> None:
    await linked.espo_phones("+495112222")
    await linked.sync()
    await linked.advo_edit({"id": linked.entries()[0]["id"], "tlf": "0511 7777"})

    await linked.sync()

    assert await linked.phones() == ["+495112222", "+495117777"]
    assert linked.entries()[0]["bemerkung"] == marked("+495117777", 1, "nur vormittags")
    await linked.assert_settled()


async def test_var5_a_value_changed_in_espocrm_is_changed_in_its_entry(
    linked: Firm,
) -> None:
    before = linked.entries()
    await linked.espo_phones("+495119999", "+495112222")

    await linked.sync()

    first, second = linked.entries()
    assert (first["id"], first["tlf"]) == (before[0]["id"], "+495119999")
    assert first["bemerkung"] == marked("+495119999", 1, "nur vormittags")
    assert second == before[1]
    await linked.assert_settled()


async def test_var6_a_value_changed_in_advoware_is_changed_in_espocrm(
    linked: Firm,
) -> None:
    await linked.advo_edit({"id": linked.entries()[0]["id"], "tlf": "0511 / 99 99"})

    await linked.sync()

    espo = await linked.espo()
    assert [
        (row["phoneNumber"], row["primary"]) for row in espo["phoneNumberData"]
    ] == [
        ("+495119999", True),
        ("+495112222", False),
    ]
    first = linked.entries()[0]
    assert (first["tlf"], first["bemerkung"]) == (
        "0511 / 99 99",
        marked("+495119999", 1, "nur vormittags"),
    )
    await linked.assert_settled()


async def test_edits_of_different_entries_on_both_sides_both_survive(
    linked: Firm,
) -> None:
    await linked.espo_phones("+495119999", "+495112222")
    await linked.advo_edit(
        {"id": linked.entries()[1]["id"], "tlf": "0511 8888"},
        {"tlf": "a@b.de", "kommKz": 4},
    )

    result = await linked.sync()

    assert linked.values() == ["+495119999", "0511 8888", "a@b.de"]
    assert (await linked.phones(), await linked.mails()) == (
        ["+495119999", "+495118888"],
        ["a@b.de"],
    )
    assert not any(line.get("conflict") for line in result.changes)
    await linked.assert_settled()


async def test_an_entry_edited_on_both_sides_takes_espocrms_value_and_the_other_is_kept_in_the_result(
    linked: Firm,
) -> None:
    await linked.espo_phones("+495119999", "+495112222")
    await linked.advo_edit({"id": linked.entries()[0]["id"], "tlf": "0511 8888"})

    result = await linked.sync()

    assert linked.values() == ["+495119999", "+495112222"]
    assert await linked.phones() == ["+495119999", "+495112222"]
    assert [
        (line["old"], line["new"]) for line in result.changes if line.get("conflict")
    ] == [("0511 8888", "+495119999")]
    await linked.assert_settled()


async def test_the_same_edit_on_both_sides_writes_no_value(linked: Firm) -> None:
    await linked.espo_phones("+495119999", "+495112222")
    await linked.advo_edit({"id": linked.entries()[0]["id"], "tlf": "0511/9999"})

    result = await linked.sync()

    assert linked.values() == ["0511/9999", "+495112222"]
    assert result.changes == ()
    await linked.assert_settled()


# -- towards Advoware -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"direction": "to_advoware"}, {"force_espo_wins": True}]
)
async def test_towards_advoware_edits_there_are_reverted_and_their_values_reported(
    linked: Firm, options: Row
) -> None:
    await linked.advo_edit(
        {"id": linked.entries()[0]["id"], "tlf": "0511 8888"},
        {"id": linked.entries()[1]["id"], "delete": True},
        {"tlf": "neu@example.de", "kommKz": 4, "bemerkung": "von Hand"},
    )

    result = await linked.sync(**options)

    assert linked.values() == ["+495111111", "", "+495112222"]
    assert linked.entries()[1]["bemerkung"] == "[ESPOCRM-SLOT:4] von Hand"
    assert (await linked.phones(), await linked.mails()) == (
        ["+495111111", "+495112222"],
        [],
    )
    lost = [
        (line["case"], line["old"]) for line in result.changes if line.get("conflict")
    ]
    assert lost == [("Var6", "0511 8888"), ("Var4", "neu@example.de")]
    assert [problem.details.value for problem in result.problems] == ["neu@example.de"]
    await linked.assert_settled()


async def test_before_the_first_sync_towards_advoware_empties_nothing_there(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495111111")
    await firm.advo_edit({"tlf": "0511 2222", "kommKz": 1})

    await firm.sync(direction="to_advoware")
    await firm.sync(direction="to_advoware")

    assert firm.values() == ["0511 2222", "+495111111"]
    await firm.sync()
    assert await firm.phones() == ["+495111111", "+495112222"]


# -- values that EspoCRM refuses ------------------------------------------------------------------------------------


async def test_values_that_espocrm_would_refuse_stay_in_advoware_and_stop_no_other(
    firm: Firm,
) -> None:
    bad = [
        "0511/1234 (Büro)",
        "0511 1234 ext. 5",
        "müller@kanzlei.de",
        "info@kanzlei.1de",
    ]
    await firm.advo_edit(
        {"tlf": bad[0], "kommKz": 1},
        {"tlf": "0511 2222", "kommKz": 1},
        {"tlf": bad[1], "kommKz": 6},
        {"tlf": bad[2], "kommKz": 4},
        {"tlf": "a@b.de", "kommKz": 4},
        {"tlf": bad[3], "kommKz": 8},
    )

    result = await firm.sync()
    again = await firm.sync()

    assert (await firm.phones(), await firm.mails()) == (["+495112222"], ["a@b.de"])
    assert [problem.details.value for problem in result.problems] == bad
    assert {problem.action_type for problem in result.problems} == {
        "general_manual_action"
    }
    assert [problem.key for problem in again.problems] == [
        problem.key for problem in result.problems
    ]
    assert not any(value in problem.key for value in bad for problem in result.problems)
    assert [row["bemerkung"] for row in firm.entries() if row["tlf"] in bad] == [
        None
    ] * 4
    await firm.assert_settled()


async def test_an_eleventh_number_stays_in_advoware_until_there_is_space(
    firm: Firm,
) -> None:
    numbers = [f"+49511{number}" for number in range(1000, 1010)]
    await firm.espo_phones(*numbers)
    await firm.advo_edit(
        {"tlf": "0511 5555", "kommKz": 1}, {"tlf": "a@b.de", "kommKz": 4}
    )

    result = await firm.sync()

    assert (await firm.phones(), await firm.mails()) == (numbers, ["a@b.de"])
    assert [problem.details.value for problem in result.problems] == ["0511 5555"]
    await firm.assert_settled()

    await firm.espo_phones(*numbers[:9])
    await firm.sync()
    assert await firm.phones() == [*numbers[:9], "+495115555"]


async def test_numbers_that_espocrm_keeps_in_another_form_are_compared_by_what_they_mean(
    firm: Firm, control: aiohttp.ClientSession
) -> None:
    async with control.post(
        f"{firm.espocrm.url}/__sandbox__/settings",
        json={"phone_number_international": False},
    ) as answer:
        assert answer.status == 200
    await firm.espo_phones("(0511) 11-11", "0511 1234 ext. 5", "0511 2222")
    await firm.advo_edit(
        {"tlf": "+49 511 1111", "kommKz": 1},
        {"tlf": "0511/1234 x5", "kommKz": 1},
        {"tlf": "0511 3333", "kommKz": 1},
    )

    await firm.sync()

    assert firm.values() == ["+49 511 1111", "0511/1234 x5", "0511 3333", "0511 2222"]
    assert await firm.phones() == [
        "(0511) 11-11",
        "0511 1234 ext. 5",
        "0511 2222",
        "+495113333",
    ]
    await firm.assert_settled()


# -- one primary, untouched entries ---------------------------------------------------------------------------------


async def test_untouched_entries_keep_primary_consent_and_type(firm: Firm) -> None:
    kept = {
        "phoneNumber": "+495112222",
        "type": "Other",
        "primary": True,
        "optOut": True,
        "invalid": True,
    }
    await firm.espo_edit(
        phoneNumberData=[{"phoneNumber": "+495111111", "type": "Office"}, kept],
        emailAddressData=[{"emailAddress": "A@B.de", "primary": True, "optOut": True}],
    )
    await firm.sync()
    first = next(row for row in firm.entries() if row["tlf"] == "+495111111")
    await firm.advo_edit(
        {"id": first["id"], "delete": True}, {"tlf": "c@d.de", "kommKz": 8}
    )

    await firm.sync()

    espo = await firm.espo()
    assert espo["phoneNumberData"] == [kept]
    assert [
        (row["emailAddress"], row["primary"], row["optOut"])
        for row in espo["emailAddressData"]
    ] == [
        ("A@B.de", True, True),
        ("c@d.de", False, False),
    ]
    await firm.assert_settled()


@pytest.mark.parametrize(
    "damaged", ["[ESPOCRM:%%%:1] nur vormittags", "[ESPOCRM:/w==:1] nur vormittags"]
)
async def test_a_damaged_marker_is_written_again_and_changes_no_value(
    linked: Firm, damaged: str
) -> None:
    await linked.advo_edit({"id": linked.entries()[0]["id"], "bemerkung": damaged})

    await linked.sync()

    assert linked.entries()[0]["bemerkung"] == marked("+495111111", 1, "nur vormittags")
    assert await linked.phones() == ["+495111111", "+495112222"]
    await linked.assert_settled()


# -- failures and crashes -------------------------------------------------------------------------------------------


async def test_a_value_that_advoware_refuses_stops_no_other_and_waits_for_a_person(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495111111", "+495112222", "+495113333")
    firm.refuses("POST", "+495112222")

    result = await firm.sync()

    assert firm.values() == ["+495111111", "+495113333"]
    assert result.errors == ()
    assert [problem.details.value for problem in result.problems] == ["+495112222"]
    assert result.standing == ("Advoware nimmt „+495112222“ nicht an (KOM-17).",)
    assert await firm.phones() == ["+495111111", "+495112222", "+495113333"]
    await firm.assert_settled(standing=result.standing)

    firm.advoware.faults.clear()
    await firm.espo_phones(
        "+495111111", "+495112223", "+495113333"
    )  # the person corrects it
    await firm.sync()
    assert firm.values() == ["+495111111", "+495113333", "+495112223"]
    await firm.assert_settled()


async def test_a_value_that_advoware_refuses_is_entered_there_by_hand(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495112222")
    firm.refuses("POST", "+495112222")
    await firm.sync()
    await firm.advo_edit({"tlf": "0511/2222", "kommKz": 1})

    await firm.sync()

    assert (await firm.phones(), firm.values()) == (["+495112222"], ["0511/2222"])
    await firm.assert_settled()


@pytest.mark.parametrize(
    ("case", "reported"), [("changed", "+495119999"), ("deleted", "+495111111")]
)
async def test_an_edit_in_espocrm_that_advoware_refuses_is_not_undone_and_not_repeated(
    linked: Firm, case: str, reported: str
) -> None:
    await linked.espo_phones(
        *(["+495119999"] if case == "changed" else []), "+495112222"
    )
    linked.refuses("PUT", "^(\\+495119999)?$")

    result = await linked.sync()

    assert [(p.details.value, p.details.reason) for p in result.problems] == [
        (reported, "kom_refused_by_advoware")
    ]
    assert linked.values() == ["+495111111", "+495112222"]
    assert sorted(await linked.phones()) == [
        "+495112222",
        *(["+495119999"] if case == "changed" else []),
    ]
    await linked.assert_settled(standing=result.standing)
    assert result.standing

    linked.advoware.faults.clear()
    await linked.advo_edit(
        {"id": linked.entries()[0]["id"], "delete": True}
    )  # the person decides
    await linked.espo_phones("+495112222")
    await linked.sync()
    await linked.assert_settled()


async def test_a_created_entry_whose_answer_is_lost_is_not_created_again(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495111111", "+495112222")
    fault(firm.advoware, method="POST", path=KOMMUNIKATIONEN, when="after", reset=True)

    result = await firm.sync()
    await firm.sync()

    assert len(result.errors) == 1
    assert firm.values() == ["+495111111", "+495112222"]
    await firm.assert_settled()


@pytest.mark.parametrize("left", [[], ["+495113333"]])
async def test_a_number_of_an_unanswered_create_that_was_taken_away_does_not_come_back_when_advoware_fails(
    firm: Firm, left: list[str]
) -> None:
    await firm.espo_phones("+495111111")
    request = {"path": KOMMUNIKATIONEN, "count": None}
    fault(firm.advoware, method="POST", when="after", reset=True, **request)
    assert (await firm.sync()).errors
    firm.advoware.faults.clear()
    await firm.espo_phones(*left)
    fault(firm.advoware, method="PUT", status=500, **request)
    for _ in range(2):
        assert (await firm.sync()).errors
    firm.advoware.faults.clear()

    await firm.sync()

    assert (firm.values(), await firm.phones()) == (left or [""], left)
    await firm.assert_settled()


async def test_a_crash_right_after_creating_an_entry_leads_to_no_second_one(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495111111")
    fault(firm.advoware, method="POST", path=KOMMUNIKATIONEN, when="after", hang=True)
    running = asyncio.create_task(firm.sync())
    async with asyncio.timeout(60):
        while not firm.values():
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])

    await firm.sync()

    assert firm.values() == ["+495111111"]
    assert await firm.phones() == ["+495111111"]
    await firm.assert_settled()


async def test_a_number_that_advoware_enters_after_we_have_given_up_is_entered_once(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495111111")
    timeout = firm.resources.settings.advoware.api_timeout_seconds
    clock: Any = firm.resources.clock
    request = {"method": "POST", "path": KOMMUNIKATIONEN}
    async with held(firm.advoware, firm.sync(), **request) as given_up:
        given_up.cancel()
        await asyncio.wait([given_up])
        clock.advance(seconds=timeout + 1)
        manager = KommunikationSyncManager(resources=firm.resources)
        meanwhile = await manager.sync_bidirectional(ID, firm.betnr)
        assert meanwhile.not_before is not None
        assert meanwhile.not_before > clock.now
        assert firm.values() == []
    await until(firm.values)

    await firm.sync()

    assert firm.values() == ["+495111111"]
    await firm.assert_settled()


@asynccontextmanager
async def _under_way(firm: Firm, method: str) -> AsyncIterator[None]:
    """A sync was given up within such a request. A person edits EspoCRM in the block, a run comes to see it, and only
    then Advoware carries the request out.
    """
    before = firm.values()
    timeout = firm.resources.settings.advoware.api_timeout_seconds
    clock: Any = firm.resources.clock
    request = {"method": method, "path": KOMMUNIKATIONEN}
    async with held(firm.advoware, firm.sync(), **request) as given_up:
        given_up.cancel()
        await asyncio.wait([given_up])
        clock.advance(seconds=timeout + 1)
        yield
        manager = KommunikationSyncManager(resources=firm.resources)
        await manager.sync_bidirectional(ID, firm.betnr)
    await until(lambda: firm.values() != before)


@pytest.mark.parametrize("corrected", [[], ["+495112222"]])
async def test_a_number_taken_away_while_its_create_is_under_way_does_not_come_back(
    firm: Firm, corrected: list[str]
) -> None:
    await firm.espo_phones("+495111111")
    async with _under_way(firm, "POST"):
        await firm.espo_edit(syncStatus="dirty")
        await firm.espo_phones(*corrected)

    await firm.sync()
    await firm.sync()

    assert await firm.phones() == corrected
    assert [value for value in firm.values() if value] == corrected
    await firm.assert_settled()


async def test_a_number_of_an_unanswered_create_is_the_sync_s_own_while_espocrm_shows_none(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495111111")
    lost = {"when": "after", "reset": True, "count": None}
    fault(firm.advoware, method="POST", path=KOMMUNIKATIONEN, **lost)
    assert (await firm.sync()).errors
    firm.advoware.faults.clear()
    hidden = [{"field": "phoneNumberData", "how": "missing"}]
    fault(firm.espocrm, method="GET", path=ID, count=None, answer=hidden)
    mail = {"emailAddress": "a@b.de", "primary": True}
    await firm.espo_edit(emailAddressData=[mail])
    await firm.sync()
    firm.espocrm.faults.clear()
    await firm.espo_phones()

    await firm.sync()
    await firm.sync()

    assert await firm.phones() == []
    assert [value for value in firm.values() if value] == ["a@b.de"]
    await firm.assert_settled()


async def test_a_number_taken_away_while_it_is_put_into_a_slot_does_not_come_back(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495113333", "+495114444")
    await firm.sync()
    await firm.espo_phones("+495113333")
    await firm.sync()
    assert firm.values() == ["+495113333", ""]
    await firm.espo_phones("+495113333", "+495111111")
    async with _under_way(firm, "PUT"):
        await firm.espo_edit(syncStatus="dirty")
        await firm.espo_phones("+495113333")

    await firm.sync()
    await firm.sync()

    assert await firm.phones() == ["+495113333"]
    assert firm.values() == ["+495113333", ""]
    await firm.assert_settled()


@pytest.mark.parametrize("sent", [[], ["+495112222"]])
@pytest.mark.parametrize("now", ["+495111111", "+495113333"])
async def test_a_number_changed_once_more_while_its_change_is_under_way_stays_so(
    firm: Firm, sent: list[str], now: str
) -> None:
    await firm.espo_phones("+495111111")
    await firm.sync()
    await firm.espo_phones(*sent)
    async with _under_way(firm, "PUT"):
        await firm.espo_edit(syncStatus="dirty")
        await firm.espo_phones(now)

    await firm.sync()
    await firm.sync()

    assert (await firm.phones(), firm.values()) == ([now], [now])
    await firm.assert_settled()


async def test_a_change_that_is_sent_again_as_it_was_is_not_waited_for(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495111111")
    await firm.sync()
    await firm.espo_phones("+495112222")
    request = {"method": "PUT", "path": KOMMUNIKATIONEN}
    fault(firm.advoware, count=None, status=503, **request)
    assert (await firm.sync()).errors
    firm.advoware.faults.clear()
    manager = KommunikationSyncManager(resources=firm.resources)

    result = await manager.sync_bidirectional(ID, firm.betnr)

    assert (result.not_before, firm.values()) == (None, ["+495112222"])
    await firm.assert_settled()


async def test_after_three_unanswered_requests_the_rest_waits_for_the_next_run(
    firm: Firm,
) -> None:
    await firm.espo_phones(*(f"+4951110{number}" for number in range(10, 16)))
    fault(
        firm.advoware, method="POST", path=KOMMUNIKATIONEN, skip=1, count=3, status=503
    )

    result = await firm.sync()

    assert (len(firm.values()), len(result.errors)) == (1, 3)
    await firm.sync()
    assert len(firm.values()) == 6
    await firm.assert_settled()


async def _edits(firm: Firm) -> None:
    """One edit of every case: two numbers exist, others come, change and go on both sides."""
    first, second, third, fourth = firm.entries()
    await firm.advo_edit(
        {"id": first["id"], "tlf": "0511 8888"},
        {"id": second["id"], "delete": True},
        {"tlf": "neu@example.de", "kommKz": 4},
    )
    assert (third["tlf"], fourth["tlf"]) == ("+495113333", "+495114444")
    await firm.espo_phones(
        "+495111111", "+495112222", "+495115555", "+495116666"
    )  # 3 -> 5, 4 -> 6
    await firm.espo_edit(
        emailAddressData=[{"emailAddress": "espo@example.de", "primary": True}]
    )


async def _check_edits(firm: Firm) -> None:
    phones = ["+495115555", "+495116666", "+495118888"]
    assert sorted(await firm.phones()) == phones
    assert sorted(firm.values()) == sorted(
        ["0511 8888", "+495115555", "+495116666", "neu@example.de", "espo@example.de"]
    )
    assert sorted(await firm.mails()) == ["espo@example.de", "neu@example.de"]
    await firm.assert_settled()


@pytest.fixture
async def edited(linked: Firm) -> Firm:
    """Edits of every case on both sides, not synced yet."""
    await linked.espo_phones("+495111111", "+495112222", "+495113333", "+495114444")
    await linked.sync()
    await _edits(linked)
    return linked


async def test_edits_of_every_case_at_once(edited: Firm) -> None:
    await edited.sync()

    await _check_edits(edited)


async def test_a_failing_write_of_espocrm_loses_and_repeats_nothing(
    edited: Firm,
) -> None:
    fault(edited.espocrm, method="PUT", path=ID, status=403)
    with pytest.raises(Forbidden):
        await edited.sync()
    edited.calls()

    await edited.sync()

    writes = [call for call in edited.calls() if not call.startswith("GET")]
    assert writes == [f"PUT {ID}"]
    await _check_edits(edited)


async def test_edits_made_after_a_failing_write_of_espocrm_are_understood(
    edited: Firm,
) -> None:
    fault(edited.espocrm, method="PUT", path=ID, status=403)
    with pytest.raises(Forbidden):
        await edited.sync()
    changed = next(row for row in edited.entries() if row["tlf"] == "+495115555")
    await edited.advo_edit({"id": changed["id"], "tlf": "0511 7777"})
    await edited.espo_phones("+495111111", "+495112222", "+495115555")  # 6 deleted

    await edited.sync()

    assert sorted(await edited.phones()) == ["+495117777", "+495118888"]
    assert sorted(filter(None, edited.values())) == sorted(
        ["0511 8888", "0511 7777", "neu@example.de", "espo@example.de"]
    )
    await edited.assert_settled()


async def test_an_answer_lost_from_espocrm_changes_nothing(edited: Firm) -> None:
    fault(edited.espocrm, method="PUT", path=ID, when="after", status=403)
    with pytest.raises(Forbidden):
        await edited.sync()

    await edited.sync()

    await _check_edits(edited)


async def _break_off(
    firm: Firm, how: str, rule: Row, *, after_writes: int, **options: Any
) -> None:
    """Let a sync end while it waits for the answer to a request that Advoware has executed.

    ``after_writes``: so many entries have been changed or created by then.
    """
    before = {row["rowId"] for row in firm.entries()}
    fault(firm.advoware, path=KOMMUNIKATIONEN, when="after", hang=True, **rule)
    running = asyncio.create_task(firm.sync(**options))
    async with asyncio.timeout(60):
        while len({row["rowId"] for row in firm.entries()} - before) < after_writes:
            await asyncio.sleep(0.01)
    if how == "killed":  # nothing can be remembered any more
        (await firm.resources.database()).terminate()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    firm.resources = Resources(firm.resources.settings, clock=firm.resources.clock)


@pytest.fixture(params=["shut down", "killed"])
async def how(request: pytest.FixtureRequest, edited: Firm) -> AsyncIterator[str]:
    """Two ways in which a sync ends early; closes the connections that were opened after it."""
    before = edited.resources
    yield str(request.param)
    if edited.resources is not before:
        await edited.resources.close()


@pytest.mark.parametrize("request_number", range(5))
async def test_a_crash_at_any_request_to_advoware_loses_and_repeats_nothing(
    edited: Firm, request_number: int, how: str
) -> None:
    await _break_off(
        edited, how, {"skip": request_number}, after_writes=request_number + 1
    )

    await edited.sync()

    await _check_edits(edited)


async def test_a_value_that_is_emptied_when_the_sync_crashes_is_reported_by_the_next_one(
    edited: Firm, how: str
) -> None:
    requests = 6  # the last one empties what is new in Advoware
    await _break_off(
        edited, how, {"skip": requests - 1}, after_writes=requests, force_espo_wins=True
    )
    assert "neu@example.de" not in edited.values()

    result = await edited.sync(force_espo_wins=True)

    assert [problem.details.value for problem in result.problems] == ["neu@example.de"]
    assert "neu@example.de" in [
        line["old"] for line in result.changes if line.get("conflict")
    ]
    await edited.assert_settled()


async def test_edits_made_after_a_sync_was_shut_down_are_understood(
    edited: Firm,
) -> None:
    before = edited.resources
    await _break_off(edited, "shut down", {"skip": 4}, after_writes=5)
    changed = next(row for row in edited.entries() if row["tlf"] == "+495115555")
    await edited.advo_edit({"id": changed["id"], "tlf": "0511 7777"})

    result = await edited.sync()

    assert sorted(await edited.phones()) == ["+495116666", "+495117777", "+495118888"]
    assert not any(line.get("conflict") for line in result.changes)
    await edited.assert_settled()
    assert edited.resources is not before
    await edited.resources.close()


async def test_advoware_not_answering_the_last_read_loses_and_repeats_nothing(
    edited: Firm,
) -> None:
    fault(
        edited.advoware,
        method="GET",
        skip=2,
        count=1,
        path=rf"/Beteiligte/{edited.betnr}$",
        hang=True,
    )
    with pytest.raises(UpstreamTimeout):
        await edited.sync()

    await edited.sync()

    await _check_edits(edited)


async def test_a_value_that_was_emptied_just_before_a_crash_is_still_reported(
    linked: Firm,
) -> None:
    await linked.advo_edit({"tlf": "neu@example.de", "kommKz": 4})
    fault(linked.espocrm, method="PUT", path=ID, status=403)
    with pytest.raises(Forbidden):
        await linked.sync(direction="to_advoware")
    assert linked.values()[2] == ""

    result = await linked.sync()

    assert [problem.details.value for problem in result.problems] == ["neu@example.de"]
    assert [line["old"] for line in result.changes if line.get("conflict")] == [
        "neu@example.de"
    ]
    await linked.assert_settled()


async def _lose_the_base(firm: Firm, *, last_sync: str) -> None:
    database = await firm.resources.database()
    await database.execute("DELETE FROM sync_state WHERE entity_type = $1", ENTITY_TYPE)
    await firm.espo_edit(advowareLastSync=last_sync)


@pytest.mark.parametrize(
    ("how", "reported"), [({"status": 503}, []), ({"status": 500}, ["neu@example.de"])]
)
async def test_a_value_whose_emptying_failed_is_reported_only_if_it_is_gone(
    linked: Firm, how: Row, reported: list[str]
) -> None:
    await linked.advo_edit({"tlf": "neu@example.de", "kommKz": 4})
    fault(
        linked.advoware,
        method="PUT",
        path=KOMMUNIKATIONEN,
        when="after" if reported else "before",
        **how,
    )
    assert len((await linked.sync(direction="to_advoware")).errors) == 1

    result = await linked.sync()

    assert [problem.details.value for problem in result.problems] == reported
    assert await linked.mails() == ([] if reported else ["neu@example.de"])
    await linked.assert_settled()


async def test_a_record_whose_base_is_lost_is_understood_by_its_markers(
    edited: Firm,
) -> None:
    await _lose_the_base(edited, last_sync="2020-01-01 00:00:00")
    fault(edited.espocrm, method="PUT", path=rf"api/v1/CBeteiligte/{ID}", status=403)
    with pytest.raises(Forbidden):
        await edited.sync()

    await edited.sync()

    # A value that was deleted in Advoware leaves no marker: without a base it is kept, not deleted in EspoCRM.
    assert sorted(filter(None, edited.values())) == sorted(
        [
            "0511 8888",
            "+495112222",
            "+495115555",
            "+495116666",
            "neu@example.de",
            "espo@example.de",
        ]
    )
    assert sorted(await edited.phones()) == [
        "+495112222",
        "+495115555",
        "+495116666",
        "+495118888",
    ]
    await edited.assert_settled()


async def test_without_base_a_value_missing_in_an_unmodified_record_was_not_deleted_there(
    linked: Firm,
) -> None:
    await linked.espo_phones("+495112222")
    await _lose_the_base(linked, last_sync="2099-01-01 00:00:00")

    await linked.sync()

    assert await linked.phones() == ["+495112222", "+495111111"]
    await linked.assert_settled()


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_write_that_advoware_accepts_but_does_not_take_is_reported_and_not_repeated(
    linked: Firm, method: str
) -> None:
    numbers = (
        ["+495119999", "+495112222"]
        if method == "PUT"
        else ["+495111111", "+495112222", "+495119999"]
    )
    await linked.espo_phones(*numbers)
    fault(
        linked.advoware,
        method=method,
        path=KOMMUNIKATIONEN,
        status=200,
        body={"id": 4711},
    )

    result = await linked.sync()

    assert [problem.details.value for problem in result.problems] == ["+495119999"]
    assert (result.errors, result.wrote_advoware, len(result.standing)) == (
        (),
        False,
        1,
    )
    assert (await linked.phones(), linked.values()) == (
        numbers,
        ["+495111111", "+495112222"],
    )
    await linked.assert_settled(standing=result.standing)


async def test_a_record_linked_with_another_beteiligter_starts_again(
    linked: Firm,
) -> None:
    other = linked.advoware.beteiligte.create(
        {"name": "Müller", "vorname": "Jörg"}, "SB"
    )
    await linked.espo_edit(betnr=other["betNr"])
    linked.betnr = other["betNr"]
    await linked.advo_edit({"tlf": "0511 7777", "kommKz": 1})

    await linked.sync()

    assert await linked.phones() == ["+495111111", "+495112222", "+495117777"]
    assert linked.values() == ["0511 7777", "+495111111", "+495112222"]


async def test_a_record_that_names_no_entries_is_not_taken_for_empty(
    linked: Firm,
) -> None:
    espo = await linked.espo()
    advo = await AdvowareService(resources=linked.resources).get_beteiligter(
        linked.betnr
    )
    store = SyncStore(await linked.resources.database())
    del advo["kommunikation"]

    result = await KommunikationSyncManager(resources=linked.resources).sync_part(
        espo, advo, store
    )

    assert (result.espocrm, result.changes, result.states, len(result.errors)) == (
        {},
        (),
        (),
        1,
    )
    assert parse_marker(linked.entries()[1]["bemerkung"])[0] == Marker("+495112222", 1)


@pytest.mark.parametrize("missing", ["phoneNumberData", "emailAddressData"])
async def test_an_array_that_is_missing_is_unknown_and_stops_not_the_other(
    linked: Firm, missing: str
) -> None:
    await linked.espo_edit(
        emailAddressData=[{"emailAddress": "a@b.de", "primary": True}]
    )
    await linked.sync()
    await linked.espo_phones("+495119999")
    await linked.espo_edit(
        emailAddressData=[{"emailAddress": "c@d.de", "primary": True}]
    )
    fault(
        linked.espocrm,
        method="GET",
        path=ID,
        answer=[{"field": missing, "how": "missing"}],
    )

    result = await linked.sync()

    phones, mails = ["+495111111", "+495112222", "a@b.de"], ["+495119999", "", "a@b.de"]
    assert linked.values() == (
        mails if missing == "emailAddressData" else [*phones[:2], "c@d.de"]
    )
    assert len(result.errors) == 1
    await linked.sync()
    assert linked.values() == ["+495119999", "", "c@d.de"]
    await linked.assert_settled()


async def test_the_sample_firm_is_synced_without_errors_and_then_only_read(
    firm: Firm,
) -> None:
    for twin in (firm.advoware, firm.espocrm):
        async with firm.control.post(
            f"{twin.url}/__sandbox__/reset", json={"empty": False}
        ) as answer:
            assert answer.status == 200
    api = EspoCRMAPI(resources=firm.resources)
    manager = KommunikationSyncManager(resources=firm.resources)
    known = {record["betNr"] for record in firm.advoware.beteiligte.all()}
    records = [
        row async for row in api.search_entities("CBeteiligte") if row["betnr"] in known
    ]
    assert len(records) > 20

    results = [
        await manager.sync_bidirectional(row["id"], row["betnr"]) for row in records
    ]
    assert [error for result in results for error in result.errors] == []
    assert any(result.wrote_advoware for result in results)
    firm.calls()
    again = [
        await manager.sync_bidirectional(row["id"], row["betnr"]) for row in records
    ]

    assert {call.split()[0] for call in firm.calls()} == {"GET"}
    assert not any(result.changes or result.states for result in again)
