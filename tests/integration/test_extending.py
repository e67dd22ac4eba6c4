"""docs/extending.md is true: its example of a new field, made in a copy of the project, syncs in both directions."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = (
    "cli",
    "config.py",
    "db",
    "espocrm-extension",
    "local_engine",
    "pyproject.toml",
    "sandbox",
    "services",
    "steps",
    "tests",
)
TESTS = ("tests/integration/test_new_field.py", "tests/unit/test_espocrm_extension.py")
#: Where the product is; the twins and the extension share no code with it.
PRODUCT = frozenset({"cli", "config.py", "db", "local_engine", "services", "steps"})
BLOCK = re.compile(r"```diff (\S+)\n(.*?)```", re.DOTALL)
#: What whoever adds a field would write about it.
NEW_TEST = """\
from beteiligte_office import Office, office

__all__ = ["office"]


async def test_the_birth_name_syncs_in_both_directions(office: Office) -> None:
    entity_id, betnr = await office.linked_person(geburtsname="Alt")
    assert office.in_advoware(betnr)["geburtsname"] == "Alt"

    await office.edit_espocrm(entity_id, geburtsname="Neu")
    await office.sync(entity_id)
    assert office.in_advoware(betnr)["geburtsname"] == "Neu"

    await office.edit_advoware(betnr, geburtsname="Neuer")
    await office.sync(entity_id)
    assert (await office.in_espocrm(entity_id))["geburtsname"] == "Neuer"
    assert (await office.sync(entity_id)).result == "no_change"
"""


def _changed(text: str, block: str) -> str:
    """The text of a file with the lines of a block inserted where its context stands, which must be one place."""
    lines = block.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line.startswith(" "))
    after = "".join(line[1:] for line in lines)
    assert text.count(before) == 1, before
    return text.replace(before, after)


def _copy_of_the_project(target: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, target / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(source, target / name)


def test_a_new_field_needs_the_changes_of_the_documentation_and_no_others(
    tmp_path: Path,
) -> None:
    _copy_of_the_project(tmp_path)
    blocks = BLOCK.findall((ROOT / "docs" / "extending.md").read_text("utf-8"))
    product = [name for name, _ in blocks if name.partition("/")[0] in PRODUCT]
    assert product == ["services/espocrm_mapper.py"]
    for name, block in blocks:
        path = tmp_path / name
        path.write_text(_changed(path.read_text("utf-8"), block), "utf-8")
    (tmp_path / "tests/integration/test_new_field.py").write_text(NEW_TEST, "utf-8")

    options = ["--quiet", "--numprocesses", "0", "-p", "no:cacheprovider"]
    run = subprocess.run(  # noqa: S603  # the interpreter that runs this test
        [sys.executable, "-m", "pytest", *options, *TESTS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert len(blocks) >= 7
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
