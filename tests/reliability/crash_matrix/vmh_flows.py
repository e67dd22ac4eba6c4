"""The flows between EspoCRM and Advoware that write something, each with the writes that its worker may die of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from crash_nursery import Work
from vmh_firm import VmhFirm

#: EspoCRM with the write action of our extension, and with that of the first version, which has none.
WITH_ACTION = "1.2.0"
WITHOUT_ACTION = "1.0.0"
IBAN = "DE89370400440532013000"
OFFICE = {"phoneNumber": "+4951112345", "type": "Office", "primary": True}
OTHER_OFFICE = {**OFFICE, "phoneNumber": "+4951198765"}
THIRD_OFFICE = {**OFFICE, "phoneNumber": "+4951176543"}
MOBILE = {"phoneNumber": "+4915112345678", "type": "Mobile", "primary": True}
HOME = {
    "adresseStreet": "Hauptstr. 1",
    "adressePostalCode": "30159",
    "adresseCity": "Hannover",
}

Begin = Callable[[VmhFirm], Work]


@dataclass(frozen=True)
class VmhFlow:
    """What has come to rest (``before``), what happens then, and the job that may die of it (``begin``).

    ``then`` is what a person does right after the run or its death.
    """

    name: str
    begin: Begin
    before: tuple[Callable[[VmhFirm], object], ...] = ()
    then: Callable[[VmhFirm], object] | None = None
    extension: str = WITH_ACTION

    async def start(self, firm: VmhFirm) -> Work:
        """Let all of that happen; the job that may die."""
        await firm.open_day(self.extension)
        for happened in self.before:
            happened(firm)
            await firm.come_to_rest()
        return self.begin(firm)


def _person(firm: VmhFirm) -> str:
    return firm.enter(phoneNumberData=[OFFICE])


def _full_person(firm: VmhFirm) -> str:
    person = firm.enter(
        phoneNumberData=[OFFICE],
        emailAddressData=[{"emailAddress": "erika@example.de", "primary": True}],
    )
    firm.enter("CAdressen", beteiligteId=person, **HOME)
    firm.enter(
        "CBankverbindungen", beteiligteId=person, iban=IBAN, kontoinhaber="Erika"
    )
    return person


def _id(firm: VmhFirm, entity: str = "CBeteiligte") -> str:
    return str(firm.rows(entity)[0]["id"])


def _edited(**changes: object) -> Begin:
    def begin(firm: VmhFirm) -> Work:
        firm.edit("CBeteiligte", _id(firm), **changes)
        return firm.take()

    return begin


def _edited_in_advoware(**changes: object) -> Begin:
    def begin(firm: VmhFirm) -> Work:
        firm.edit_advoware(**changes)
        return _looked_at(firm)

    return begin


def _then_edited(**changes: object) -> Callable[[VmhFirm], None]:
    def then(firm: VmhFirm) -> None:
        firm.edit("CBeteiligte", _id(firm), **changes)

    return then


def _then_edited_in_advoware(**changes: object) -> Callable[[VmhFirm], None]:
    def then(firm: VmhFirm) -> None:
        firm.edit_advoware(**changes)
        firm.deliver(_looked_at(firm))

    return then


def _looked_at(firm: VmhFirm) -> Work:
    """What the cron enqueues of a record."""
    event = {"entity_id": _id(firm), "action": "sync_check", "source": "cron"}
    return Work("CBeteiligte", event)


def _entered(firm: VmhFirm) -> Work:
    _full_person(firm)
    return firm.take()


def _account_entered(firm: VmhFirm) -> Work:
    firm.enter("CBankverbindungen", beteiligteId=_id(firm), iban=IBAN)
    return firm.take("CBankverbindungen")


def _account_deleted(firm: VmhFirm) -> Work:
    firm.delete("CBankverbindungen", _id(firm, "CBankverbindungen"))
    return firm.take("CBankverbindungen")


def _moved_to(street: str) -> Begin:
    def begin(firm: VmhFirm) -> Work:
        firm.edit("CAdressen", _id(firm, "CAdressen"), adresseStreet=street)
        return _looked_at(firm)

    return begin


def _then_moved_to(street: str) -> Callable[[VmhFirm], None]:
    def then(firm: VmhFirm) -> None:
        firm.deliver(_moved_to(street)(firm))

    return then


def _moved_in_advoware_to(street: str) -> Begin:
    def begin(firm: VmhFirm) -> Work:
        (address,) = firm.advo["adressen"]
        firm.edit_advoware(adressen=[{"id": address["id"], "strasse": street}])
        return _looked_at(firm)

    return begin


def _then_moved_in_advoware_to(street: str) -> Callable[[VmhFirm], None]:
    def then(firm: VmhFirm) -> None:
        firm.deliver(_moved_in_advoware_to(street)(firm))

    return then


def _address_entered(firm: VmhFirm) -> Work:
    firm.enter("CAdressen", beteiligteId=_id(firm), **HOME)
    return _looked_at(firm)


def _address_closed(firm: VmhFirm) -> Work:
    firm.edit("CAdressen", _id(firm, "CAdressen"), isActive=False)
    return _looked_at(firm)


def _address_opened_again(firm: VmhFirm) -> Work:
    firm.edit("CAdressen", _id(firm, "CAdressen"), isActive=True)
    return _looked_at(firm)


def _address_gone(firm: VmhFirm) -> Work:
    (address,) = firm.advo["adressen"]
    firm.edit_advoware(adressen=[{"id": address["id"], "delete": True}])
    return _looked_at(firm)


def _number_in_advoware(tlf: str) -> Begin:
    def begin(firm: VmhFirm) -> Work:
        (entry,) = firm.advo["kommunikation"]
        firm.edit_advoware(kommunikation=[{"id": entry["id"], "tlf": tlf}])
        return _looked_at(firm)

    return begin


def _then_number_in_advoware(tlf: str) -> Callable[[VmhFirm], None]:
    def then(firm: VmhFirm) -> None:
        firm.deliver(_number_in_advoware(tlf)(firm))

    return then


def _gone_from_advoware(firm: VmhFirm) -> Work:
    other = firm.advoware.beteiligte.create({"name": "Später"}, "SB")
    assert other["betNr"] > firm.rows("CBeteiligte")[0]["betnr"]
    firm.advoware.beteiligte.remove(firm.rows("CBeteiligte")[0]["betnr"])
    return _looked_at(firm)


def _deleted(firm: VmhFirm) -> Work:
    firm.delete("CBeteiligte", _id(firm))
    return firm.take()


def _both_edited(firm: VmhFirm) -> Work:
    firm.edit_advoware(vorname="Erna")
    firm.edit("CBeteiligte", _id(firm), firstName="Emma")
    return firm.take()


def _given_up(firm: VmhFirm) -> Work:
    firm.espocrm.set_silently(
        "CBeteiligte",
        _id(firm),
        {
            "syncStatus": "permanently_failed",
            "syncRetryCount": 5,
            "syncAutoResetAt": f"{firm.now - timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
        },
    )
    return Work("check", {})


_FLOWS = (
    VmhFlow("a person with number, mail, address and account is entered", _entered),
    VmhFlow("a name is corrected in EspoCRM", _edited(lastName="Meyer"), (_person,)),
    VmhFlow(
        "a name is corrected in Advoware", _edited_in_advoware(name="Meyer"), (_person,)
    ),
    VmhFlow(
        "a name is corrected in EspoCRM, and taken back",
        _edited(lastName="Meyer"),
        (_person,),
        then=_then_edited(lastName="Muster"),
    ),
    VmhFlow(
        "a name is corrected in Advoware, and once more",
        _edited_in_advoware(name="Meyer"),
        (_person,),
        then=_then_edited_in_advoware(name="Maier"),
    ),
    VmhFlow("a first name is changed on both sides", _both_edited, (_person,)),
    VmhFlow(
        "a number is added in EspoCRM",
        _edited(phoneNumberData=[OFFICE, {**MOBILE, "primary": False}]),
        (_person,),
    ),
    VmhFlow(
        "a number is removed in EspoCRM", _edited(phoneNumberData=[]), (_full_person,)
    ),
    VmhFlow(
        "a number is added in Advoware",
        _edited_in_advoware(kommunikation=[{"kommKz": 3, "tlf": "0151 12345678"}]),
        (_person,),
    ),
    VmhFlow(
        "a number is changed in Advoware", _number_in_advoware("0511 98765"), (_person,)
    ),
    *(
        VmhFlow(
            f"a number is changed in EspoCRM, and {again}",
            _edited(phoneNumberData=[OTHER_OFFICE]),
            (_person,),
            then=_then_edited(phoneNumberData=[number]),
        )
        for again, number in (("taken back", OFFICE), ("once more", THIRD_OFFICE))
    ),
    *(
        VmhFlow(
            f"a number is changed in Advoware, and {again}",
            _number_in_advoware("0511 98765"),
            (_person,),
            then=_then_number_in_advoware(tlf),
        )
        for again, tlf in (("taken back", "0511 12345"), ("once more", "0511 76543"))
    ),
    VmhFlow(
        "a number is removed in EspoCRM, and put back",
        _edited(phoneNumberData=[]),
        (_person,),
        then=_then_edited(phoneNumberData=[OFFICE]),
    ),
    VmhFlow(
        "a number is removed in Advoware, and put back",
        _number_in_advoware(""),
        (_person,),
        then=_then_number_in_advoware("0511 12345"),
    ),
    VmhFlow("an address is entered in EspoCRM", _address_entered, (_person,)),
    VmhFlow(
        "an address is changed in EspoCRM", _moved_to("Neue Gasse 7"), (_full_person,)
    ),
    *(
        VmhFlow(
            f"an address is changed in EspoCRM, and {again}",
            _moved_to("Neue Gasse 7"),
            (_full_person,),
            then=_then_moved_to(street),
        )
        for again, street in (("taken back", "Hauptstr. 1"), ("once more", "Weg 3"))
    ),
    *(
        VmhFlow(
            f"an address is changed in Advoware, and {again}",
            _moved_in_advoware_to("Neue Gasse 7"),
            (_full_person,),
            then=_then_moved_in_advoware_to(street),
        )
        for again, street in (("taken back", "Hauptstr. 1"), ("once more", "Weg 3"))
    ),
    VmhFlow(
        "an address is entered in Advoware",
        _edited_in_advoware(
            adressen=[{"strasse": "Gasse 2", "plz": "10115", "ort": "Berlin"}]
        ),
        (_person,),
    ),
    VmhFlow("an address is closed in EspoCRM", _address_closed, (_full_person,)),
    VmhFlow(
        "an address is opened again",
        _address_opened_again,
        (_full_person, _address_closed),
    ),
    VmhFlow("an address is deleted in Advoware", _address_gone, (_full_person,)),
    VmhFlow("an account is entered in EspoCRM", _account_entered, (_person,)),
    VmhFlow("an account is deleted in EspoCRM", _account_deleted, (_full_person,)),
    VmhFlow(
        "a Beteiligter is deleted in Advoware", _gone_from_advoware, (_full_person,)
    ),
    VmhFlow("a CBeteiligte is deleted in EspoCRM", _deleted, (_full_person,)),
    VmhFlow("the check resets what was given up", _given_up, (_person,)),
)

VMH_FLOWS = tuple(
    variant
    for flow in _FLOWS
    for variant in (
        flow,
        replace(flow, name=f"{flow.name}, plain requests", extension=WITHOUT_ACTION),
    )
)
