"""Known vulnerabilities of the pinned dependencies: ``make audit-dependencies``.

pip-audit asks a public service about every line of both lock files. A finding fails unless
``tools/known-vulnerabilities.toml`` says why it does no harm here, and since when. Where no service can be reached
nothing fails, and the last line says NOT CHECKED.
"""

from __future__ import annotations

import argparse
import json
import subprocess  # nosec B404  # it starts pip-audit
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")
SERVICES = ("pypi", "osv")
KNOWN = ROOT / "tools" / "known-vulnerabilities.toml"
#: After this time an explanation has to be looked at again.
EXPLAINED_FOR = timedelta(days=180)
SECONDS = 120.0


@dataclass(frozen=True)
class Finding:
    """A dependency with a known vulnerability; ``ids`` are its names in all catalogues."""

    package: str
    version: str
    ids: frozenset[str]

    def __str__(self) -> str:
        return f"{self.package} {self.version}: {', '.join(sorted(self.ids))}"


@dataclass(frozen=True)
class Explanation:
    """Why a vulnerability does no harm here, and when that was found."""

    id: str
    reason: str
    since: date


def findings(report: dict[str, Any]) -> list[Finding] | None:
    """What a report of pip-audit has found; None if the service knew none of the dependencies."""
    dependencies = report["dependencies"]
    if all("skip_reason" in dependency for dependency in dependencies):
        return None
    return [
        Finding(
            dependency["name"],
            dependency["version"],
            frozenset([found["id"], *found.get("aliases", ())]),
        )
        for dependency in dependencies
        for found in dependency.get("vulns", ())
    ]


def unexplained(
    found: list[Finding],
    known: list[Explanation],
    today: date,
) -> Iterator[str]:
    """What has to be done: about findings without an explanation, and about old explanations."""
    explained = {one.id for one in known}
    for finding in found:
        if not finding.ids & explained:
            yield f"{finding}: update it, or explain it in {KNOWN.relative_to(ROOT)}"
    for one in known:
        if today - one.since > EXPLAINED_FOR:
            yield f"{one.id}: explained on {one.since}; look whether that still holds"


def explanations(path: Path) -> list[Explanation]:
    """The explanations in a file: ``[[known]]`` with ``id``, ``reason`` and ``since``, all of them needed."""
    entries = tomllib.loads(path.read_text("utf-8")).get("known", [])
    return [Explanation(**entry) for entry in entries]


def ask() -> dict[str, Any] | None:
    """The report of the first service that answers; None: none can be reached."""
    for service in SERVICES:
        answer = _answer_of(service)
        report: dict[str, Any] | None = json.loads(answer) if answer.strip() else None
        if report is not None and findings(report) is not None:
            return report
    return None


def _answer_of(service: str) -> str:
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--format", "json"]
    command += ["--progress-spinner", "off", "--timeout", "15"]
    command += ["--vulnerability-service", service]
    for lock in LOCKS:
        command += ["--requirement", str(ROOT / lock)]
    try:
        return subprocess.run(  # noqa: S603 - pip-audit
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        ).stdout
    except subprocess.TimeoutExpired:
        return ""


def main() -> int:
    """Print what was found; status 1 if there is something to do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, help="judge this report of pip-audit")
    parser.add_argument("--known", type=Path, default=KNOWN)
    given = parser.parse_args()
    report = json.loads(given.report.read_text()) if given.report else ask()
    found = findings(report) if report else None
    if found is None:
        print("NOT CHECKED: no service that knows vulnerabilities can be reached")
        return 0
    problems = list(unexplained(found, explanations(given.known), date.today()))  # noqa: DTZ011
    for problem in problems:
        print(problem)
    print(f"dependencies: {len(found)} known vulnerabilities, {len(problems)} to do")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
