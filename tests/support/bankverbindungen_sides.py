"""The CBankverbindungen of a CBeteiligte and the Bankverbindungen of his Beteiligter in memory, and a sync of the plan.

Both systems store what they are sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.bankverbindungen_mapper import (
    ATTRIBUTES,
    FIELDS,
    BankverbindungenMapper,
    UnusableAccount,
    konten_of,
)
from services.vmh_sync.bankverbindungen.plan import (
    HINT,
    Observation,
    Settle,
    deleted_problem,
    find_konto,
    is_active,
    settle,
    settle_gone,
    shown_status,
    unusable_problem,
)
from services.vmh_sync.result import Problem
from services.vmh_sync.store import SyncState

Record = dict[str, Any]
_mapper = BankverbindungenMapper()


@dataclass
class BankSides:
    """Both sides; ``gone`` and ``removed`` are what people have deleted, and may restore."""

    rows: dict[str, Record] = field(default_factory=dict)
    gone: dict[str, Record] = field(default_factory=dict)
    konten: list[Record] = field(default_factory=list)
    removed: list[Record] = field(default_factory=list)
    states: dict[str, SyncState] = field(default_factory=dict)
    now: datetime = datetime(2026, 2, 10, 9, tzinfo=UTC)
    counted: int = 0
    problems: list[Problem] = field(default_factory=list)
    lines: list[Any] = field(default_factory=list)
    writes: int = 0

    def _next(self) -> int:
        self.counted += 1
        return self.counted

    def new_row(self, **values: Any) -> Record:
        row = {
            "id": f"r{self._next()}",
            **dict.fromkeys(ATTRIBUTES.values()),
            "istAktiv": True,
            HINT: None,
            "syncStatus": "pending_sync",
            "advowareKontoId": None,
            **values,
        }
        self.rows[row["id"]] = row
        return row

    def new_konto(self, **values: Any) -> Record:
        number = self._next()
        fields = dict.fromkeys((*FIELDS, "kontoNr", "blz"))
        konto = {"id": 7000 + number, "rowId": f"R{number}", **fields, **values}
        self.konten.append(konto)
        return konto

    def sync(self, hidden: Mapping[int, Record] | None = None) -> None:
        """One run; ``hidden`` overlays what Advoware answers of each Bankverbindung (``...``: the key is missing)."""
        self.now += timedelta(days=1)
        self.problems, self.lines, self.writes = [], [], 0
        observed = self._observe(hidden or {})
        for row in list(self.rows.values()):
            self._sync_row(observed, row)
        for name, state in list(observed.states.items()):
            if name not in self.rows:
                self._remember_deleted(observed, state)

    def _observe(self, hidden: Mapping[int, Record]) -> Observation:
        shown = []
        for at, konto in enumerate(self.konten):
            overlaid = {**konto, **hidden.get(at, {})}
            shown.append({k: v for k, v in overlaid.items() if v is not ...})
        listed = konten_of({"bankkverbindungen": shown})
        assert listed is not None
        states = dict(self.states)
        return Observation("b1", "1001", listed.usable, listed.odd, states, self.now)

    def _sync_row(self, observed: Observation, row: Record) -> None:
        try:
            action = self._action(observed, dict(row))
        except UnusableAccount as error:
            problem = unusable_problem(row, error, "1001")
            self.problems.append(problem)
            self._write(row, shown_status(row, "unclean", [problem]))
            return
        if action is None:
            self._write(row, shown_status(row, "clean"))
            return
        self._write(row, action.attributes)
        base = json.loads(json.dumps(action.state.base))
        rejected = json.loads(json.dumps(action.state.rejected))
        state = replace(action.state, base=base, rejected=rejected)
        observed.states[row["id"]] = self.states[row["id"]] = state
        self.problems += action.problems
        self.lines += action.changes

    def _action(self, observed: Observation, row: Record) -> Settle | None:
        found = find_konto(observed, row)
        if found.konto is not None:
            return settle(observed, row, found.konto)
        if found.is_known:
            return settle_gone(observed, row)
        if not is_active(row):
            return None
        if found.is_taken:
            raise UnusableAccount("bank_doubled", "iban: another one has it")
        sent = _mapper.map_cbankverbindungen_to_advoware(row)
        konto = self.new_konto(**sent)
        self.writes += 1
        observed.konten.append(dict(konto))
        return settle(observed, row, dict(konto), created=True)

    def _write(self, row: Record, attributes: Record) -> None:
        self.writes += bool(attributes)
        row |= attributes

    def _remember_deleted(self, observed: Observation, state: SyncState) -> None:
        state = replace(state, deleted_at=state.deleted_at or self.now)
        observed.states[state.entity_id] = self.states[state.entity_id] = state
        is_there = observed.konto_by_link(state.advoware_id) is not None
        if is_there and state.advoware_id not in observed.linked_except(
            state.entity_id
        ):
            self.problems.append(deleted_problem("b1", state))

    def konto_of(self, row: Record) -> Record | None:
        """The Bankverbindung that a row is linked with."""
        state = self.states.get(row["id"])
        for konto in self.konten:
            if state is not None and state.advoware_id == f"1001/{konto['id']}":
                return konto
        return None

    def reported(self, row: Record) -> set[str]:
        """The fields of a row that a task of the last run names."""
        lines = [
            line.field
            for problem in self.problems
            if problem.entity_id == row["id"]
            for line in problem.details.fields
        ]
        return set(lines)
