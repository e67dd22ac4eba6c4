"""Employees and parties of the sample firm."""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from sandbox.firm.model import (
    Address,
    BankAccount,
    Employee,
    FurtherContact,
    Mail,
    Party,
    Phone,
    PhoneType,
    Register,
    Sides,
)

_EMPLOYEES: Final = (
    ("SB", "Dr. Sabine Bergström"),
    ("AI", "Anton Imhoff"),
    ("PB", "Petra Bäumler"),
    ("MÜ", "Jürgen Münzer"),
    ("KOE", "Katharina Oelßner"),
    ("TW", "Tobias Wiesenthal"),
    ("LD", "Leyla Demirtaş"),
    ("FH", "Friederike von der Heyde"),
    ("RN", "Rüdiger Nießen"),
    ("JQ", "Jens Quast"),
    ("EZ", "Elif Zänker"),
    ("VW", "Verena Wüstefeld"),  # has left the firm
)
_FORMER_EMPLOYEES: Final = {"VW"}

_Person = tuple[str, str, str, str]  # rechtsform, titel, vorname, name
_PERSONS: Final[tuple[_Person, ...]] = (
    ("Frau", "", "Änne", "Übelacker"),
    ("Herr", "", "Max", "Müller"),
    ("Herr", "Dr.", "Günther", "Weißkirchen"),
    ("Frau", "", "Fiona", "O'Brien"),
    ("Frau", "", "Chiara", "D’Angelo"),
    ("Herr", "", "Karl-Heinz", "Schäfer-Öztürk"),
    ("Frau", "Prof. Dr.", "Ingeborg", "von der Straßburg-Hohenfels"),
    ("", "", "Robin", "Kleinschmidt"),
    ("Herr", "", "Jörg", "Groß"),
    ("Frau", "", "Zoë", "Håkansson"),
    ("Herr", "", "Li", "Ng"),
    ("Frau", "", "Anna-Lena", "Büttner"),
    ("Herr", "", "Đorđe", "Petrović"),
    ("Frau", "", "Małgorzata", "Wiśniewska-Kühn"),
    ("Herr", "", "Søren", "Brøndum"),
    ("Frau", "", "Renée", "Lefèvre"),
    ("Herr", "", "Bülent", "Yıldız"),
    ("Frau", "", "Gül", "Çelik"),
    ("Herr", "", "Heinz", "Schmidt"),
    ("Frau", "", "Erika", "Schmidt"),
    ("Herr", "Dr. med.", "Ottokar", "Fürchtegott"),
    ("Frau", "", "Mia", "Sauer"),
    ("Herr", "", "Noël", "Duprée"),
    ("Frau", "", "Íris", "Guðmundsdóttir"),
    ("Herr", "", "Władysław", "Żółkiewski"),
    ("Frau", "", "Hannelore", "Graf"),
    ("Herr", "", "Cem", "Aydın"),
    ("Frau", "", "Ilse", "Meyer-Dörrie"),
    ("Herr", "", "Rolf", "Späth"),
    ("Frau", "Dr.", "Lioba", "Freifrau von Höhne"),
    ("Herr", "", "Tim", "Maaß"),
    ("Frau", "", "Jana", "Černá"),
    ("Herr", "", "Ludger", "Kößler"),
    ("Frau", "", "Olga", "Iwanowa"),
    ("", "", "Kim", "Süßmilch"),
    ("Herr", "", "Uwe", "Abendroth"),
    ("Frau", "", "Bärbel", "Jäckel"),
    ("Herr", "", "Nils", "Öhlenschläger"),
)

_LONG_NAME: Final = (
    "Norddeutsche Gesellschaft für Entwicklung, Herstellung, Vertrieb, Wartung und Überprüfung elektromechanischer "
    "Förderanlagen, Aufzüge und Fahrtreppen sowie für Grundstücksverwaltung Hannover-Südost mbH"
)  # 200 characters

