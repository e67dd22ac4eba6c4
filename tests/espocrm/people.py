"""What people do in EspoCRM's browser, by the requests that its pages make; on the twin by its actions."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from espocrm_rest import Answer, Espo

ENTITY = "CBeteiligte"
#: panel of a Beteiligter -> entity
PARTS = {"adressen": "CAdressen", "bankverbindungen": "CBankverbindungen"}


class People:
    """The person of an `Espo` at work. Everything raises if EspoCRM refuses it."""

    def __init__(self, espo: Espo) -> None:
        self._espo = espo
        self._person = espo.person

    async def merge(
        self,
        survivor: str,
        sources: Sequence[str],
        values: Mapping[str, Any] | None = None,
    ) -> None:
        """Merge records as the dialogue does; ``values`` is what was ticked there."""
        if self._espo.is_twin:
            options = {
                "entity": ENTITY,
                "id": survivor,
                "sources": list(sources),
                "values": dict(values or {}),
            }
            await self._act(action="merge", **options)
            return
        data = {"sourceIdList": list(sources), "attributes": dict(values or {})}
        await self._done(
            "POST",
            "Action",
            {"entityType": ENTITY, "action": "merge", "id": survivor, "data": data},
        )

    async def delete(self, entity: str, *ids: str) -> None:
        """Delete records one by one."""
        for record_id in ids:
            await self._done("DELETE", f"{entity}/{record_id}")

    async def mass_delete(self, ids: Sequence[str]) -> None:
        """Delete what is ticked in a list."""
        if self._espo.is_twin:
            await self._act(action="mass_delete", entity=ENTITY, ids=list(ids))
            return
        await self._mass("delete", ids, {})

    async def mass_update(self, ids: Sequence[str], values: Mapping[str, Any]) -> None:
        """Change what is ticked in a list."""
        if self._espo.is_twin:
            for record_id in ids:
                await self._person.put(f"{ENTITY}/{record_id}", dict(values))
            return
        await self._mass("update", ids, {"values": dict(values)})

    async def recalculate(self, ids: Sequence[str]) -> None:
        """An administrator's "recalculate formula", which saves each record without changing it."""
        if self._espo.is_twin:
            for record_id in ids:
                await self._person.put(f"{ENTITY}/{record_id}", {})
            return
        await self._mass("recalculateFormula", ids, {})

    async def restore(self, entity: str, record_id: str) -> None:
        """Bring back a deleted record; only an administrator can."""
        if self._espo.is_twin:
            await self._act(action="restore", entity=entity, id=record_id)
            return
        await self._done("POST", f"{entity}/action/restoreDeleted", {"id": record_id})

    async def erase(self, entity: str, record_id: str, fields: Sequence[str]) -> None:
        """Erase personal data ("View Personal Data" in the menu of a record)."""
        if self._espo.is_twin:
            await self._act(
                action="erase", entity=entity, id=record_id, fields=list(fields)
            )
            return
        body = {"entityType": entity, "id": record_id, "fieldList": list(fields)}
        await self._done("POST", "DataPrivacy/action/erase", body)

    async def relate(self, owner: str, link: str, part: str) -> None:
        """Choose an existing address or account in a panel."""
        if self._espo.is_twin:
            await self._person.put(f"{PARTS[link]}/{part}", {"beteiligteId": owner})
            return
        await self._done("POST", f"{ENTITY}/{owner}/{link}", {"id": part})

    async def unrelate(self, owner: str, link: str, part: str) -> Answer:
        """Take an address or account off in a panel; what EspoCRM says."""
        if self._espo.is_twin:
            return await self._person.request(
                "PUT", f"{PARTS[link]}/{part}", {"beteiligteId": None}
            )
        return await self._person.request(
            "DELETE", f"{ENTITY}/{owner}/{link}", {"id": part}
        )

    async def import_people(self, names: Sequence[str]) -> tuple[str, list[str]]:
        """Import persons by their last names; the id of the import and those of the records."""
        if self._espo.is_twin:
            added = [
                await self._person.post(ENTITY, {"firstName": "Ida", "lastName": name})
                for name in names
            ]
            return "", [record["id"] for record in added]
        text = io.StringIO()
        rows = [["lastName", "firstName"], *([name, "Ida"] for name in names)]
        csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
        async with self._person.session.post(
            f"{self._person.base_url}/Import/file",
            data=text.getvalue().encode(),
            headers={"Content-Type": "text/csv"},
        ) as answer:
            assert answer.status == 200, await answer.text()
            attachment = (await answer.json())["attachmentId"]
        done = await self._person.post(
            "Import",
            {
                "entityType": ENTITY,
                "attributeList": ["lastName", "firstName"],
                "attachmentId": attachment,
                "headerRow": True,
                "delimiter": ",",
                "textQualifier": '"',
                "action": "create",
                "idleMode": False,
                "manualMode": False,
                "skipDuplicateChecking": True,
                "silentMode": False,
            },
        )
        imported = await self._person.get(f"Import/{done['id']}/imported?maxSize=200")
        return done["id"], [row["id"] for row in imported["list"]]

    async def revert_import(self, import_id: str, ids: Sequence[str]) -> None:
        """Take an import back: its records are gone for good, and no event says so."""
        if self._espo.is_twin:
            await self._act(action="revert_import", entity=ENTITY, ids=list(ids))
            return
        await self._done("POST", f"Import/{import_id}/revert")

    async def tasks_about(self, text: str) -> list[dict[str, Any]]:
        """The tasks whose description contains a text, oldest first."""
        where = f"where[0][type]=contains&where[0][attribute]=description&where[0][value]={text}"
        rows = (
            await self._person.get(
                f"Task?{where}&orderBy=createdAt&order=asc&maxSize=200"
            )
        )["list"]
        return [await self._person.get(f"Task/{row['id']}") for row in rows]

    async def _mass(
        self, action: str, ids: Sequence[str], data: dict[str, Any]
    ) -> None:
        body = {
            "entityType": ENTITY,
            "action": action,
            "params": {"ids": list(ids)},
            "data": data,
            "idle": False,
        }
        answer = await self._done("POST", "MassAction", body)
        assert answer.body["count"] == len(ids)

    async def _done(self, method: str, path: str, body: Any = None) -> Answer:
        answer = await self._person.request(method, path, body)
        assert answer.status in {200, 201}, answer
        return answer

    async def _act(self, **action: Any) -> None:
        await self._done("POST", "../../__sandbox__/actions", action)
