"""What people in the office read: complete, German, without the words of programs."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from config import PROJECT_ROOT
from services.adressen_mapper import AdressenMapper
from services.bankverbindungen_mapper import ATTRIBUTES, FIELDS, OPTIONAL
from services.core import errors
from services.core.errors import (
    BitByLawError,
    ForeignSystemError,
    InvalidInput,
    NeedsPerson,
    ValidationFailed,
)
from services.espocrm_mapper import COMPANY_FIELDS, PERSON_FIELDS
from services.vmh_sync.notification.texts import (
    INVISIBLE,
    failure_sentence,
    problem_sentence,
    task_description,
    task_title,
    withdrawn_description,
)
from services.vmh_sync.problem_texts import CATALOGUE
from services.vmh_sync.problem_texts.bankverbindungen import SETTLED
from services.vmh_sync.problem_texts.failures import FAILURES
from services.vmh_sync.problem_texts.labels import LABELS
from services.vmh_sync.problem_texts.text import FIELD_REASONS
from services.vmh_sync.result import ActionType, Details, Problem

SERVICES = PROJECT_ROOT / "services"
STRUCTURE = {"fields", "further", "reason", "records", "since"}
#: Ids that identify an entry for us; people are not shown them.
HIDDEN = {"kommunikationId"}
ENGLISH = re.compile(
    r"\b(the|and|not|is|of|to|for|with|failed|failure|error|missing|invalid|record|sync|field|value|update|deleted?|"
    r"conflict|answered|unexpected|see|log|belongs|needs|longer|than|cannot|be|reached|unknown|empty|changed|entity|"
    r"takes|refused|timeout|unavailable|request|status)\b"
)
SAMPLE: dict[str, Any] = {
    "betnr": "1001",
    "name": "Max Müller",
    "adresse": "Lange Straße 5, 30159 Hannover",
    "konto": "Coba ****3000",
    "value": "0511 1234",
    "fields": [
        {
            "field": "kontoinhaber",
            "old": None,
            "new": "Erika Muster",
            "reason": "too_long",
        },
        {"field": "gueltigBis", "old": "2030-12-31", "new": ""},
        {"field": "standardAnschrift", "old": True, "new": False},
    ],
    "records": [
        {"betnr": "1001", "name": "Max Müller"},
        {"betnr": 1002, "name": None},
        {},
    ],
    "since": datetime(2026, 11, 23, 17, tzinfo=UTC).isoformat(),
}
SAMPLES = (
    SAMPLE,
    {},
    {"betnr": "1001"},
    dict.fromkeys(SAMPLE),
    {"name": "Bo", "betnr": 7},
)


def problem(reason: str, details: dict[str, Any]) -> Problem:
    return Problem(
        "general_manual_action",
        "CBeteiligte",
        "6b0473a32660ab101",
        "k",
        Details.from_json({**details, "reason": reason}),
    )


def assert_readable(text: str) -> None:
    assert "None" not in text
    assert not re.search(r"[{}]|\[|\]|„“| {2,}| [.,;:]| $", text.replace("\n", "⏎")), (
        text
    )
    assert not re.search(r"\b[a-z]+[A-Z]\w*|\b\w+_\w+|\bC[A-Z][a-z]+", text), text
    assert not ENGLISH.search(text.casefold()), text


@pytest.mark.parametrize("reason", CATALOGUE)
def test_every_text_is_complete_and_german(reason: str) -> None:
    for details in SAMPLES:
        reported = problem(reason, details)
        title, sentence = task_title(reported), problem_sentence(reported)
        assert title
        assert len(sentence) <= 200
        assert re.search(
            rf"[^ .:]  ?\({CATALOGUE[reason].code}\)\.$".replace("  ?", " "), sentence
        )
        for text in (
            title,
            sentence,
            task_description(reported),
            withdrawn_description(task_description(reported), SETTLED),
        ):
            assert_readable(text)


@pytest.mark.parametrize("reason", CATALOGUE)
def test_every_task_names_person_number_and_code(reason: str) -> None:
    text = task_title(problem(reason, SAMPLE)) + task_description(
        problem(reason, SAMPLE)
    )
    for part in ("Max Müller", "1001", CATALOGUE[reason].code):
        assert part in text


def test_codes_are_unique_and_of_one_shape() -> None:
    codes = [text.code for text in CATALOGUE.values()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[A-Z]{3}-\d{2}", code) for code in codes)


# -- failures -------------------------------------------------------------------------------------------------------


def all_errors() -> Iterator[Exception]:
    kinds = [
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, Exception)
    ]
    for kind in kinds:
        if kind is errors.NotBefore:
            yield kind("an interrupted request", datetime(2026, 1, 1, tzinfo=UTC))
            continue
        if not issubclass(kind, ForeignSystemError):
            yield kind("betnr: 1001 belongs to another record, CBeteiligte/6b04")
            continue
        for system in ("Advoware", "EspoCRM", "Google Calendar", "Redis", "PostgreSQL"):
            yield kind(
                system,
                "Field validation failure; entityType: CBeteiligte, field: lastName",
                status=400,
            )
            yield kind(system)


def test_every_failure_has_a_german_sentence_with_a_code() -> None:
    for error in [*all_errors(), KeyError("betNr"), RecursionError(), ValueError("x")]:
        sentence = failure_sentence(error)
        assert re.search(r"[^ .] \((SYS|BET)-\d{2}\)\.$", sentence)
        assert len(sentence) <= 200
        assert_readable(sentence)


def test_each_code_stands_for_one_kind_of_failure() -> None:
    codes = {failure.code for failure in FAILURES}
    assert (
        len(codes) == len(FAILURES) - 3
    )  # a refused login, a wrong set-up and a request that was not executed have two classes
    assert not codes & {text.code for text in CATALOGUE.values()}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            ValidationFailed("Advoware", "Das Feld 'kontoinhaber' darf höchstens 250 Zeichen lang sein.", status=400),
            "Advoware lehnt die Angabe im Feld „Kontoinhaber“ ab; bitte die Angabe prüfen (SYS-07).",
        ),
        (
            ValidationFailed("EspoCRM", "Field validation failure; entityType: CBeteiligte, field: lastName, type: x"),
            "EspoCRM lehnt die Angabe im Feld „Nachname“ ab; bitte die Angabe prüfen (SYS-07).",
        ),
        (
            ValidationFailed("Advoware", "Max Müller ist 'secretField'", status=400),
            "Advoware lehnt die Angaben ab; bitte die Angaben prüfen (SYS-07).",
        ),
        (
            InvalidInput("lastName or firmenname: a Beteiligter needs a name"),
            "Die Angabe im Feld „Nachname“ ist so nicht verwendbar; bitte die Angabe prüfen (SYS-13).",
        ),
        (KeyError("betNr"), "Der Abgleich ist auf einen Fehler im Programm gestoßen; bitte die EDV-Betreuung "
         "benachrichtigen (SYS-99)."),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field_and_repeats_nothing_else(
    error: Exception, sentence: str
) -> None:
    assert failure_sentence(error) == sentence


def test_every_error_of_the_program_is_known_by_its_own_class() -> None:
    own = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, BitByLawError)
    }
    assert {kind for kind in own if not issubclass(kind, NeedsPerson)} <= {
        failure.kind for failure in FAILURES
    }
    assert {
        kind.reason for kind in own if issubclass(kind, NeedsPerson)
    } <= CATALOGUE.keys()


# -- in step with the code ------------------------------------------------------------------------------------------


#: What takes a word of the catalogue, as its first argument or as ``reason``.
TAKES_REASON = frozenset({"Details", "failure_sentence", "part_error", "problem"})


def calls(names: Collection[str]) -> Iterator[ast.Call]:
    """All calls of functions with one of these names in services/."""
    for path in SERVICES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names:
                yield node


def reasons_used() -> set[str]:
    """The words of the catalogue that the code names."""
    used = set()
    for call in calls(TAKES_REASON):
        named = [item.value for item in call.keywords if item.arg == "reason"]
        for argument in (*call.args[:1], *named):
            if isinstance(argument, ast.Constant):
                used.add(argument.value)
    return used


def further_labels() -> set[str]:
    """The names under which the code lists further details."""
    labels = set()
    for call in calls({"Details", "replace"}):
        for item in call.keywords:
            if item.arg == "further" and isinstance(item.value, ast.Dict):
                labels |= {
                    key.value
                    for key in item.value.keys
                    if isinstance(key, ast.Constant)
                }
    return labels


def test_every_reason_that_the_code_uses_is_in_the_catalogue() -> None:
    banks = {
        node.value
        for path in SERVICES.glob("bankverbindungen_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
        and re.fullmatch(r"bank_[a-z_]*[a-z]", str(node.value))
    } - {"bank_invalid"}  # the key of an earlier version
    used = reasons_used()
    assert {"deleted", "gave_up", "kom_not_shown"} <= used
    assert used | banks <= CATALOGUE.keys()
    assert banks
    assert set(get_args(ActionType)) <= CATALOGUE.keys()


def test_every_detail_and_field_that_the_code_uses_has_a_label() -> None:
    assert "Fehler" in further_labels()
    details = {item.name for item in dataclasses.fields(Details)} | further_labels()
    adresse = AdressenMapper().comparable_from_advoware({}).keys() | {
        "strasse",
        "plz",
        "ort",
    }
    master = {
        *PERSON_FIELDS,
        *PERSON_FIELDS.values(),
        *COMPANY_FIELDS,
        *COMPANY_FIELDS.values(),
        "rechtsform",
    }
    fields = {*FIELDS, *OPTIONAL, *ATTRIBUTES.values(), *adresse, *master}
    unlabelled = (details | fields) - STRUCTURE - HIDDEN - LABELS.keys()
    assert not {name for name in unlabelled if not name[:1].isupper()}


# -- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hidden", ["\u200b", "\u202e", "\ufeff", "\u00ad", "\x00", "\x85"]
)
def test_characters_that_no_one_sees_are_named(hidden: str) -> None:
    fields = [{"field": "iban", "old": f"{hidden}x", "new": "y"}]
    samples = ({"value": f"0511{hidden}{hidden}1234"}, {"fields": fields})
    text = "".join(
        task_description(problem("bank_changed", details)) for details in samples
    )
    assert hidden not in text
    assert f"Wert: 0511{INVISIBLE}1234" in text
    assert f"- IBAN: alt „{INVISIBLE}x“, neu „y“" in text


def test_values_with_braces_line_breaks_and_quotes_do_not_disturb_the_text() -> None:
    details = {
        "konto": "{betnr} {0} %s",
        "name": "A „B“ {",
        "fields": [{"field": "iban", "old": "a\nb", "new": "{x}"}],
    }
    reported = problem("bank_changed", details)
    assert task_title(reported) == "Bankverbindung stimmt nicht überein: {betnr} {0} %s"
    assert "alt „a / b“, neu „{x}“" in task_description(reported)


def test_what_has_no_label_is_not_shown() -> None:
    text = task_description(
        problem("bank_changed", {"kommunikationId": 9001, "espoId": "6b04"})
    )
    assert "9001" not in text
    assert "6b04" not in text


def test_a_long_title_is_cut_and_a_long_list_is_whole() -> None:
    records = [{"betnr": number, "name": f"Person {number}"} for number in range(300)]
    reported = problem("deleted_many", {"records": records})
    assert task_title(reported) == "300 Beteiligte wurden in EspoCRM gelöscht"
    assert task_description(reported).count("\n- Person") == 300
    assert len(task_title(problem("bank_changed", {"konto": "x" * 400}))) == 255


def test_the_reasons_of_single_fields_are_german() -> None:
    for text in FIELD_REASONS.values():
        assert_readable(text)