_Company = tuple[str, str, Register | None]  # rechtsform, name, register
_COMPANIES: Final[tuple[_Company, ...]] = (
    (
        "GmbH",
        "Bäckerei Früh & Söhne GmbH",
        Register("HRB 900101", "HRB", "Amtsgericht Hannover"),
    ),
    ("GmbH", _LONG_NAME, Register("HRB 900102", "HRB", "Amtsgericht Hannover")),
    (
        "AG",
        "Leinetal Versicherungs-AG",
        Register("HRB 900103", "HRB", "Amtsgericht Hannover"),
    ),
    ("KG", "Wüstenhagen KG", Register("HRA 900104", "HRA", "Amtsgericht Hildesheim")),
    (
        "GmbH & Co. KG",
        "Küstenlogistik GmbH & Co. KG",
        Register("HRA 900105", "HRA", "Amtsgericht Aurich"),
    ),
    (
        "e.V.",
        "Kleingärtnerverein „Grüne Höhe“ e.V.",
        Register("VR 900106", "VR", "Amtsgericht Hannover"),
    ),
    (
        "UG (haftungsbeschränkt)",
        "pixelköpfe UG (haftungsbeschränkt)",
        Register("HRB 900107", "HRB", "Amtsgericht Celle"),
    ),
    (
        "OHG",
        "Gebrüder Rößle OHG",
        Register("HRA 900108", "HRA", "Amtsgericht Stuttgart"),
    ),
    ("GbR", "Ärztehaus am Süntel GbR", None),
    (
        "e.K.",
        "Blumen-Tönnies e.K.",
        Register("HRA 900109", "HRA", "Amtsgericht Stadthagen"),
    ),
    (
        "eG",
        "Wohnungsgenossenschaft Deister eG",
        Register("GnR 900110", "GnR", "Amtsgericht Hannover"),
    ),
    ("Stiftung", "Stiftung Häusler’sches Erbe", None),
    (
        "GmbH",
        "O'Neill & Partner Möbel GmbH",
        Register("HRB 900111", "HRB", "Amtsgericht Hamburg"),
    ),
    (
        "PartG mbB",
        "Steuerkanzlei Jäger Köhn PartG mbB",
        Register("PR 900112", "PR", "Amtsgericht Hannover"),
    ),
    (
        "GmbH",
        "A+B Gerüstbau GmbH",
        Register("HRB 900113", "HRB", "Amtsgericht Göttingen"),
    ),
    ("AG", "Æther Système AG", Register("HRB 900114", "HRB", "Amtsgericht München")),
    ("Körperschaft des öffentlichen Rechts", "Stadt Neu-Übersee", None),
    (
        "e.V.",
        "Turn- und Sportverein Oßweil von 1899 e.V.",
        Register("VR 900115", "VR", "Amtsgericht Stuttgart"),
    ),
    (
        "GmbH",
        "Haus & Gärtchen Immobilien GmbH",
        Register("HRB 900116", "HRB", "Amtsgericht Berlin (Charlottenburg)"),
    ),
    (
        "KG",
        "Schröder-Çetin Textil KG",
        Register("HRA 900117", "HRA", "Amtsgericht Köln"),
    ),
    (
        "GmbH",
        "Zum Goldenen Löwen Gaststätten GmbH",
        Register("HRB 900118", "HRB", "Amtsgericht Hannover"),
    ),
    ("SE", "Nordlicht Energie SE", Register("HRB 900119", "HRB", "Amtsgericht Kiel")),
)

_PLACES: Final = (
    ("30159", "Hannover"),
    ("31134", "Hildesheim"),
    ("29221", "Celle"),
    ("10115", "Berlin"),
    ("20095", "Hamburg"),
    ("50667", "Köln"),
    ("80331", "München"),
    ("37073", "Göttingen"),
    ("06108", "Halle (Saale)"),
)
_STREETS: Final = (
    "Lange Straße",
    "Königsworther Weg",
    "Am Ährenfeld",
    "Prof.-Süß-Allee",
    "Straße des 17. Juni",
    "An der Mühle",
    "Große Packhofgasse",
    "Heiligenweg",
)

#: Area code and first digits of the blocks that are kept free for fiction, each followed by three free digits.
_FICTIONAL_BLOCKS: Final = (
    ("30", "23125"),
    ("69", "90009"),
    ("40", "66969"),
    ("221", "4710"),
    ("89", "99998"),
)
_LANDLINE_SPELLINGS: Final = (
    "0{area}/{block}-{extension}",
    "+49 (0){area} {block}{extension}",
    "0{area} {block} {extension}",
    "(0{area}) {block}-{extension}",
    "+49 {area} {block}{extension}",
    "0049 {area} {block}{extension}",
    "0{area}{block}{extension}",
    "+49(0){area}/{block} - {extension}",
)
_MOBILE_SPELLINGS: Final = (
    "0171-392{rest}",
    "0171/392{rest}",
    "+49 171 392{rest}",
    "+49 (0)171 / 392 {rest}",
    "0171 39 2{rest}",
    "+49171392{rest}",
)

