"""Drives a real EspoCRM through all cases and writes what came out into docs/espocrm.md: ``make espocrm-report``.

The EspoCRM is given by the environment, see conftest.py; never name a live one. The report of another version that is
in the document already stays. Exit status 0 if every test passed and every sentence has one.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from espocrm_rest import NAMES, Rest

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "espocrm.md"
BEGIN, END = (
    "<!-- report {version} begins, written by make espocrm-report -->",
    "<!-- report {version} ends -->",
)
HEADING = "## Tried on real EspoCRMs"

#: What users meet (specification 13, "EspoCRM"), and which tests cover it, by a regular expression on module and name
#: ("forms::beteiligte_come_first"). A test counts for the first sentence that fits, a later one takes what is left.
SENTENCES = (
    (
        "1",
        "a sync causes no event, no note, no change of who modified",
        r"no_echo|no_event|no_note|no_change_by_a_perso",
    ),
    ("1", "two calls for a record with all that belongs to it", r"two_calls"),
    (
        "1",
        "contact rows keep the flags that people have set",
        r"shared_rows|a_row_of|deleted_record_shares",
    ),
    (
        "2",
        "an open form meets EspoCRM's own conflict dialog",
        r"meets_a_conflict|is_past_is_a_conflict",
    ),
    ("1", "status is no version", r"no_new_version|as_a_version|status_only"),
    (
        "1",
        "one call, one transaction, once per key",
        r"write_action::.*(key|refused|malformed|offers|duplicate|not_found)",
    ),
    ("3", "merge: the survivor keeps its number", r"merg|survivor|gives_way"),
    ("3", "restore and revert import", r"restor|revert|import"),
    ("3", "GDPR erase", r"eras|gdpr"),
    ("3", "mass deletion, mass update", r"mass"),
    ("3", "webhooks report what people do", r"webhooks_report"),
    (
        "5",
        "names, lengths, bank details are reported clearly",
        r"cannot_save|name_cannot|iban|bic|small_letters|sync_may",
    ),
    (
        "5",
        "relate, unrelate, remove and move mark the Beteiligter",
        r"belongs_to|comes_goes|still_waits|relat",
    ),
    ("5", "an address is named by street and place", r"called_by"),
    (
        "6",
        "order, filters, navigation, search",
        r"alphabetical|filters|first_in_the_bar|types_a_part",
    ),
    ("6", "buttons: reconcile now, preview, create again", r"actions::"),
    ("7", "set-up in one command, repeated without a change", r"one_command"),
    ("7", "upgrade keeps what an administrator has changed", r"upgrade"),
    ("7", "uninstalling leaves no dead ends, records stay", r"uninstall"),
    ("7", "our looks leave no rows in the login log", r"login_log"),
    ("8", "a phone type that Advoware cannot change", r"type_that_advoware_cannot"),
    ("4", "tasks: who gets them, life cycle, withdrawal", r"task|deletion"),
)
FURTHER = ("", "further cases", r"")


@dataclass(frozen=True)
class Case:
    """One test as it came out: ``passed``, ``failed`` or ``skipped``."""

    module: str
    name: str
    result: str


def run_tests() -> list[Case]:
    """All tests of this folder against the real EspoCRM. No name decides what runs, only what counts."""
    with tempfile.TemporaryDirectory() as directory:
        result = Path(directory) / "result.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            str(HERE),
            f"--ignore={HERE / 'test_report.py'}",
            "-q",
            f"--junitxml={result}",
        ]
        subprocess.run(  # noqa: S603 - own
            [*command, "--numprocesses", "0"], check=False, cwd=HERE.parents[1]
        )
        found = ElementTree.parse(result).iter("testcase")  # noqa: S314 - own
        return [_case(case) for case in found if "[twin" not in case.attrib["name"]]


def _case(found: ElementTree.Element) -> Case:
    parts = {part.tag for part in found}
    result = (
        "failed"
        if parts & {"failure", "error"}
        else "skipped"
        if "skipped" in parts
        else "passed"
    )
    module = found.attrib["classname"].rpartition(".")[2].removeprefix("test_")
    return Case(
        module, found.attrib["name"].partition("[")[0].removeprefix("test_"), result
    )


def make_table(cases: list[Case]) -> tuple[list[str], bool]:
    """The rows of the table, and whether every sentence was tried and nothing failed."""
    by_sentence: dict[tuple[str, str, str], list[Case]] = {
        sentence: [] for sentence in (*SENTENCES, FURTHER)
    }
    for case in cases:
        fitting = (
            sentence
            for sentence in by_sentence
            if re.search(sentence[2], f"{case.module}::{case.name}")
        )
        by_sentence[next(fitting)].append(case)
    rows = ["| 13 | what users meet | tests | result |", "|---|---|---|---|"]
    is_well = True
    for sentence, found in sorted(
        by_sentence.items(), key=lambda item: item[0][0] or "9"
    ):
        if sentence is FURTHER and not found:
            continue
        point, text, _ = sentence
        counts = Counter(case.result for case in found)
        is_well = is_well and set(counts) <= {"passed"} and bool(found)
        result = (
            ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
            or "**no test here**"
        )
        names = ", ".join(
            f"`{name}`" for name in dict.fromkeys(case.name for case in found)
        )
        rows.append(f"| {point} | {text} | {names} | {result} |")
    return rows, is_well


async def describe(url: str, user: str, password: str) -> tuple[str, str]:
    """EspoCRM's version, and a line about what was tried."""
    async with Rest.as_user(url, user, password) as admin:
        version = str((await admin.get("Settings"))["version"])
        extensions = (await admin.get("Extension"))["list"]
        requirements = await admin.get("Admin/action/systemRequirementList")
    php = requirements.get("php", {}).get("requiredPhpVersion", {}).get("actual", "?")
    installed = next(
        (
            row["version"]
            for row in extensions
            if row["name"] == "BitByLaw" and row["isInstalled"]
        ),
        "none",
    )
    return (
        version,
        f"EspoCRM {version} with PHP {php}, extension {installed}, {datetime.now(UTC):%Y-%m-%d}",
    )


def with_report(text: str, version: str, report: str) -> str:
    """The document with the report of one version put in, in place of an older one of the same version."""
    begin, end = BEGIN.format(version=version), END.format(version=version)
    block = f"{begin}\n{report}\n{end}"
    if begin in text:
        before, _, rest = text.partition(begin)
        return before + block + rest.partition(end)[2]
    if HEADING not in text:
        text = f"{text.rstrip()}\n\n{HEADING}\n"
    return f"{text.rstrip()}\n\n{block}\n"


def main() -> int:
    """Run, write, say how it was."""
    url, user, password = (os.environ.get(name, "") for name in NAMES)
    if not (url and user and password):
        print(f"NOT TRIED: there is no real EspoCRM here; set {', '.join(NAMES)}.")  # noqa: T201 - a program
        return 1
    cases = run_tests()
    version, line = asyncio.run(describe(url, user, password))
    rows, is_well = make_table(cases)
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(
        with_report(text, version, "\n".join([f"### {line}", "", *rows])),
        encoding="utf-8",
    )
    print("\n".join([line, *rows]))  # noqa: T201 - a program
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
