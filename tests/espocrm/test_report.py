"""The report in docs/espocrm.md: nothing untried looks tried, and a second run replaces the first."""

from __future__ import annotations

import re

from report import HERE, SENTENCES, Case, make_table, with_report


def rows_of(*cases: Case) -> tuple[dict[str, str], bool]:
    """The result of each sentence, and whether all is well."""
    rows, is_well = make_table(list(cases))
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[2:]]
    return {text: result for _, text, _, result in cells}, is_well


def test_report_says_what_was_not_tried_what_failed_and_what_fits_nowhere() -> None:
    results, is_well = rows_of(
        Case("people", "merging_keeps_the_number", "passed"),
        Case("people", "merging_reports_the_other", "failed"),
        Case("setup", "one_command_sets_up", "skipped"),
        Case("other", "something_new", "passed"),
    )
    assert not is_well
    assert results["merge: the survivor keeps its number"] == "1 failed, 1 passed"
    assert results["set-up in one command, repeated without a change"] == "1 skipped"
    assert results["GDPR erase"] == "**no test here**"
    assert results["further cases"] == "1 passed"


def test_report_is_well_only_if_every_sentence_was_tried() -> None:
    words = (
        *(
            "no_echo",
            "two_calls",
            "shared_rows",
            "meets_a_conflict",
            "status_only",
            "key",
        ),
        *("merge", "restore", "gdpr", "mass", "webhooks_report"),
        *("task", "iban", "belongs_to", "called_by", "filters"),
        *(
            "one_command",
            "upgrade",
            "uninstall",
            "login_log",
            "type_that_advoware_cannot",
        ),
    )
    cases = [Case("write_action", word, "passed") for word in words]
    cases.append(Case("actions", "the_users_right_counts", "passed"))
    assert len(cases) == len(SENTENCES)
    assert rows_of(*cases)[1]
    assert not rows_of(*cases[1:])[1]


def test_report_of_a_version_replaces_the_one_before_and_leaves_the_rest() -> None:
    text = with_report("# EspoCRM\n\nText.\n", "8.4.2", "alt")
    text = with_report(text, "9.1.7", "andere")
    new = with_report(text, "8.4.2", "neu")
    assert new == text.replace("alt", "neu")
    assert new.startswith("# EspoCRM\n\nText.\n\n## Tried")
    assert with_report(new, "8.4.2", "neu") == new


def test_report_has_a_test_for_each_sentence() -> None:
    names = [
        f"{file.stem.removeprefix('test_')}::{name}"
        for file in HERE.glob("test_*.py")
        for name in re.findall(r"^async def test_(\w+)", file.read_text(), re.MULTILINE)
    ]
    for _, text, pattern in SENTENCES:
        assert any(re.search(pattern, name) for name in names), text