_TRANSLITERATION: Final = dict(
    zip(
        map(ord, "äöüßæøåðđıł"),
        ("ae", "oe", "ue", "ss", "ae", "o", "a", "d", "d", "i", "l"),
        strict=True,
    ),
)

#: Bank, IBAN, BIC, and where the account is known.
_BANK_ACCOUNTS: Final[tuple[tuple[str, str, str, Sides], ...]] = (
    ("Commerzbank", "DE62370400440000000011", "COBADEFFXXX", "both"),
    ("Sparkasse Hannover", "DE75250501800000000012", "SPKHDE2HXXX", "both"),
    ("Postbank", "DE10250100300000000014", "PBNKDEFFXXX", "espocrm"),
    ("ING-DiBa", "DE10500105170000000015", "INGDDEFFXXX", "both"),
    ("Deutsche Kreditbank Berlin", "DE55120300000000000016", "BYLADEM1001", "both"),
    ("GLS Gemeinschaftsbank", "DE93430609670000000017", "GENODEM1GLS", "advoware"),
    ("Hannoversche Volksbank", "DE95251900010000000018", "VOHADE2HXXX", "both"),
    ("Erste Bank", "AT402011100000000123", "GIBAATWWXXX", "espocrm"),
)

_PARTY_SIDES: Final[dict[int, Sides]] = {5: "advoware", 8: "espocrm"}
_PART_SIDES: Final[dict[int, Sides]] = {1: "advoware", 4: "espocrm"}


def espocrm_id(seed: int, kind: str, number: int) -> str:
    """A stable EspoCRM id: 17 lower-case hex characters."""
    named = f"{seed}:{kind}:{number}".encode()
    digest = hashlib.sha256(named).hexdigest()
    return digest[:17]


def make_employees(seed: int) -> tuple[Employee, ...]:
    """Twelve employees, the last of whom has left the firm."""
    return tuple(
        Employee(
            kuerzel=kuerzel,
            name=name,
            active=kuerzel not in _FORMER_EMPLOYEES,
            espocrm_id=espocrm_id(seed, "user", number),
            user_name=_ascii(kuerzel),
            mail=f"{_ascii(name.split()[-1])}@kanzlei.example.de",
        )
        for number, (kuerzel, name) in enumerate(_EMPLOYEES)
    )


def make_parties(seed: int, today: date) -> tuple[Party, ...]:
    """Sixty parties: persons first, then companies; most are known to both systems."""
    return tuple(_PartyMaker(seed, today).parties())


def _ascii(text: str) -> str:
    """Lower-case letters and digits only, as in mail addresses."""
    transliterated = text.lower().translate(_TRANSLITERATION)
    plain = unicodedata.normalize("NFKD", transliterated)
    kept = ""
    for letter in plain:
        if letter.isascii() and letter.isalnum():
            kept += letter
    return kept


@dataclass(frozen=True)
class _Place:
    plz: str
    ort: str
    land: str = ""
    land_iso: str = "DE"


_ABROAD = _Place("6020", "Innsbruck", "Österreich", "AT")


