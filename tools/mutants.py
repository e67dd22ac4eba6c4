"""Mutation testing: ``python tools/mutants.py services/values/merge.py``.

mutmut changes the named files in one small way at a time, in a copy of the project, and runs the unit tests that reach
the change. A mutant that no test notices survives: either a test is missing, or the change makes no difference.
docs/testing.md has the scores of the last runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess  # nosec B404  # it starts mutmut
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".local" / "mutants"
COPIED = ("cli", "db", "local_engine", "sandbox", "services", "steps", "tests")
FILES = ("config.py", "pyproject.toml")
#: Which unit tests look at a file: the first prefix that fits.
TESTS = (
    ("services/values/merge.py", ("merge", "espocrm_mapper")),
    (
        "services/values/kommunikation.py",
        ("kommunikation_values", "kommunikation_mapper"),
    ),
    ("services/values/", ("espocrm_mapper", "adressen_mapper", "adressen_plan")),
    ("services/espocrm_mapper.py", ("espocrm_mapper",)),
    (
        "services/kommunikation_mapper.py",
        ("kommunikation_mapper", "kommunikation_hostile", "kommunikation_values"),
    ),
    ("services/adressen_mapper.py", ("adressen_mapper", "adressen_plan")),
    (
        "services/bankverbindungen_mapper.py",
        ("bankverbindungen_mapper", "bankverbindungen_plan"),
    ),
    ("services/vmh_sync/adressen/", ("adressen_plan", "adressen_problems")),
    ("services/vmh_sync/bankverbindungen/", ("bankverbindungen_plan",)),
    (
        "services/vmh_sync/kommunikation/",
        ("kommunikation_mapper", "kommunikation_hostile"),
    ),
    ("services/vmh_sync/", ("problem_texts", "espocrm_mapper")),
    (
        "services/calendar_sync/",
        (
            "calendar_plan",
            "calendar_mapping",
            "calendar_translation",
            "calendar_reading",
            "calendar_description",
        ),
    ),
)


def tests_of(path: str) -> list[str]:
    """The unit tests that look at a file."""
    for prefix, names in TESTS:
        if path.startswith(prefix):
            return [f"tests/unit/test_{name}.py" for name in names]
    return ["tests/unit"]


def prepare(paths: Iterable[str], tests: Iterable[str]) -> None:
    """Make a fresh copy of the project with mutmut's settings."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        shutil.copytree(ROOT / name, WORK / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, WORK / name)
    only = [
        f"{path.rstrip('/')}/*" if not path.endswith(".py") else path for path in paths
    ]
    others = [name for name in COPIED if name not in {"services", "tests"}]
    lines = [
        "[mutmut]",
        "source_paths=services/",
        _setting("only_mutate", only),
        _setting("also_copy", [*others, "config.py"]),
        _setting(
            "pytest_add_cli_args",
            ["--numprocesses=0", "--override-ini=timeout=0"],
        ),
        _setting("pytest_add_cli_args_test_selection", sorted(set(tests))),
    ]
    (WORK / "setup.cfg").write_text("\n".join(lines) + "\n", "utf-8")


def _setting(name: str, values: Iterable[str]) -> str:
    return "\n    ".join([f"{name}=", *values])


def run(minutes: float) -> None:
    """Run mutmut; what is not done after so many minutes stays undone."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "2"]
    try:
        subprocess.run(command, cwd=WORK, timeout=60 * minutes, check=False)  # noqa: S603 - a tool of this project
    except subprocess.TimeoutExpired:
        print(f"\nStopped after {minutes:g} minutes.")


def report() -> int:
    """Print the score and the survivors; 0 if there is a score."""
    _mutmut("export-cicd-stats")
    path = WORK / "mutants" / "mutmut-cicd-stats.json"
    if not path.exists():
        print("mutmut has left no result.")
        return 1
    stats = json.loads(path.read_text("utf-8"))
    noticed = stats["killed"] + stats["timeout"]
    judged = noticed + stats["survived"] + stats.get("no_tests", 0)
    score = 100 * noticed / max(judged, 1)
    print(f"Score: {score:.0f} % ({noticed} of {judged} mutants noticed). {stats}")
    print(_mutmut("results"))
    print(f"To see one: cd {WORK.relative_to(ROOT)} && mutmut show NAME")
    return 0


def _mutmut(*arguments: str) -> str:
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(  # noqa: S603 - a tool of this project
        command,
        cwd=WORK,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def main() -> int:
    """Mutate the named files and print how many of the mutants the tests notice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", help="files or folders below services/")
    parser.add_argument("--tests", default="", help="other tests than the usual ones")
    parser.add_argument("--minutes", type=float, default=30)
    arguments = parser.parse_args()
    tests = arguments.tests.split()
    if not tests:
        tests = [test for path in arguments.paths for test in tests_of(path)]
    prepare(arguments.paths, tests)
    run(arguments.minutes)
    return report()


if __name__ == "__main__":
    sys.exit(main())
