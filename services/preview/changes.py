"""What a rehearsal has found: each record before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """What would become of one record.

    Attributes:
        kind: EspoCRM's entity type, or Advoware's ``Beteiligte``, ``Kommunikationen``, ``Adressen``,
            ``Bankverbindungen``, ``Termine``; of the calendar system ``calendar``, ``event``, ``rule``.
        before: the record as it was read; None if it would be created.
        after: the record as it would be, as far as it is known; empty if it would be deleted.
    """

    system: str
    kind: str
    record_id: str
    before: Record | None
    after: Record
