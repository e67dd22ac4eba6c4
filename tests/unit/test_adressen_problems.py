"""What people read about addresses: whose, which, what happened, what to do, in German and without jargon."""

from __future__ import annotations

import re
from typing import Any

import pytest

from services.adressen_mapper import FIELDS
from services.values.merge import Pair, pair_to_json
from services.vmh_sync.adressen.fields import NOT_SHOWN
from services.vmh_sync.adressen.match import Observation
from services.vmh_sync.adressen.problems import (
    failure_sentence,
    field_problems,
    sentences,
)
from services.vmh_sync.notification.texts import LABELS, task_description, task_title
from services.vmh_sync.problem_texts.adressen import TEXTS

ROW = {
    "id": "6b0473a32660ab138",
    "adresseStreet": "Weg 1",
    "adressePostalCode": "30159",
    "adresseCity": "Ulm",
}
OBSERVED: Any = Observation(
    "b1",
    {"betNr": 1001, "vorname": "Max", "name": "Müller"},
    {},
    [],
    [],
    {},
    "both",
    None,
)  # type: ignore[arg-type]
REASONS = [
    name.removeprefix("address_")
    for name, text in TEXTS.items()
    if "ADR-04" <= text.code <= "ADR-14"
]
JARGON = re.compile(
    r"address|adresse[A-Z]|CAdressen|Unknown|None|\{|espocrm_|unknown|6b0473a3|PUT|API"
)


@pytest.mark.parametrize("reason", ["read_only", *REASONS])
def test_a_task_names_whose_address_which_value_and_what_to_do(reason: str) -> None:
    item = {
        **pair_to_json(Pair("Celle", "Peine")),
        "reason": reason,
        "since": "2026-02-10T09:00:00+00:00",
    }
    (problem,) = field_problems(OBSERVED, ROW, {"ort": item})
    title, text = task_title(problem), task_description(problem)
    assert "Weg 1, 30159 Ulm" in title
    for word in ("Max Müller", "1001", "Ort", "Celle", "Peine", "1. ", "2. "):
        assert word in text
    assert not JARGON.search(title + text), text
    (sentence,) = sentences([problem])
    assert re.search(r"\(ADR-\d\d\)\.$", sentence)


def test_every_field_has_a_name_that_people_know() -> None:
    assert {*FIELDS, "anschrift", "standardAnschrift"} <= LABELS.keys()


def test_a_value_that_no_one_could_read_is_described() -> None:
    item = {
        **pair_to_json(Pair("Hinterhaus", NOT_SHOWN)),
        "reason": "block",
        "since": "2026-02-10T09:00:00+00:00",
    }
    (problem,) = field_problems(OBSERVED, ROW, {"weitereZeilen": item})
    assert "alt „nicht erkennbar“, neu „Hinterhaus“" in task_description(problem)


def test_codes_are_unique() -> None:
    codes = [text.code for text in TEXTS.values()]
    assert len(codes) == len(set(codes))


def test_a_failure_is_one_sentence_with_its_code() -> None:
    sentence = failure_sentence(
        "address_failed", adresse="Weg 1, 30159 Ulm", value="Fehler im Programm"
    )
    assert (
        sentence
        == "Die Adresse „Weg 1, 30159 Ulm“ wurde nicht abgeglichen: Fehler im Programm (ADR-20)."
    )
