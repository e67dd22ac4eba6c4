"""What is decided about a Bankverbindung comes to rest, names every edit that does not arrive, and shows no number."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from services.bankverbindungen_mapper import (
    ATTRIBUTES,
    BankverbindungenMapper,
    konten_of,
)
from services.values.merge import is_same
from services.vmh_sync.bankverbindungen.plan import HINT, Observation, Settle, settle
from services.vmh_sync.notification.texts import (
    problem_sentence,
    task_description,
    task_title,
)
from services.vmh_sync.store import SyncState

MAPPER = BankverbindungenMapper()
NOW = datetime(2026, 11, 23, 17, tzinfo=UTC)
IBANS = ("DE89370400440532013000", "DE02120300000000202051", "AT611904300234573201")

texts = st.sampled_from(
    [
        None,
        "",
        "Max Müller",
        "MAX MÜLLER",
        "Max\u200b Müller",
        "x" * 300,
        "{betnr}",
        "A „B“",
    ]
)
bics = st.sampled_from([None, "", "COBADEFF", "cobadeffxxx", "COBA", "DEUTDEFF"])
ibans = st.sampled_from(
    [None, "", *IBANS, IBANS[0].lower(), "DE89 3704 0044 0532 0130 00", "DE00"]
)
rows = st.fixed_dictionaries(
    {
        "iban": ibans,
        "bic": bics,
        "kontoinhaber": texts,
        "bankname": texts,
        "istAktiv": st.sampled_from([True, True, None]),
    }
)
odd = st.one_of(
    st.integers(),
    st.lists(st.integers(), max_size=1),
    st.dictionaries(st.just("x"), st.integers()),
)
konten = st.fixed_dictionaries(
    {},
    optional={
        "iban": st.one_of(ibans, odd),
        "bic": st.one_of(bics, odd),
        "kontoinhaber": st.one_of(texts, odd),
        "bank": st.one_of(texts, odd),
        "kontoNr": st.sampled_from([None, "", "532013000", 532013000]),
        "blz": st.sampled_from([None, "37040044"]),
    },
)


def observe(
    konto: dict[str, Any], states: dict[str, SyncState], now: datetime = NOW
) -> Observation:
    listed = konten_of({"bankkverbindungen": [{**konto, "id": 7001}]})
    assert listed is not None
    return Observation("b1", "1001", listed.usable, listed.odd, states, now)


def run(
    row: dict[str, Any],
    konto: dict[str, Any],
    state: SyncState | None,
    now: datetime = NOW,
    *,
    created: bool = False,
) -> Settle:
    observed = observe(konto, {"r1": state} if state else {}, now)
    return settle(observed, row, observed.konten[0], created=created)


def written(row: dict[str, Any], action: Settle) -> dict[str, Any]:
    return {**row, **action.attributes}


def full(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": "r1", HINT: None, "syncStatus": None, "advowareKontoId": None, **row}


@given(row=rows, konto=konten, created=st.booleans())
def test_a_second_look_writes_and_says_nothing_new(
    row: dict[str, Any], konto: dict[str, Any], created: bool
) -> None:
    first = run(full(row), konto, None, created=created)
    second = run(written(full(row), first), konto, first.state, NOW + timedelta(days=1))
    assert second.attributes == {}
    assert second.changes == ()
    assert second.problems == first.problems
    assert second.state == first.state


@given(row=rows, konto=konten, edit=rows)
def test_an_edit_in_espocrm_that_does_not_arrive_is_reported(
    row: dict[str, Any], konto: dict[str, Any], edit: dict[str, Any]
) -> None:
    first = run(full(row), konto, None)
    before = MAPPER.comparable_from_espocrm(row)
    now, in_advoware = (
        MAPPER.comparable_from_espocrm(edit),
        MAPPER.comparable_from_advoware(konto),
    )
    settled = first.state.base["fields"]
    second = run({**written(full(row), first), **edit}, konto, first.state)
    reported = {
        line.field for problem in second.problems for line in problem.details.fields
    }
    for field in ATTRIBUTES:
        differs = field in in_advoware and not is_same(now[field], in_advoware[field])
        if not is_same(before[field], now[field]) and differs:
            assert field in reported
        if field in in_advoware and is_same(now[field], in_advoware[field]):
            assert field not in reported
    assert settled.keys() <= {*ATTRIBUTES}


@given(
    row=rows,
    konto=konten,
    hidden=st.sets(st.sampled_from(["iban", "bic", "kontoinhaber", "bank"])),
)
def test_what_advoware_stops_showing_is_no_change_and_no_task(
    row: dict[str, Any], konto: dict[str, Any], hidden: set[str]
) -> None:
    konto = {name: value for name, value in konto.items() if name != "kontoNr"}
    first = run(full(row), konto, None)
    assume(not first.problems)
    less = {name: value for name, value in konto.items() if name not in hidden}
    second = run(written(full(row), first), less, first.state)
    assert (second.problems, second.attributes) == ((), {})
    third = run(written(full(row), first), konto, replace(second.state))
    assert (third.problems, third.attributes) == ((), {})


@given(row=rows, konto=konten, created=st.booleans())
@example(
    row={"iban": None, "bic": "COBADEFF"},
    konto={"bic": "COBA", "kontoNr": "532013000"},
    created=False,
)
def test_nothing_that_people_read_shows_a_whole_number(
    row: dict[str, Any], konto: dict[str, Any], created: bool
) -> None:
    for problem in run(full(row), konto, None, created=created).problems:
        text = (
            task_title(problem) + task_description(problem) + problem_sentence(problem)
        )
        assert not any(iban in text for iban in IBANS)
        assert "532013000" not in text
        assert "None" not in text
