"""What Advoware makes of a value when we write to its entry: cut, emptied or not filled, it is lost on neither side."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from kommunikation_firm import ID, KOMMUNIKATIONEN, Firm, Row, fault, firm, linked
from test_kommunikation_surprises import erase, espocrm_refuses, reasons
from watched_journal import WatchedJournal

from services.core.errors import Forbidden
from services.kommunikation_sync_utils import ENTITY_TYPE, KommunikationSyncManager
from services.values.sealed import seal
from services.vmh_sync.store import SyncStore

__all__ = ["firm", "linked"]

WHOLE = "+4951112345678"


@pytest.mark.parametrize("to_advoware", [False, True])
async def test_a_value_that_advoware_empties_or_does_not_put_into_a_slot_stays_in_espocrm(
    linked: Firm, to_advoware: bool
) -> None:
    await linked.espo_phones("+495112222")  # the first entry becomes a slot
    await linked.sync()
    linked.stores(field="tlf", how="value", to="")
    await linked.espo_phones("+495112222", "+4951188887777")
    options: dict[str, Any] = {"direction": "to_advoware"} if to_advoware else {}

    result = await linked.sync(**options)

    for _ in range(3):
        assert await linked.phones() == ["+495112222", "+4951188887777"]
        assert linked.values() == ["", "+495112222"]
        assert reasons(result) == [("kom_not_taken", "+4951188887777")]
        linked.calls()
        result = await linked.sync(**options)
        assert not [call for call in linked.calls() if not call.startswith("GET")]

    linked.advoware.faults.clear()
    await linked.espo_phones("+495112222", "+4951188886666")
    result = await linked.sync(**options)
    assert (linked.values(), reasons(result)) == (["+4951188886666", "+495112222"], [])
    await linked.assert_settled()


@pytest.mark.parametrize("typed", ["0511 2222", "0511 7777"])
async def test_a_value_typed_into_an_entry_that_advoware_has_left_empty_takes_nothing_away(
    linked: Firm, typed: str
) -> None:
    await linked.espo_phones("+495112222")
    await linked.sync()
    linked.stores(field="tlf", how="value", to="")
    await linked.espo_phones("+495112222", "+4951188887777")
    await linked.sync()
    linked.advoware.faults.clear()
    await linked.advo_edit({"id": linked.entries()[0]["id"], "tlf": typed})

    await linked.sync()
    await linked.sync()

    added = {"0511 2222": set(), "0511 7777": {"+495117777"}}[typed]
    assert set(await linked.phones()) == {"+495112222", "+4951188887777"} | added
    assert "+4951188887777" in linked.values()
    await linked.assert_settled()


#: What a person enters in Advoware, what Advoware makes of it with our marker, and what EspoCRM shall hold.
SENT_ALONG: dict[str, tuple[Row, Row, str, str]] = {
    "a number is cut": (
        {"tlf": "0511 12345678", "kommKz": 1},
        {"how": "cut", "to": 9},
        "0511 1234",
        "+4951112345678",
    ),
    "a number is emptied": (
        {"tlf": "0511 12345678", "kommKz": 1},
        {"how": "value", "to": ""},
        "",
        "+4951112345678",
    ),
    "a mail address is cut": (
        {"tlf": "Neu@example.de", "kommKz": 4},
        {"how": "cut", "to": 5},
        "Neu@e",
        "Neu@example.de",
    ),
    "a mail address gets another domain": (
        {"tlf": "Neu@example.de", "kommKz": 4},
        {"how": "value", "to": "Neu@example.invalid"},
        "Neu@example.invalid",
        "Neu@example.de",
    ),
}


@pytest.fixture(params=["new", "changed"])
async def entered(
    request: pytest.FixtureRequest, firm: Firm, sent_along: tuple[Row, Row, str, str]
) -> Firm:
    """A person has entered a value in Advoware, or changed one there; Advoware alters it when our marker is written."""
    entry, alteration, _, _ = sent_along
    if request.param == "changed":
        before = {4: "alt@example.de", 1: "0511 9999"}[entry["kommKz"]]
        await firm.advo_edit({**entry, "tlf": before})
        await firm.sync()
        entry = {"id": firm.entries()[0]["id"], "tlf": entry["tlf"]}
    await firm.advo_edit(entry)
    firm.stores(field="tlf", **alteration)
    return firm


@pytest.fixture(params=SENT_ALONG.values(), ids=SENT_ALONG)
def sent_along(request: pytest.FixtureRequest) -> Any:
    return request.param


async def in_espocrm(firm: Firm) -> list[str]:
    return [*await firm.phones(), *await firm.mails()]


@pytest.mark.parametrize("failures", [1, 2])
async def test_a_value_that_advoware_alters_with_our_marker_arrives_whole_after_espocrm_has_failed(
    entered: Firm, sent_along: tuple[Row, Row, str, str], failures: int
) -> None:
    entry, _, stored, whole = sent_along
    fault(entered.espocrm, method="PUT", path=ID, status=403, count=failures)
    for _ in range(failures):
        with pytest.raises(Forbidden):
            await entered.sync()

    result = await entered.sync()

    assert (entered.values(), await in_espocrm(entered)) == ([stored], [whole])
    assert reasons(result) == [("kom_altered", whole)]
    altered = [line for line in result.changes if line["side"] == "advoware"]
    assert [(line["old"], line["new"]) for line in altered] == [
        (entry["tlf"], stored or None)
    ]
    await entered.assert_settled(standing=result.standing)


async def test_an_edit_after_a_value_was_altered_with_our_marker_counts(
    entered: Firm, sent_along: tuple[Row, Row, str, str]
) -> None:
    entry, _, stored, _ = sent_along
    fault(entered.espocrm, method="PUT", path=ID, status=403)
    with pytest.raises(Forbidden):
        await entered.sync()
    entered.advoware.faults.clear()
    typed = {1: ("0511 7777", "+495117777"), 4: ("ab@example.de", "ab@example.de")}
    value, expected = typed[entry["kommKz"]]
    await entered.advo_edit({"id": entered.entries()[0]["id"], "tlf": value})

    result = await entered.sync()

    assert reasons(result) == []
    if stored:
        assert (entered.values(), await in_espocrm(entered)) == ([value], [expected])
    else:  # what stands in EspoCRM may be another number than the one that was emptied
        assert value in entered.values()
        assert expected in await in_espocrm(entered)
    await entered.assert_settled()


async def test_a_value_that_espocrm_takes_without_answering_is_not_brought_again(
    entered: Firm, sent_along: tuple[Row, Row, str, str]
) -> None:
    _, _, stored, whole = sent_along
    fault(entered.espocrm, method="PUT", path=ID, status=403, when="after")
    with pytest.raises(Forbidden):
        await entered.sync()

    result = await entered.sync()

    assert (entered.values(), await in_espocrm(entered)) == ([stored], [whole])
    assert reasons(result) == [("kom_altered", whole)]
    await entered.assert_settled(standing=result.standing)


async def test_of_two_values_that_were_altered_with_our_marker_the_later_one_counts(
    entered: Firm, sent_along: tuple[Row, Row, str, str]
) -> None:
    entry, _, stored, _ = sent_along
    typed = {
        1: ("0511 12349999", "+4951112349999"),
        4: ("Neu@example.com", "Neu@example.com"),
    }
    value, whole = typed[entry["kommKz"]]
    fault(entered.espocrm, method="PUT", path=ID, status=403, count=2)
    with pytest.raises(Forbidden):
        await entered.sync()
    await entered.advo_edit({"id": entered.entries()[0]["id"], "tlf": value})
    with pytest.raises(Forbidden):
        await entered.sync()

    result = await entered.sync()

    assert (entered.values(), await in_espocrm(entered)) == ([stored], [whole])
    assert reasons(result) == [("kom_altered", whole)]
    again = await entered.sync()
    assert (again.changes, again.espocrm) == ((), {})
    await entered.assert_settled(standing=result.standing)


async def test_an_erasure_leaves_nothing_to_report_of_a_value_that_was_sent_along(
    entered: Firm, sent_along: tuple[Row, Row, str, str]
) -> None:
    fault(entered.espocrm, method="PUT", path=ID, status=403)
    with pytest.raises(Forbidden):
        await entered.sync()
    store = SyncStore(await entered.resources.database())
    state = await store.load(ENTITY_TYPE, ID)
    assert state is not None
    assert state.base["lost"]
    lines = seal(state.base["lost"], b"key")
    unseen = replace(state, base={**state.base, "lost": lines})
    await store.save(unseen)

    result = await entered.sync()

    assert "sealed" not in str([result.changes, result.problems])


def go_away_after_the_request(firm: Firm) -> None:
    """Advoware takes a request, and is away when we look what became of it."""

    def away(call: dict[str, Any]) -> None:
        if call["method"] == "PUT":
            fault(firm.advoware, method="GET", path=f"{firm.betnr}$", status=403)

    firm.advoware.journal = WatchedJournal(away)


@pytest.mark.parametrize("is_in_espocrm", [False, True])
async def test_a_value_that_was_cut_with_our_marker_before_a_crash_arrives_whole(
    entered: Firm, sent_along: tuple[Row, Row, str, str], is_in_espocrm: bool
) -> None:
    entry, alteration, stored, whole = sent_along
    if is_in_espocrm:
        family = {1: "phoneNumber", 4: "emailAddress"}[entry["kommKz"]]
        await entered.espo_edit(**{f"{family}Data": [{family: whole, "primary": True}]})
    go_away_after_the_request(entered)
    with pytest.raises(Forbidden):
        await entered.sync()
    assert entered.values() == [stored]
    entered.advoware.journal = WatchedJournal(lambda call: None)

    result = await entered.sync()

    if alteration["how"] != "cut":  # that is an edit by all that is known
        assert "kom_altered" not in dict(reasons(result))
        return
    assert (entered.values(), await in_espocrm(entered)) == ([stored], [whole])
    assert reasons(result) == [("kom_altered", whole)]
    lines = [(line["old"], line["new"]) for line in result.changes]
    assert (entry["tlf"], stored) in lines
    await entered.assert_settled(standing=result.standing)


@pytest.mark.parametrize("typed", ["0511 7777", "0511 1234", ""])
@pytest.mark.parametrize("is_taken", [False, True])
async def test_an_edit_after_a_crash_at_our_marker_is_an_edit(
    linked: Firm, typed: str, is_taken: bool
) -> None:
    """One that only takes an end away looks as if Advoware had cut it, if the request has arrived."""
    number = linked.entries()[0]["id"]
    await linked.advo_edit({"id": number, "tlf": "0511 12345678"})
    when = "after" if is_taken else "before"
    path = f"{KOMMUNIKATIONEN}/{number}"
    fault(linked.advoware, method="PUT", path=path, status=500, when=when)
    fault(linked.espocrm, method="PUT", path=ID, status=403)
    go_away_after_the_request(linked)
    with pytest.raises(Forbidden):
        await linked.sync()
    linked.advoware.journal = WatchedJournal(lambda call: None)
    linked.advoware.faults.clear()
    linked.espocrm.faults.clear()
    await linked.advo_edit({"id": number, "tlf": typed})

    result = await linked.sync()

    expected = {"0511 7777": {"+495117777"}, "0511 1234": {"+495111234"}, "": set()}
    if is_taken and typed == "0511 1234":
        assert reasons(result) == [("kom_altered", "+4951112345678")]
        expected[typed] = {"+4951112345678"}
    else:
        assert reasons(result) == []
    assert set(await linked.phones()) == {"+495112222"} | expected[typed]
    await linked.assert_settled(standing=result.standing)


# -- what happens after an alteration --------------------------------------------------------------------------------


async def fails(firm: Firm) -> None:
    with pytest.raises(Forbidden):
        await firm.sync()


async def pending(firm: Firm) -> None:
    """Advoware has cut a new number with our marker, EspoCRM could not be written."""
    await firm.advo_edit({"tlf": "0511 12345678", "kommKz": 1})
    firm.stores(field="tlf", how="cut", to=9)
    fault(firm.espocrm, method="PUT", path=ID, status=403)
    await fails(firm)
    firm.advoware.faults.clear()


async def dies_before_it_has_looked(firm: Firm) -> None:
    go_away_after_the_request(firm)
    await fails(firm)
    firm.advoware.journal = WatchedJournal(lambda call: None)


async def test_a_cut_number_does_not_come_after_espocrm_has_refused_the_whole_one(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495119999")
    await firm.sync()
    await pending(firm)
    espocrm_refuses(firm, "phoneNumberData[].phoneNumber", "12345678")
    await firm.sync()  # kom_refused_by_espocrm, names the whole number
    await firm.sync()  # no one has changed anything
    assert await firm.phones() == ["+495119999"]


async def test_a_cut_number_does_not_come_when_there_is_space_again(firm: Firm) -> None:
    await pending(firm)
    numbers = [f"+4951170{at}" for at in range(1000, 1010)]
    await firm.espo_phones(*numbers)
    await firm.sync()
    await firm.espo_phones(*numbers[:5])
    await firm.sync()
    assert "+495111234" not in await firm.phones()


async def test_neither_form_comes_after_an_erasure(linked: Firm) -> None:
    await pending(linked)
    await erase(linked, "phoneNumber")
    await linked.sync()
    await linked.espo_edit(phoneNumberData=[], phoneNumber=None)
    await linked.sync()
    assert await linked.phones() == []


@pytest.mark.parametrize(
    ("known", "typed", "kz", "cut", "whole"),
    [
        ("+495111234", "0511 12345678", 1, 9, WHOLE),
        ("info@kanzlei.de", "info@kanzlei.design", 4, 15, "info@kanzlei.design"),
    ],
)
async def test_a_value_that_is_cut_to_one_that_is_there_already_stays_in_espocrm(
    firm: Firm, known: str, typed: str, kz: int, cut: int, whole: str
) -> None:
    if kz == 1:
        await firm.espo_phones(known)
    else:
        row = {"emailAddress": known, "primary": True}
        await firm.espo_edit(emailAddressData=[row])
    await firm.sync()
    await firm.advo_edit({"tlf": typed, "kommKz": kz})
    firm.stores(field="tlf", how="cut", to=cut)
    await firm.sync()
    assert whole in [*await firm.phones(), *await firm.mails()]
    await firm.sync()  # nothing has changed
    assert whole in [*await firm.phones(), *await firm.mails()]
    assert len(firm.entries()) == 2
    await firm.assert_settled(standing=(await firm.sync()).standing)


@pytest.mark.parametrize("is_in_espocrm", [False, True])
async def test_a_value_that_was_cut_by_a_request_without_an_answer_stays_whole(
    firm: Firm, is_in_espocrm: bool
) -> None:
    await firm.advo_edit({"tlf": "0511 12345678", "kommKz": 1})
    if is_in_espocrm:
        await firm.espo_phones(WHOLE)
    firm.stores(field="tlf", how="cut", to=9)
    fault(
        firm.advoware,
        method="PUT",
        path=KOMMUNIKATIONEN,
        when="after",
        reset=True,
        count=5,
    )
    first = await firm.sync()
    firm.advoware.faults.clear()
    second = await firm.sync()
    named = [value for _, value in [*reasons(first), *reasons(second)]]
    assert await firm.phones() == [WHOLE]
    assert WHOLE in named


@pytest.mark.parametrize("how", ["null", "missing"])
async def test_a_value_that_was_cut_and_is_not_shown_afterwards_stays_whole(
    firm: Firm, how: str
) -> None:
    await firm.advo_edit({"tlf": "0511 12345678", "kommKz": 1})
    firm.stores(field="tlf", how="cut", to=9)
    alteration = {"field": "kommunikation[].tlf", "how": "null"}
    if how == "missing":
        alteration = {"field": "kommunikation", "how": "empty_list"}

    def hide(call: dict[str, Any]) -> None:
        if call["method"] == "PUT":
            fault(
                firm.advoware, method="GET", path=f"{firm.betnr}$", answer=[alteration]
            )

    firm.advoware.journal = WatchedJournal(hide)
    first = await firm.sync()
    firm.advoware.journal = WatchedJournal(lambda call: None)
    firm.advoware.faults.clear()
    second = await firm.sync()
    named = [value for _, value in [*reasons(first), *reasons(second)]]
    assert await firm.phones() == [WHOLE]
    assert WHOLE in named


@pytest.mark.parametrize("is_in_espocrm", [False, True])
async def test_a_value_that_was_cut_before_a_crash_arrives_after_espocrm_has_failed(
    firm: Firm, is_in_espocrm: bool
) -> None:
    await firm.advo_edit({"tlf": "0511 12345678", "kommKz": 1})
    if is_in_espocrm:
        await firm.espo_phones(WHOLE)
    firm.stores(field="tlf", how="cut", to=9)
    await dies_before_it_has_looked(firm)
    fault(firm.espocrm, method="PUT", path=ID, status=403)
    await fails(firm)
    result = await firm.sync()
    assert await firm.phones() == [WHOLE]
    assert reasons(result) == [("kom_altered", WHOLE)]


async def test_what_a_person_types_later_is_not_taken_for_an_alteration(
    firm: Firm,
) -> None:
    await pending(firm)
    entry = firm.entries()[0]["id"]
    await firm.advo_edit({"id": entry, "tlf": "0511 7777"})
    fault(firm.espocrm, method="PUT", path=ID, status=403)
    await fails(firm)
    await firm.advo_edit({"id": entry, "tlf": "0511 1234"})
    await firm.sync()
    assert firm.values() == ["0511 1234"]


@pytest.mark.parametrize("kind", ["marker", "slot"])
async def test_deleting_a_row_that_advoware_has_left_empty_takes_nothing_away(
    linked: Firm, kind: str
) -> None:
    if kind == "slot":
        await linked.espo_phones("+495112222")
        await linked.sync()
        linked.stores(field="tlf", how="value", to="")
        await linked.espo_phones("+495112222", "+4951188887777")
    else:
        linked.stores(field="tlf", how="value", to="")
        await linked.advo_edit({"tlf": "0511 88887777", "kommKz": 1})
    await linked.sync()
    linked.advoware.faults.clear()
    [empty] = [row["id"] for row in linked.entries() if not row["tlf"]]
    await linked.advo_edit({"id": empty, "delete": True})
    await linked.sync()
    assert "+4951188887777" in await linked.phones()


async def test_a_refused_request_has_altered_nothing(firm: Firm) -> None:
    await firm.advo_edit({"tlf": "0511 12345678", "kommKz": 1})
    firm.refuses("PUT", "0511 12345678")
    fault(firm.espocrm, method="PUT", path=ID, status=403)
    await fails(firm)
    firm.advoware.faults.clear()
    await firm.advo_edit({"id": firm.entries()[0]["id"], "tlf": "0511 7777"})
    result = await firm.sync()
    assert reasons(result) == []


@pytest.mark.parametrize(
    ("typed", "kz", "how"),
    [("neu@example.de", 4, "upper"), ("0511 12345678", 1, "no_blanks")],
)
async def test_another_spelling_is_no_alteration(
    firm: Firm, typed: str, kz: int, how: str
) -> None:
    await firm.advo_edit({"tlf": typed, "kommKz": kz})
    firm.stores(field="tlf", how=how)
    await dies_before_it_has_looked(firm)
    result = await firm.sync()
    assert reasons(result) == []


async def test_an_emptied_entry_that_is_tidied_leaves_no_line(linked: Firm) -> None:
    entry = linked.entries()[0]["id"]
    await linked.advo_edit({"id": entry, "tlf": ""})
    fault(linked.espocrm, method="PUT", path=ID, status=403)
    await fails(linked)
    await linked.advo_edit({"id": entry, "tlf": "0511 7777"})
    result = await linked.sync()
    assert [line for line in result.changes if line["side"] == "advoware"] == []


async def test_a_persons_own_edit_after_a_crash_is_no_loss(firm: Firm) -> None:
    await firm.advo_edit({"tlf": "0511 12345678", "kommKz": 1})
    await dies_before_it_has_looked(firm)
    firm.advoware.faults.clear()
    await firm.advo_edit({"id": firm.entries()[0]["id"], "tlf": "0511 7777"})
    firm.resources.clock.now += timedelta(hours=5)  # type: ignore[attr-defined]
    store = SyncStore(await firm.resources.database())
    manager = KommunikationSyncManager(resources=firm.resources)
    assert await manager.losses_left_at(ID, str(firm.betnr), store) == []


async def test_a_whole_value_that_had_to_wait_arrives_although_espocrm_fails_again(
    firm: Firm,
) -> None:
    await pending(firm)
    numbers = [f"+4951170{at}" for at in range(1000, 1010)]
    await firm.espo_phones(*numbers)
    await firm.sync()  # there is no space
    await firm.espo_phones(*numbers[:5])
    fault(firm.espocrm, method="PUT", path=ID, status=403)
    await fails(firm)

    await firm.sync()

    assert await firm.phones() == [*numbers[:5], WHOLE]
    result = await firm.sync()
    assert reasons(result) == [("kom_altered", WHOLE)]
    await firm.assert_settled(standing=result.standing)


async def test_a_person_enters_in_espocrm_what_advoware_has_made_of_another_value(
    firm: Firm,
) -> None:
    await firm.advo_edit({"tlf": "0511 12345678", "kommKz": 1})
    firm.stores(field="tlf", how="cut", to=9)
    await firm.sync()
    await firm.espo_phones(WHOLE, "+495111234")

    for _ in range(3):
        await firm.sync()
        assert set(await firm.phones()) == {WHOLE, "+495111234"}

    assert len(firm.entries()) == 2
    result = await firm.sync()
    assert reasons(result) == [("kom_altered", WHOLE)]
    await firm.assert_settled(standing=result.standing)
