"""What is decided about a Bankverbindung comes to rest, names every edit that does not arrive, and shows no number."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from services.bankverbindungen_mapper import (
    ATTRIBUTES,
    FIELDS,
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
from tests.support.bankverbindungen_sides import BankSides

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


ACCOUNTS = ("DE89370400440532013000", "DE02120300000000202051")
ENTERED: dict[str, list[str | None]] = {
    "iban": [*ACCOUNTS, None],
    "bic": ["COBADEFFXXX", "BYLADEM1001", None],
    "kontoinhaber": ["Max", "Eva", None],
    "bank": ["Sparkasse", "Volksbank", None],
}
NEW = st.fixed_dictionaries(
    {name: st.sampled_from(values) for name, values in ENTERED.items()}
)
AT = st.integers(0, 3)
CHOICES = st.tuples(AT, st.sampled_from(FIELDS), st.integers(0, 2))
DEEDS = st.one_of(
    st.tuples(st.sampled_from(["row", "konto"]), CHOICES),
    st.tuples(st.sampled_from(["swap rows", "swap konten"]), st.tuples(AT, AT)),
    st.tuples(
        st.sampled_from(
            [
                "delete row",
                "restore row",
                "delete konto",
                "restore konto",
                "enter as row",
                "switch off",
                "switch on",
            ]
        ),
        st.tuples(AT),
    ),
    st.tuples(st.sampled_from(["new row", "new konto"]), st.tuples(NEW)),
)
HIDDEN = st.dictionaries(
    st.integers(0, 2),
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(FIELDS[1:], st.just(...) | st.just(7))
    ),
    max_size=2,
)


def _as_row(values: dict[str, Any]) -> dict[str, Any]:
    return {ATTRIBUTES[name]: value for name, value in values.items()}


def _do(sides: BankSides, kind: str, arguments: Any) -> None:
    """What a person does on one of the sides, if there is anything to do it with."""
    if kind == "new row":
        sides.new_row(**_as_row(*arguments))
    elif kind == "new konto":
        sides.new_konto(**arguments[0])
    elif kind == "restore row":
        if sides.gone:
            _, row = sides.gone.popitem()
            sides.rows[row["id"]] = row
    elif kind == "restore konto":
        sides.konten += [sides.removed.pop()] if sides.removed else []
    elif "konto" in kind or "konten" in kind:
        if sides.konten:
            _do_in_advoware(sides, kind, *arguments)
    elif sides.rows:
        _do_in_espocrm(sides, kind, *arguments)


def _do_in_espocrm(sides: BankSides, kind: str, at: int, *further: Any) -> None:
    present = list(sides.rows.values())
    row = present[at % len(present)]
    values = {name: row[name] for name in ATTRIBUTES.values()}
    match kind:
        case "row":
            name, choice = further
            row[ATTRIBUTES[name]] = ENTERED[name][choice]
        case "swap rows":
            other = present[further[0] % len(present)]
            of_other = {name: other[name] for name in values}
            row |= of_other
            if other is not row:
                other |= values
        case "delete row":
            sides.gone[row["id"]] = sides.rows.pop(row["id"])
        case "switch off" | "switch on":
            row["istAktiv"] = kind == "switch on"
        case "enter as row":
            entered = {name: row[ATTRIBUTES[name]] for name in FIELDS}
            konto = sides.konto_of(row)
            if konto is not None:
                konto |= entered


def _do_in_advoware(sides: BankSides, kind: str, at: int, *further: Any) -> None:
    konto = sides.konten[at % len(sides.konten)]
    values = {name: konto[name] for name in FIELDS}
    match kind:
        case "konto":
            name, choice = further
            konto[name] = ENTERED[name][choice]
        case "swap konten":
            other = sides.konten[further[0] % len(sides.konten)]
            of_other = {name: other[name] for name in FIELDS}
            konto |= of_other
            if other is not konto:
                other |= values
        case "delete konto":
            sides.konten.remove(konto)
            sides.removed.append(konto)


def _accounts(sides: BankSides) -> Counter[str]:
    return Counter(konto["iban"] for konto in sides.konten if konto["iban"])


def _checked_sync(
    sides: BankSides, agreed: dict[str, Any], disguise: dict[int, Any]
) -> None:
    before = _accounts(sides)
    sides.sync(disguise)
    for iban, count in _accounts(sides).items():
        assert count <= max(before[iban], 1), iban
    if any(disguise.values()):
        agreed["is open"] = True  # what the run could compare is not known here
    if "is open" in agreed:
        return
    waiting = {problem.entity_id for problem in sides.problems}
    for name, row in sides.rows.items():
        assert (row["syncStatus"] == "unclean") == (name in waiting), row
        konto = sides.konto_of(row)
        if konto is not None and row["istAktiv"]:
            _check_edits(sides, agreed.setdefault(name, {}), row, konto)


def _check_edits(
    sides: BankSides,
    agreed: dict[str, Any],
    row: dict[str, Any],
    konto: dict[str, Any],
) -> None:
    """What a person has entered in EspoCRM since both sides held the same waits for being entered in Advoware."""
    there = MAPPER.comparable_from_advoware(konto)
    reported = sides.reported(row)
    for name, value in MAPPER.comparable_from_espocrm(row).items():
        if is_same(value, there[name]):
            agreed[name] = value
            assert name not in reported
        elif not is_same(agreed.get(name, value), value):
            assert name in reported or not reported, (name, row, konto)
            assert row["syncStatus"] == "unclean"


@example(  # what waits still waits at a row that was deleted and restored
    rows=[{"iban": ACCOUNTS[0]}],
    konten=[],
    history=[
        ([("row", (0, "bic", 0))], {}),
        ([("delete row", (0,))], {}),
        ([("restore row", (0,))], {}),
    ],
)
@example(  # and where a person has put another Bankverbindung into the place of its own
    rows=[{"iban": ACCOUNTS[0]}],
    konten=[],
    history=[
        ([("row", (0, "bic", 0))], {}),
        ([("delete konto", (0,)), ("new konto", ({"iban": ACCOUNTS[0]},))], {}),
    ],
)
@given(
    st.lists(NEW, max_size=3),
    st.lists(NEW, max_size=3),
    st.lists(
        st.tuples(st.lists(DEEDS, max_size=5), HIDDEN | st.just({})),
        min_size=1,
        max_size=3,
    ),
)
def test_whatever_people_do_with_several_accounts_no_edit_is_forgotten_and_none_is_there_twice(
    rows: list[dict[str, Any]], konten: list[dict[str, Any]], history: list[Any]
) -> None:
    sides = BankSides()
    for row in rows:
        sides.new_row(**_as_row(row))
    for konto in konten:
        sides.new_konto(**konto)
    agreed: dict[str, Any] = {}
    _checked_sync(sides, agreed, {})
    for deeds, disguise in history:
        for deed in deeds:
            _do(sides, *deed)
        _checked_sync(sides, agreed, disguise)
    _checked_sync(sides, agreed, {})
    _checked_sync(sides, agreed, {})
    before = json.dumps([sides.rows, sides.konten])
    problems = [(problem.key, problem.details) for problem in sides.problems]

    _checked_sync(sides, agreed, {})

    assert (sides.writes, sides.lines) == (0, [])
    assert json.dumps([sides.rows, sides.konten]) == before
    assert [(problem.key, problem.details) for problem in sides.problems] == problems


@pytest.mark.parametrize("shown", [..., 7, None])
def test_an_account_whose_iban_is_not_shown_for_a_moment_is_not_created_twice(
    shown: Any,
) -> None:
    sides = BankSides()
    sides.new_row(iban=ACCOUNTS[0])
    sides.sync()
    second = sides.new_row(iban=ACCOUNTS[0])

    sides.sync({0: {"iban": shown, "kontoNr": None}})

    assert len(sides.konten) == 1
    assert second["syncStatus"] == "unclean"


def test_what_was_edited_in_advoware_while_an_account_was_deleted_in_espocrm_is_an_edit() -> (
    None
):
    sides = BankSides()
    row = sides.new_row(iban=ACCOUNTS[0], bankname="Sparkasse")
    sides.sync()
    del sides.rows[row["id"]]
    sides.konten[0]["bank"] = "Volksbank"
    sides.sync()

    sides.rows[row["id"]] = row
    sides.sync()

    assert sides.reported(row) == {"bank"}
