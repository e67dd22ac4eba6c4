"""What tests of Adressen do and look at, more than one file of them."""

from __future__ import annotations

from beteiligte_office import Office

STREET = {
    "adresseStreet": "Lange Straße 5",
    "adressePostalCode": "30159",
    "adresseCity": "Hannover",
}

#: The same, as Advoware has it.
ADRESSE = {"strasse": "Lange Straße 5", "plz": "30159", "ort": "Hannover"}


async def enter_address(office: Office, entity_id: str, origin: str) -> None:
    """A person enters it in EspoCRM or in Advoware."""
    if origin == "espocrm":
        await office.enter("CAdressen", beteiligteId=entity_id, **STREET)
        return
    record = await office.in_espocrm(entity_id)
    await office.edit_advoware(record["betnr"], adressen=[ADRESSE])


async def lose_adresse(office: Office) -> None:
    await office.fault(
        office.advoware,
        method="POST",
        path="/Adressen",
        when="after",
        count=1,
        reset=True,
    )


def streets(office: Office, betnr: int) -> list[str]:
    return [row["strasse"] for row in office.in_advoware(betnr)["adressen"]]


def streets_of(office: Office, entity_id: str) -> list[str]:
    return [
        row["adresseStreet"]
        for row in office.records("CAdressen")
        if row["beteiligteId"] == entity_id
    ]


async def open_tasks(office: Office) -> list[str]:
    return [
        task["name"]
        for task in await office.tasks()
        if task["status"] not in ("Completed", "Canceled")
    ]


async def with_two_addresses(office: Office) -> tuple[str, int, str, str]:
    """The first one is the main one."""
    entity_id, betnr = await office.linked_person()
    ids: list[str] = []
    for street in ("Lange Straße 5", "Am Wall 1"):
        row = await office.enter(
            "CAdressen",
            beteiligteId=entity_id,
            istStandard=not ids,
            **{**STREET, "adresseStreet": street},
        )
        ids.append(row["id"])
    await office.sync(entity_id)
    await office.sync(entity_id)
    return entity_id, betnr, *ids