class _PartyMaker:
    """Draws the parts of the parties one after the other from one seeded source."""

    def __init__(self, seed: int, today: date) -> None:
        self.seed = seed
        self.today = today
        self.dice = random.Random(f"parties:{seed}")  # noqa: S311 - seeded
        self.extensions = self.dice.sample(range(1000), 1000)
        self.mobile_rests = self.dice.sample(range(100), 100)
        self.address_count = 0
        self.bank_rows = list(enumerate(_BANK_ACCOUNTS))

    def parties(self) -> Iterator[Party]:
        for number, (rechtsform, titel, vorname, name) in enumerate(_PERSONS):
            yield self._party(
                number,
                rechtsform=rechtsform,
                anrede=rechtsform or "Divers",
                titel=titel,
                vorname=vorname,
                name=name,
            )
        companies = enumerate(_COMPANIES, start=len(_PERSONS))
        for number, (rechtsform, name, register) in companies:
            yield self._party(
                number,
                rechtsform=rechtsform,
                name=name,
                register=register,
            )

    def _party(
        self,
        number: int,
        *,
        rechtsform: str,
        name: str,
        anrede: str = "",
        titel: str = "",
        vorname: str = "",
        register: Register | None = None,
    ) -> Party:
        """A party; without ``anrede`` it is a company."""
        company = not anrede
        sides = _PARTY_SIDES.get(number % 10, "both")
        created = self._moment(days_ago=(60, 900))
        birth_date = None
        if not company:
            birth_date = self._birth_date()
        geburtsname = ""
        if rechtsform == "Frau" and number % 6 == 0:
            geburtsname = "Grün"
        addressee = f"{anrede} {titel} {vorname} {name}"
        owner = f"{vorname} {name}".strip()
        return Party(
            sides=sides,
            betnr=1001 + number,
            espocrm_id=espocrm_id(self.seed, "party", number),
            rechtsform=rechtsform,
            anrede=anrede,
            titel=titel,
            vorname=vorname,
            name=name,
            geburtsdatum=birth_date,
            geburtsname=geburtsname,
            register=register,
            phones=tuple(self._phones(number, company, sides)),
            mails=tuple(self._mails(number, company, vorname, name, sides)),
            further_contacts=tuple(self._further_contacts(number, company, name)),
            addresses=tuple(self._addresses(number, company, addressee, sides)),
            bank_accounts=tuple(self._bank_accounts(number, owner, sides)),
            created_at=created,
            modified_at=created + timedelta(days=self.dice.randint(0, 55)),
        )

    def _moment(self, days_ago: tuple[int, int]) -> datetime:
        age = self.dice.randint(*days_ago)
        day = self.today - timedelta(days=age)
        hour = self.dice.randint(7, 18)
        minute = self.dice.randrange(60)
        second = self.dice.randrange(60)
        return datetime.combine(day, time(hour, minute, second), UTC)

    def _birth_date(self) -> date:
        days = self.dice.randrange(66 * 365)
        return date(1938, 1, 1) + timedelta(days=days)

    def _phones(self, number: int, company: bool, sides: Sides) -> Iterator[Phone]:
        if number == 3:  # what no program can read, but every secretary
            yield Phone(
                komm_kz=1,
                espocrm_type="Office",
                written="0511/1234 (Büro)",
                e164=None,
                sides="advoware",
            )
        kinds = _phone_kinds(number, company)
        for position, (komm_kz, kind) in enumerate(kinds):
            if kind == "Mobile":
                written, e164 = self._mobile_number()
            else:
                written, e164 = self._landline_number()
            yield Phone(
                komm_kz=komm_kz,
                espocrm_type=kind,
                written=written,
                e164=e164,
                sides=_part_sides(sides, number + 7 * position),
            )

    def _landline_number(self) -> tuple[str, str]:
        area, block = self.dice.choice(_FICTIONAL_BLOCKS)
        extension = f"{self.extensions.pop():03}"
        spelling = self.dice.choice(_LANDLINE_SPELLINGS)
        written = spelling.format(area=area, block=block, extension=extension)
        return written, f"+49{area}{block}{extension}"

    def _mobile_number(self) -> tuple[str, str]:
        rest = f"00{self.mobile_rests.pop():02}"
        spelling = self.dice.choice(_MOBILE_SPELLINGS)
        return spelling.format(rest=rest), f"+49171392{rest}"

    def _mails(
        self,
        number: int,
        company: bool,
        vorname: str,
        name: str,
        sides: Sides,
    ) -> Iterator[Mail]:
        if company:
            domain = _ascii(name.split()[0])
            yield Mail(4, f"info@{domain}.example.de", sides=sides)
            if number % 3 == 0:
                yield Mail(
                    4,
                    f"Buchhaltung@{domain.capitalize()}.Example.DE",
                    sides=_part_sides(sides, number),
                )
            if number == len(_PERSONS) + 1:  # what a person understands
                yield Mail(4, f"empfang(at){domain}.example.de", sides="advoware")
            return
        local = f"{_ascii(vorname)}.{_ascii(name)}"
        if number % 9 != 4:
            komm_kz = 4
            if number % 2:
                komm_kz = 8
            yield Mail(komm_kz, f"{local}@example.de", sides=sides)
        if number % 6 == 1:
            yield Mail(
                4,
                f"{local.title()}@Arbeit.Example.DE",
                sides=_part_sides(sides, number),
            )

    def _further_contacts(
        self,
        number: int,
        company: bool,
        name: str,
    ) -> Iterator[FurtherContact]:
        if company:
            first_word = name.split()[0]
            domain = _ascii(first_word)
            yield FurtherContact(5, f"https://www.{domain}.example.de/")
        if number % 20 == 14:
            safe_id = self.dice.randrange(10**8)
            yield FurtherContact(12, f"DE.BRAK.{safe_id:08}.example")

    def _addresses(
        self,
        number: int,
        company: bool,
        addressee: str,
        sides: Sides,
    ) -> Iterator[Address]:
        yield self._address(
            "Hauptanschrift",
            addressee,
            sides,
            default=True,
            foreign=number == 22,
        )
        if company and number % 3 == 0:
            yield self._address(
                "Lager",
                addressee,
                _part_sides(sides, number),
                default=False,
                foreign=False,
            )

    def _address(
        self,
        name: str,
        addressee: str,
        sides: Sides,
        *,
        default: bool,
        foreign: bool,
    ) -> Address:
        self.address_count += 1
        place = _ABROAD
        if not foreign:
            plz, ort = self.dice.choice(_PLACES)
            place = _Place(plz, ort)
        street = self.dice.choice(_STREETS)
        hausnummer = self.dice.randint(1, 180)
        suffix = self.dice.choice(["", "", "a", " b"])
        strasse = f"{street} {hausnummer}{suffix}"
        postfach = ""
        postfach_plz = ""
        if self.address_count % 12 == 0:
            postfach = str(self.dice.randint(1000, 9999))
            postfach_plz = "30001"
        valid_from = None
        if self.address_count % 4 == 0:
            age = self.dice.randint(100, 2000)
            valid_from = self.today - timedelta(days=age)
        return Address(
            sides=sides,
            advoware_id=5000 + self.address_count,
            espocrm_id=espocrm_id(self.seed, "address", self.address_count),
            name=name,
            strasse=strasse,
            plz=place.plz,
            ort=place.ort,
            land=place.land,
            land_iso=place.land_iso,
            anschrift=_envelope(addressee, strasse, place),
            postfach=postfach,
            postfach_plz=postfach_plz,
            is_default=default,
            valid_from=valid_from,
            valid_to=None,
        )

    def _bank_accounts(
        self,
        number: int,
        owner: str,
        party_sides: Sides,
    ) -> Iterator[BankAccount]:
        if number % 7 != 2 or not self.bank_rows:
            return
        position, (bank, iban, bic, sides) = self.bank_rows.pop(0)
        if party_sides != "both":
            sides = party_sides
        konto_nr = ""
        blz = ""
        if iban.startswith("DE"):
            konto_nr = iban[12:]
            blz = iban[4:12]
        yield BankAccount(
            sides=sides,
            advoware_id=7001 + position,
            espocrm_id=espocrm_id(self.seed, "bank", position),
            bank=bank,
            iban=iban,
            bic=bic,
            kontoinhaber=owner,
            konto_nr=konto_nr,
            blz=blz,
        )


