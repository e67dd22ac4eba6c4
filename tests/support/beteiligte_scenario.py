"""Scenarios of the Beteiligte sync as plain values: what people do, what goes wrong, and when the sync runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Side = Literal["espocrm", "advoware"]
ContactKind = Literal["Office", "Fax", "Mobile", "Home", "mail"]

# -- people ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Enter:
    """A user enters a person or a company in EspoCRM; ``rich``: with contact data, address and bank account."""

    company: bool = False
    rich: bool = True


@dataclass(frozen=True)
class EditMaster:
    """A user changes one field of the master data, or (``clear``) empties it."""

    side: Side
    number: int
    field: int
    clear: bool = False


@dataclass(frozen=True)
class SwitchKind:
    """A person turns out to be a company, or the other way round."""

    side: Side
    number: int


@dataclass(frozen=True)
class EditContact:
    """A user changes a phone number or mail address. ``odd``: adds one that EspoCRM would refuse (Advoware only)."""

    side: Side
    number: int
    what: Literal["add", "change", "remove", "odd"]
    entry: int = 0
    kind: ContactKind = "Office"


@dataclass(frozen=True)
class Retype:
    """A user makes another kind of a phone number or mail address: of its ``value``, its ``kind``, or ``both``.

    In Advoware a number is typed over by a mail address or the other way round, or its entry gets another kommKz;
    ``unmarked``: the note is emptied as well. In EspoCRM one is taken away and one of the other list is entered, the
    same text goes to the other list, or a number gets another type.
    """

    side: Side
    number: int
    what: Literal["value", "kind", "both"]
    entry: int = 0
    kind: ContactKind | Literal["web"] = "Fax"
    unmarked: bool = False


@dataclass(frozen=True)
class Rearrange:
    """A user tidies up, without a new value.

    ``swap``: two numbers or mail addresses change places; ``swap_names``: first and last name; ``again``: a number is
    entered once more, in another spelling; ``reenter``: it is deleted and entered again at once; ``put_back``: one
    that was removed some time ago is entered again; ``refill``: a cleared field of the master data gets its value
    back; ``primary``: another number becomes the primary one (EspoCRM only).
    """

    side: Side
    number: int
    what: Literal[
        "swap", "swap_names", "again", "reenter", "put_back", "refill", "primary"
    ]
    entry: int = 0


@dataclass(frozen=True)
class EditAddress:
    """A user changes an address. ``active`` switches it off or on (EspoCRM only)."""

    side: Side
    number: int
    what: Literal[
        "add", "street", "city", "country", "box", "valid", "main", "active", "remove"
    ]
    entry: int = 0


@dataclass(frozen=True)
class EditBank:
    """A user changes a bank account."""

    side: Side
    number: int
    what: Literal["add", "holder", "iban", "active", "remove"]
    entry: int = 0


@dataclass(frozen=True)
class Drop:
    """A user deletes the record."""

    side: Side
    number: int


@dataclass(frozen=True)
class EditOdd:
    """A user enters what the other side has no place for: an Anrede of his own (Advoware), or a country."""

    side: Side
    number: int
    what: Literal["anrede", "land"]
    entry: int = 0


@dataclass(frozen=True)
class ShareContact:
    """A user enters a phone number or mail address of record ``other`` also at this one."""

    side: Side
    number: int
    other: int
    kind: ContactKind = "Office"


@dataclass(frozen=True)
class CopyAddress:
    """A user copies an address to the Beteiligter of record ``other``, remark included (Advoware only)."""

    number: int
    other: int
    entry: int = 0
    side: Side = "advoware"


@dataclass(frozen=True)
class Browse:
    """A user does what the browser offers beside plain edits (docs/sandbox.md, Actions).

    ``erase``: the phone numbers and mail addresses; ``merge``: record ``other`` goes into this one; ``restore``: the
    record that was deleted ``number``-th is back; ``revert_import``: the record is gone without an event;
    ``wrong_number``: it gets the number of a namesake, or of a stranger; ``right_number``: that is corrected;
    ``move_address``: one of its addresses goes to record ``other``; ``restore_address``: one that was deleted is back.
    """

    what: Literal[
        "erase",
        "merge",
        "restore",
        "revert_import",
        "wrong_number",
        "right_number",
        "move_address",
        "restore_address",
    ]
    number: int
    other: int = 1
    side: Side = "espocrm"


Person = (
    Enter
    | EditMaster
    | SwitchKind
    | EditContact
    | Retype
    | Rearrange
    | EditAddress
    | EditBank
    | Drop
    | ShareContact
    | CopyAddress
    | Browse
)

# -- surroundings ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trouble:
    """One of the systems misbehaves in the next requests of these methods, after ``skip`` good ones."""

    system: Side
    kind: str
    method: Literal["GET", "PUT", "POST"] | None = None
    skip: int = 0
    count: int = 1


@dataclass(frozen=True)
class Surprise:
    """From now on one of the systems shows or stores something else: a rule that alters (docs/sandbox.md)."""

    system: Side
    rule: dict[str, Any]


@dataclass(frozen=True)
class Flush:
    """Redis is emptied."""


@dataclass(frozen=True)
class Restart:
    """One of the workers starts again; nothing but the stores remembers."""

    worker: int = 0


@dataclass(frozen=True)
class LoseEvents:
    """The webhook events that wait are lost, or (``twice``) delivered a second time."""

    twice: bool = False


@dataclass(frozen=True)
class Jump:
    """Time passes."""

    minutes: int


@dataclass(frozen=True)
class Cancel:
    """The run is cancelled and its worker starts again; its event comes back unless it is ``lost``."""

    lost: bool = False


# -- runs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sync:
    """A run of one record by a worker; when the foreign systems get its ``at``-th request, ``meanwhile`` happens."""

    number: int
    worker: int = 0
    check: bool = False
    at: int = 0
    meanwhile: Step | None = None


@dataclass(frozen=True)
class Work:
    """Both workers take the events that wait, until none is left."""


@dataclass(frozen=True)
class Cron:
    """The check, and what it enqueues."""

    worker: int = 0


Step = (
    Person
    | Trouble
    | Surprise
    | Flush
    | Restart
    | LoseEvents
    | Jump
    | Cancel
    | Sync
    | Work
    | Cron
)

#: Faults by name; requests for tokens do not meet them.
TROUBLES: dict[str, dict[str, Any]] = {
    "unavailable": {"status": 503},
    "error": {"status": 500},
    "throttled": {"status": 429},
    "slow": {"latency_ms": 300},
    "late": {"latency_ms": 12_000},
    "cut": {"reset": True},
    "cut_after": {"reset": True, "when": "after"},
    "error_after": {"status": 500, "when": "after"},
    "half": {"truncate_json": True},
}
#: The requests that carry data.
DATA_PATHS = {"advoware": "/advonet/Beteiligte", "espocrm": "/api/v1/"}
