"""What a user of the EspoCRM twin can do with records, and the rules that stand in his way.

The order of the checks is EspoCRM's: role, values, assignment, links, duplicates; then it stores, notifies and queues
the webhooks.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.espocrm.access import ApiUser
from sandbox.espocrm.entities import ENTITIES, NOTIFICATION, Entity, Field
from sandbox.espocrm.php import ApiError, validation_failure
from sandbox.espocrm.store import Change, Record, Store
from sandbox.espocrm.validation import validate_bank_details, validate_name

MAX_WEBHOOKS_PER_USER = 50
_EVENT = re.compile(r"(\w+)\.(create|update|delete|fieldUpdate)(?:\.(\w+))?")
_MENTION = re.compile(r"@[\w@.-]+")


class RecordService:
    """Creates, changes and deletes records on behalf of a user."""

    def __init__(
        self, store: Store, dice: random.Random, publish: Callable[[Change], None]
    ) -> None:
        self._store = store
        self._dice = dice
        self._publish = publish

    def create(
        self,
        entity: Entity,
        body: dict[str, Any],
        user: ApiUser,
        *,
        skip_duplicate_check: bool = False,
        given: Mapping[str, Any] | None = None,
        silent: bool = False,
    ) -> Record:
        """Create a record.

        Args:
            entity: its type.
            body: attributes as sent.
            user: who creates it.
            skip_duplicate_check: header ``X-Skip-Duplicate-Check``.
            given: system attributes laid down by the control API.
            silent: fire no webhook, as EspoCRM's save option ``silent``.

        Raises:
            ApiError: 400, 403 or 409, as EspoCRM refuses it.
        """
        user.demand("create", entity.name)
        if entity.name == "Webhook" and not user.admin:
            body = {**body, "userId": user.id}
        is_laid_down = (
            given is not None
        )  # by the control API; it may be older than the extension
        data = self._store.prepare(
            entity, body, record=None, demand_required=not is_laid_down
        )
        if not is_laid_down:
            validate_bank_details(entity, data)
            self._validate_name(entity, data, None, user)
        self._check_assignment(entity, data, None, user)
        self._check_links(entity, data, None, user)
        duplicates = (
            [] if skip_duplicate_check else self._store.likely_duplicates(entity, data)
        )
        if duplicates:
            raise ApiError(409, "duplicate", duplicates)
        if entity.name == "Webhook":
            data = self._webhook_data(data, user)
        if entity.name == "Note":
            data |= {
                "type": "Post",
                "number": sum(1 for _ in self._store.records("Note")) + 1,
            }
        record, change = self._store.create(entity, data, user, given)
        if not silent:
            self._notify(record, data, user)
            self._publish(change)
        return record

    def update(
        self,
        record: Record,
        body: dict[str, Any],
        user: ApiUser,
        *,
        version: int | None = None,
        silent: bool = False,
        keep_modified: bool = False,
    ) -> dict[str, Any]:
        """Change a record; returns it as EspoCRM's answer shows it, with the address arrays as they were sent.

        Args:
            record: what to change.
            body: attributes as sent; the others stay.
            user: who changes it.
            version: header ``X-Version-Number``.
            silent: fire no webhook.
            keep_modified: nor touch ``modifiedAt`` and ``modifiedById``, as EspoCRM's save option ``silent`` does.

        Raises:
            ApiError: 400, 403 or 409.
        """
        entity = record.entity
        user.demand("edit", entity.name)
        data = self._checked_update(record, body, user)
        if version is not None:
            self._refuse_conflicts(record, data, version)
        self._check_assignment(entity, data, record, user)
        self._check_links(entity, data, record, user)
        new_assignee = data.get("assignedUserId") != record.values.get("assignedUserId")
        old_owner = record.values.get("beteiligteId")
        change = self._store.update(record, data, user, keep_modified=keep_modified)
        if change and not silent:
            if new_assignee:
                self._notify(record, data, user)
            self._publish(change)
        if record.values.get("beteiligteId") != old_owner:
            self.mark_owner(old_owner, entity, user)
            self.mark_owner(record.values.get("beteiligteId"), entity, user)
        sent = {name: data[name] for name in data if name.endswith("Data")}
        return self._store.full(record) | sent

    def _checked_update(
        self, record: Record, body: dict[str, Any], user: ApiUser
    ) -> dict[str, Any]:
        """The attributes that a body sets, checked as EspoCRM and the extension do."""
        entity = record.entity
        if entity.name == "Webhook":
            body = self._webhook_update(record, body, user)
        data = self._store.prepare(entity, body, record=record)
        validate_bank_details(entity, data)
        self._validate_name(entity, data, record.values, user)
        if entity.name == "Webhook":
            self._check_receiver(data)
        return data

    def _refuse_conflicts(
        self, record: Record, data: Mapping[str, Any], version: int
    ) -> None:
        conflicts = self._store.concurrent_changes(record, data, version)
        if conflicts:
            body = {"values": conflicts, "versionNumber": record.version}
            raise ApiError(409, "modified", body)

    def delete(self, record: Record, user: ApiUser, *, silent: bool = False) -> None:
        """Delete a record softly.

        Raises:
            ApiError: 403.
        """
        user.demand("delete", record.entity.name)
        owner = record.values.get("beteiligteId")
        change = self._store.delete(record, user)
        if not silent:
            self._publish(change)
        self.mark_owner(owner, record.entity, user)

    def _validate_name(
        self,
        entity: Entity,
        data: Mapping[str, Any],
        present: Mapping[str, Any] | None,
        user: ApiUser,
    ) -> None:
        if self._store.settings.has_form_rules and not user.sync:
            validate_name(entity, data, present)

    def mark_owner(self, owner_id: Any, part: Entity, user: ApiUser) -> None:
        """The extension: an address or account that goes or moves makes its Beteiligter wait for the sync."""
        if not self._store.settings.has_form_rules:
            return
        owner = self._store.find("CBeteiligte", owner_id) if owner_id else None
        if (
            owner is None
            or user.sync
            or part.name not in {"CAdressen", "CBankverbindungen"}
        ):
            return
        if owner.values.get("syncStatus") in {"pending_sync", "dirty"}:
            return
        change = self._store.update(owner, {"syncStatus": "dirty"}, user)
        if change:
            self._publish(change)

    # -- rules ------------------------------------------------------------------------------------------------

    def _check_assignment(
        self,
        entity: Entity,
        data: Mapping[str, Any],
        record: Record | None,
        user: ApiUser,
    ) -> None:
        assignee = data.get("assignedUserId")
        present = record.values.get("assignedUserId") if record else None
        if (
            user.admin
            or user.assignment_permission == "all"
            or assignee in {None, present, user.id}
        ):
            return
        if "assignedUserId" in entity.writable:
            raise ApiError(
                403, "Assignment failure: assigned user or team not allowed."
            )

    def _check_links(
        self,
        entity: Entity,
        data: Mapping[str, Any],
        record: Record | None,
        user: ApiUser,
    ) -> None:
        present = record.values if record else {}
        for field in entity.all_fields:
            target_id = data.get(f"{field.name}Id")
            if field.type not in {"link", "linkParent"} or target_id is None:
                continue
            if target_id == present.get(f"{field.name}Id"):
                continue
            target = self._store.find(_foreign_entity(field, data, present), target_id)
            if target is None:
                raise ApiError(403, "Can't relate with non-existing record.")
            if not self._may_read(user, target):
                raise ApiError(
                    403,
                    f"No foreign record access for link operation ({entity.name}:{field.name}).",
                )

    @staticmethod
    def _may_read(user: ApiUser, record: Record) -> bool:
        if record.id == user.id:
            return True
        return user.may("read", record.entity.name) and user.may_see(
            record.entity.name, record.values | {"id": record.id}
        )

    # -- stream -----------------------------------------------------------------------------------------------

    def _notify(self, record: Record, data: Mapping[str, Any], user: ApiUser) -> None:
        """Put a notification on the bell of an assignee or of whoever is mentioned in a post."""
        if record.entity.name == "Task":
            assignee = data.get("assignedUserId")
            if assignee and assignee != user.id:
                self._ring(assignee, "Note", record, user)
        elif record.entity.name == "Note":
            mentions = dict(self._mentioned(data.get("post") or "", user))
            if mentions:
                record.values["data"] = {"mentions": mentions}
            for person in mentions.values():
                if person["id"] != user.id:
                    self._ring(person["id"], "MentionInPost", record, user)

    def _mentioned(self, post: str, user: ApiUser) -> list[tuple[str, dict[str, Any]]]:
        people = {
            record.values["userName"]: record for record in self._store.records("User")
        }
        found: list[tuple[str, dict[str, Any]]] = []
        for mention in dict.fromkeys(_MENTION.findall(post)):
            person = people.get(mention[1:])
            if person is None or not person.values["isActive"]:
                continue
            if (
                not user.admin
                and user.mention_permission != "all"
                and person.id != user.id
            ):
                continue
            shown = {
                "id": person.id,
                "name": person.values["name"],
                "userName": mention[1:],
                "_scope": "User",
            }
            found.append((mention, shown))
        return found

    def _ring(self, user_id: str, kind: str, about: Record, author: ApiUser) -> None:
        data = {
            "type": kind,
            "userId": user_id,
            "read": False,
            "relatedType": about.entity.name,
            "relatedId": about.id,
        }
        self._store.create(NOTIFICATION, data, author)

    # -- webhook records --------------------------------------------------------------------------------------

    def _webhook_data(self, data: dict[str, Any], user: ApiUser) -> dict[str, Any]:
        self._check_receiver(data)
        scope, kind, field = self._event_of(data, user)
        if not user.admin and self._webhooks_of(user) >= MAX_WEBHOOKS_PER_USER:
            raise ApiError(403, "Webhook number per user exceeded the limit.")
        owner = self._store.find("User", data.get("userId"))
        if owner is not None and owner.values["type"] != "api":
            raise ApiError(403, "User must be an API User.")
        known_skip = bool(data.get("userId")) and self._store.settings.version != "8.4"
        return data | {
            "entityType": scope,
            "type": kind,
            "field": field,
            "secretKey": f"{self._dice.getrandbits(128):032x}",
            "skipOwn": bool(data.get("skipOwn")) and known_skip,
        }

    @staticmethod
    def _event_of(
        data: Mapping[str, Any], user: ApiUser
    ) -> tuple[str, str, str | None]:
        """Entity, kind and field of the event that a webhook wants to hear of.

        Raises:
            ApiError: 403, there is no such event for this user.
        """
        match = _EVENT.fullmatch(data["event"])
        if match is None:
            raise ApiError(403, "Not supported event.")
        scope, kind, field = match.groups()
        entity = ENTITIES.get(scope)
        if entity is None or not entity.webhooks:
            raise ApiError(403, "Entity type is not available for Webhooks.")
        if not user.may("read", scope):
            raise ApiError(403, "Entity type is forbidden.")
        if kind == "fieldUpdate":
            if not field:
                raise ApiError(403, "Field is empty.")
            if field not in {known.name for known in entity.all_fields}:
                raise ApiError(403, "Field does not exist.")
        return scope, kind, field

    def _webhooks_of(self, user: ApiUser) -> int:
        owners = [hook.values.get("userId") for hook in self._store.records("Webhook")]
        return owners.count(user.id)

    def _check_receiver(self, data: Mapping[str, Any]) -> None:
        if "url" in data and not self._store.settings.may_send_to(data["url"]):
            raise validation_failure("Webhook", "url", "notInternal")

    @staticmethod
    def _webhook_update(
        record: Record, body: dict[str, Any], user: ApiUser
    ) -> dict[str, Any]:
        if not user.admin:
            return {
                key: value
                for key, value in body.items()
                if key not in {"event", "userId"}
            }
        if body.get("event", record.values["event"]) != record.values["event"]:
            raise ApiError(403, "Event can't be changed.")
        return body


def _foreign_entity(
    field: Field, data: Mapping[str, Any], present: Mapping[str, Any]
) -> str:
    """The entity that a link leads to; that of a parent is an attribute of its own."""
    if field.entity:
        return field.entity
    kind = f"{field.name}Type"
    return data.get(kind) or present.get(kind) or ""
