"""The shapes of the sample law firm. Values are as people wrote them; no twin's field names appear here.

Everyone and everything is invented: telephone numbers come from the blocks that the Bundesnetzagentur keeps free for
film and fiction, mail addresses end in ``example.de``, account numbers are counters behind real bank codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import chain
from typing import Literal

Sides = Literal["both", "advoware", "espocrm"]
PhoneType = Literal["Office", "Fax", "Mobile", "Home", "Other"]

#: Last day of a series without an end, as Advoware stores it.
FOR_EVER = date(2037, 12, 31)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Something that may be known to one system only. Parts of a party are never on a side where the party is not."""

    sides: Sides = "both"

    @property
    def in_advoware(self) -> bool:
        """Whether Advoware knows it."""
        return self.sides != "espocrm"

    @property
    def in_espocrm(self) -> bool:
        """Whether EspoCRM knows it."""
        return self.sides != "advoware"


@dataclass(frozen=True)
class Employee:
    """Someone who works for the firm; has a user account in EspoCRM and a Kürzel in Advoware."""

    kuerzel: str
    name: str
    active: bool
    espocrm_id: str  #: id of the EspoCRM user
    user_name: str
    mail: str


@dataclass(frozen=True)
class Phone(Placed):
    """A telephone or fax number."""

    komm_kz: int  #: Advoware's kind: 1, 2, 3, 6, 7, 9 or 10
    espocrm_type: PhoneType
    written: str  #: as someone typed it into Advoware
    e164: (
        str | None
    )  #: as EspoCRM holds it; None if no number can be read from ``written`` (then only in Advoware)


@dataclass(frozen=True)
class Mail(Placed):
    """An e-mail address; the first one of a party is its primary one."""

    komm_kz: int  #: 4 business, 8 private
    address: str


@dataclass(frozen=True)
class FurtherContact:
    """A contact of a kind that EspoCRM has no place for (5 web, 11 ePost, 12 beA); only in Advoware."""

    komm_kz: int
    value: str


@dataclass(frozen=True)
class Address(Placed):
    """A postal address."""

    advoware_id: int
    espocrm_id: str
    name: str  #: "Hauptanschrift", "Lager", ...
    strasse: str
    plz: str
    ort: str
    land: str  #: German text as in Advoware; "" means Germany
    land_iso: str
    anschrift: str  #: the block as printed, lines separated by "\n"
    postfach: str
    postfach_plz: str
    is_default: bool
    valid_from: date | None
    valid_to: date | None


@dataclass(frozen=True)
class BankAccount(Placed):
    """A bank account with valid IBAN and BIC."""

    advoware_id: int
    espocrm_id: str
    bank: str
    iban: str  #: upper case, no spaces
    bic: str
    kontoinhaber: str
    konto_nr: str
    blz: str


@dataclass(frozen=True)
class Register:
    """Entry of a company in a public register."""

    nummer: str
    art: str  #: HRA, HRB, VR, GnR, PR
    gericht: str


@dataclass(frozen=True)
class Party(Placed):
    """A person or company involved in cases (Beteiligte).

    ``sides="espocrm"`` means: entered in EspoCRM and waiting there as ``pending_sync``; ``betnr`` then means nothing.
    ``sides="advoware"`` likewise: ``espocrm_id`` means nothing.
    """

    betnr: int
    espocrm_id: str
    rechtsform: (
        str  #: "Herr", "Frau", "" (natural persons) or the legal form of a company
    )
    anrede: str  #: "Herr", "Frau", "Divers" or "" for companies
    titel: str
    vorname: str  #: "" for companies
    name: str  #: last name or company name
    geburtsdatum: date | None
    geburtsname: str
    register: Register | None
    phones: tuple[Phone, ...]
    mails: tuple[Mail, ...]
    further_contacts: tuple[FurtherContact, ...]
    addresses: tuple[Address, ...]
    bank_accounts: tuple[BankAccount, ...]
    created_at: datetime  #: aware, UTC, whole seconds
    modified_at: datetime  #: aware, UTC, whole seconds

    @property
    def is_company(self) -> bool:
        """Whether this is a company rather than a natural person."""
        return self.rechtsform not in {"", "Herr", "Frau"}

    @property
    def full_name(self) -> str:
        """Title, first and last name, or the company name."""
        parts = (self.titel, self.vorname, self.name)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Series:
    """Repetition of an appointment; its last day is the appointment's ``last_day``."""

    turnus_art: Literal[1, 2, 3, 4]  #: daily, weekly, monthly, yearly
    turnus: int  #: interval, 1 or more


@dataclass(frozen=True)
class Appointment:
    """A calendar entry in Advoware; times are wall-clock times in Berlin."""

    fr_nr: int  #: negative: derived by Advoware (journeys, holidays), read-only
    text: str
    notiz: str
    ort: str
    day: date
    start: time | None  #: None: no time given
    end: time | None  #: of a series: the end of one occurrence
    last_day: date  #: last day of the entry or, for a series, of the series
    anwalt: str  #: Kürzel; "", "ALLE" or "Allgemein" stand for all employees
    sb: str
    privat: bool
    all_day: bool  #: Abwesenheit
    series: Series | None
    changed_at: datetime  #: aware, UTC


@dataclass(frozen=True)
class Firm:
    """The whole sample firm."""

    employees: tuple[Employee, ...]
    parties: tuple[Party, ...]
    appointments: tuple[Appointment, ...]

    @property
    def bank_accounts(self) -> tuple[BankAccount, ...]:
        """All accounts of all parties."""
        accounts = (party.bank_accounts for party in self.parties)
        return tuple(chain.from_iterable(accounts))
