"""What crons, board and audit read does not grow with the number of records (`make curves`). No time is asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.curves import BEGIN, END, Cost, costs, fill, table, write_document
from config import PROJECT_ROOT
from services.core.resources import Resources
from services.operate.sources import Sources

RECORDS = 20_000
#: A page, one employee's pairs, a day's work: far from all of the records.
FEW = 4_000
#: Counts all pairs, when a user asks for that; the list of employees counts those of the 50 that it shows.
COUNTS_MANY = {"audit: numbers of all employees", "board: calendars"}


@pytest.mark.timeout(120)
async def test_nothing_is_read_whole_to_find_what_has_changed(
    resources: Resources,
) -> None:
    pool = await resources.database()
    await fill(pool, RECORDS)
    sources = Sources(resources.settings, resources=resources)
    found = await costs(sources, pool)
    whole = {name for name, cost in found.items() if cost.rows > FEW}
    if whole - COUNTS_MANY:
        # PostgreSQL plans by a sample of the rows, which is another one each time, and by what was cleaned up before.
        await pool.execute("VACUUM ANALYZE")
        again = await costs(sources, pool)
        whole = {name for name in whole if again[name].rows > FEW}
    assert whole - COUNTS_MANY == set()
    assert found["one calendar: its pairs"].rows >= 400


def test_the_table_goes_between_the_marks(tmp_path: Path) -> None:
    document = tmp_path / "scaling.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    lines = table({"a page": {10: Cost(0.5, 10), 100: Cost(0.6, 20)}}, (10, 100))
    write_document(lines, document)
    text = document.read_text()
    assert "| a page | 0.5 | 0.6 | 10 | 20 | x 2 |" in text
    assert text.startswith(f"before\n{BEGIN}")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text


def test_the_documents_marks_are_there() -> None:
    text = (PROJECT_ROOT / "docs" / "scaling.md").read_text("utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
