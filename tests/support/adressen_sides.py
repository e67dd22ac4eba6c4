"""The CAdressen of a CBeteiligte and the Adressen of his Beteiligter in memory, and a sync that applies the pure plan.

Both systems store what they are sent; what people enter is done with `edit_row` and `edit_adresse`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.adressen_mapper import AdressenMapper, adressen_of
from services.values.address_block import BLOCK
from services.vmh_sync.adressen.fields import put_body, put_names
from services.vmh_sync.adressen.match import (
    Observation,
    match_addresses,
    regained,
    with_whereabouts,
)
from services.vmh_sync.adressen.plan import (
    Action,
    Broken,
    CreateAdresse,
    CreateCAdressen,
    Ignore,
    RememberDeleted,
    Settle,
    changes_of,
    link_created,
    make_plan,
    problems_of,
    settle_put,
    settle_update,
    unconfirmed,
)
from services.vmh_sync.result import Direction, Problem
from services.vmh_sync.store import SyncState

Record = dict[str, Any]
BETEILIGTER = {
    "betNr": 1001,
    "anrede": "Herr",
    "vorname": "Max",
    "name": "Müller",
    "rechtsform": "Herr",
}
#: The values that people enter, in EspoCRM and in Advoware.
ROW_FIELDS = (
    "adresseStreet",
    "adressePostalCode",
    "adresseCity",
    "adresseCountry",
    "postfach",
    "gueltigVon",
)
ADRESSE_FIELDS = ("strasse", "plz", "ort", "land", "postfach", "gueltigVon", BLOCK)
_SENT = ("strasse", "plz", "ort", BLOCK)
_mapper = AdressenMapper()


@dataclass
class AdressenSides:
    """Both sides; ``gone`` and ``removed`` are what people have deleted, and may restore."""

    rows: dict[str, Record] = field(default_factory=dict)
    gone: dict[str, Record] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    adressen: list[Record] = field(default_factory=list)
    removed: list[Record] = field(default_factory=list)
    states: dict[str, SyncState] = field(default_factory=dict)
    now: datetime = datetime(2026, 2, 10, 9, tzinfo=UTC)
    counted: int = 0
    plan: list[Action] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    lines: list[Any] = field(default_factory=list)
    writes: int = 0

    def _next(self) -> int:
        self.counted += 1
        return self.counted

    def new_row(self, **values: Any) -> Record:
        """A CAdressen that a person, or the sync, creates."""
        number = self._next()
        row = {
            "id": f"{number:017d}",
            **dict.fromkeys(ROW_FIELDS),
            "istStandard": False,
            "isActive": True,
            "advowareId": None,
            "advowareRowId": None,
            "syncStatus": "pending_sync",
            "bezeichnung": None,
            "modifiedAt": f"{number:03d}",
            **values,
        }
        self.rows[row["id"]] = row
        return row

    def new_adresse(self, **values: Any) -> Record:
        """An Adresse that a person, or the sync, creates; the first one becomes the main one."""
        number = self._next()
        adresse = {
            "id": number,
            **dict.fromkeys(ADRESSE_FIELDS),
            "standardAnschrift": not self.adressen,
            "bemerkung": None,
            **values,
            "rowId": f"R{number}",
        }
        self.adressen.append(adresse)
        return adresse

    def edit_row(self, row: Record, **values: Any) -> None:
        if {**row, **values} != row:
            row |= {
                **values,
                "syncStatus": "dirty",
                "modifiedAt": f"{self._next():03d}",
            }

    def edit_adresse(self, adresse: Record, **values: Any) -> None:
        if {**adresse, **values} != adresse:
            adresse |= {**values, "rowId": f"R{self._next()}"}

    def sync(
        self,
        direction: Direction = "both",
        hidden: Mapping[int, Record] | None = None,
    ) -> None:
        """One run; ``hidden`` overlays what Advoware answers of each Adresse (``...``: the key is missing)."""
        self.now += timedelta(days=1)
        self.problems, self.lines, self.writes = [], [], 0
        observed = self._observe(direction, hidden or {})
        found = match_addresses(observed)
        wanted = unconfirmed(observed, found) & found.vanished.keys()
        wanted |= {mark for mark, _ in found.foreign}
        moved = wanted & self.elsewhere
        places = {name: "elsewhere" if name in moved else "gone" for name in wanted}
        found = with_whereabouts(observed, found, places)  # type: ignore[arg-type]
        missing = {row["id"] for row in found.missing}
        self.plan = make_plan(observed, found, wanted | missing, moved)
        for action in self.plan:
            self._apply(observed, action)

    def _observe(
        self, direction: Direction, hidden: Mapping[int, Record]
    ) -> Observation:
        shown = []
        for at, adresse in enumerate(self.adressen):
            overlaid = {**adresse, **hidden.get(at, {})}
            shown.append({k: v for k, v in overlaid.items() if v is not ...})
        listing = adressen_of({"adressen": shown})
        assert listing is not None
        rows = [dict(row) for row in self.rows.values()]
        back = regained(self.states, rows, listing.adressen, "1001")
        return Observation(
            "b1",
            BETEILIGTER,
            {},
            rows,
            listing.adressen,
            {**self.states, **back},
            direction,
            self.now,
            stored=dict(self.states),
        )

    def _apply(self, observed: Observation, action: Action) -> None:
        match action:
            case Broken():
                raise action.error
            case Ignore():
                self.rows[action.row["id"]]["syncStatus"] = "clean"
            case RememberDeleted():
                self._save(action.states)
                self.problems += action.problems
            case CreateAdresse():
                self._create_adresse(observed, action)
            case CreateCAdressen():
                self._create_row(observed, action)
            case Settle():
                self._settle(observed, action)

    def _create_adresse(self, observed: Observation, action: CreateAdresse) -> None:
        self.writes += 1
        body = _mapper.map_cadressen_to_advoware(
            action.row, BETEILIGTER, is_main=action.is_main, names=action.names
        )
        body["standardAnschrift"] = action.is_main or not self.adressen
        if body["standardAnschrift"]:
            for adresse in self.adressen:
                adresse["standardAnschrift"] = False
        left_out = {name: (reason, "") for name, reason in action.left_out.items()}
        created = dict(self.new_adresse(**body))
        done = link_created(observed, action.row, created, left_out, side="advoware")
        self._finish(observed, done)

    def _create_row(self, observed: Observation, action: CreateCAdressen) -> None:
        self.writes += 1
        adresse = action.adresse
        values = _mapper.comparable_from_advoware(adresse)
        left_out = {
            name: ("unknown_advoware", "")
            for name, value in values.items()
            if _mapper.unfit("espocrm", name, value, values)
        }
        link = {"advowareId": adresse["id"], "advowareRowId": adresse["rowId"]}
        row = self.new_row(**action.attributes, **link, syncStatus="clean")
        done = link_created(observed, dict(row), adresse, left_out, side="espocrm")
        self._finish(observed, replace(done, attributes={}))

    def _settle(self, observed: Observation, action: Settle) -> None:
        self.problems += action.lost
        if action.adresse is not None and action.fields and action.fields.to_advoware:
            self.writes += 1
            number = action.adresse["id"]
            stored = next(item for item in self.adressen if item["id"] == number)
            self.lines.append(stored[BLOCK])  # the audit keeps it
            body = put_body(action.fields, action.adresse, put_names(action.fields))
            sent = {name: body[name] for name in _SENT if name in body}
            self.edit_adresse(stored, **sent)
            action = settle_put(observed, action, dict(stored), {})
        self._finish(observed, action)

    def _finish(self, observed: Observation, action: Settle) -> None:
        row = self.rows[action.row["id"]]
        before = dict(row)
        row |= action.espocrm
        if action.adresse is not None:
            row["advowareId"] = action.adresse["id"]
            row["advowareRowId"] = action.adresse.get("rowId")
        action = settle_update(observed, action, dict(row), {})
        row["syncStatus"] = action.shown_status
        self.writes += {**before, "advowareRowId": None} != {
            **row,
            "advowareRowId": None,
        }
        self._save([action.state])
        self.problems += problems_of(observed, action)
        self.lines += changes_of(action)

    def _save(self, states: Iterable[SyncState]) -> None:
        for state in states:
            base = json.loads(json.dumps(state.base))
            rejected = json.loads(json.dumps(state.rejected))
            self.states[state.entity_id] = replace(state, base=base, rejected=rejected)

    @property
    def standing(self) -> str:
        """All that stands on one of the sides."""
        return json.dumps([[*self.rows.values()], self.adressen], ensure_ascii=False)

    @property
    def notices(self) -> str:
        """What people are notified of by the last run."""
        details = [problem.details.as_json() for problem in self.problems]
        return json.dumps(details, ensure_ascii=False)

    @property
    def audited(self) -> str:
        """What the audit keeps of the last run."""
        return json.dumps(self.lines, ensure_ascii=False)