def _envelope(addressee: str, strasse: str, place: _Place) -> str:
    """An address as it stands on a letter."""
    lines = [
        " ".join(addressee.split()),
        strasse,
        f"{place.plz} {place.ort}",
    ]
    if place.land:
        lines.append(place.land.upper())
    return "\n".join(line for line in lines if line)


def _part_sides(party_sides: Sides, number: int) -> Sides:
    """Where a part of a party is known: mostly where the party is, now and then on one side only."""
    if party_sides != "both":
        return party_sides
    return _PART_SIDES.get(number % 12, "both")


def _phone_kinds(number: int, company: bool) -> list[tuple[int, PhoneType]]:
    """kommKz and EspoCRM's type of each number of the party with this number."""
    if number == 13:  # reachable nowhere
        return []
    kinds: list[tuple[int, PhoneType]] = []
    if company or number % 4 == 0:
        kinds.append((1, "Office"))
    else:
        kinds.append((6, "Home"))
    if company:
        kinds.append((2, "Fax"))
    elif number % 7 == 0:
        kinds.append((7, "Fax"))
    if number % 5 != 3:
        komm_kz = 3
        if number == 20:
            komm_kz = 9
        kinds.append((komm_kz, "Mobile"))
    if number % 11 == 6:
        kinds.append((10, "Other"))
    return kinds
