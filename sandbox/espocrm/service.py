"""What a user of the EspoCRM twin can do with records, and the rules that stand in his way.

The order of the checks is EspoCRM's: role, values, assignment, links, duplicates; then it stores, notifies and queues
the webhooks.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.espocrm.access import ApiUser, Settings
from sandbox.espocrm.entities import ENTITIES, NOTIFICATION, Entity, Field
from sandbox.espocrm.php import ApiError, validation_failure
from sandbox.espocrm.store import Change, Record, Store, sent_arrays
from sandbox.espocrm.validation import validate_bank_details, validate_name

MAX_WEBHOOKS_PER_USER = 50
_EVENT = re.compile(r"(\w+)\.(create|update|delete|fieldUpdate)(?:\.(\w+))?")
_MENTION = re.compile(r"@[\w@.-]+")


class RecordService:
    """Creates, changes and deletes records on behalf of a user."""

    def __init__(
        self,
        store: Store,
        dice: random.Random,
        publish: Callable[[Change], None],
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
        # What the control API lays down may be older than the extension.
        is_laid_down = given is not None
        data = self._store.prepare(
            entity,
            body,
            record=None,
            demand_required=not is_laid_down,
        )
        if not is_laid_down:
            self._check_by_extension(entity, data, None, user)
        self._check_assignment(entity, data, None, user)
        self._check_links(entity, data, None, user)
        if not skip_duplicate_check:
            self._refuse_duplicates(entity, data)
        data |= self._made_by_espocrm(entity, data, user)
        record, change = self._store.create(entity, data, user, given)
        if not silent:
            self._notify(record, data, user)
            self._publish(change)
        return record

    def _refuse_duplicates(self, entity: Entity, data: Mapping[str, Any]) -> None:
        duplicates = self._store.likely_duplicates(entity, data)
        if duplicates:
            raise ApiError(409, "duplicate", duplicates)

    def _made_by_espocrm(
        self,
        entity: Entity,
        data: dict[str, Any],
        user: ApiUser,
    ) -> dict[str, Any]:
        """What a new record holds beside what was sent."""
        if entity.name == "Webhook":
            return self._webhook_data(data, user)
        if entity.name == "Note":
            notes = list(self._store.records("Note"))
            return {"type": "Post", "number": len(notes) + 1}
        return {}

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
        assignee = record.get("assignedUserId")
        owner = record.get("beteiligteId")
        change = self._store.update(record, data, user, keep_modified=keep_modified)
        if change and not silent:
            if data.get("assignedUserId") != assignee:
                self._notify(record, data, user)
            self._publish(change)
        new_owner = record.get("beteiligteId")
        if new_owner != owner:
            self.mark_owner(owner, entity, user)
            self.mark_owner(new_owner, entity, user)
        return self._store.full(record) | sent_arrays(data)

    def _checked_update(
        self,
        record: Record,
        body: dict[str, Any],
        user: ApiUser,
    ) -> dict[str, Any]:
        """The attributes that a body sets, checked as EspoCRM and the extension do."""
        entity = record.entity
        is_webhook = entity.name == "Webhook"
        if is_webhook:
            body = self._webhook_update(record, body, user)
        data = self._store.prepare(entity, body, record=record)
        self._check_by_extension(entity, data, record, user)
        if is_webhook:
            self._check_receiver(data)
        return data

    def _refuse_conflicts(
        self,
        record: Record,
        data: Mapping[str, Any],
        version: int,
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
        entity = record.entity
        user.demand("delete", entity.name)
        owner = record.get("beteiligteId")
        change = self._store.delete(record, user)
        if not silent:
            self._publish(change)
        self.mark_owner(owner, entity, user)

    @property
    def _settings(self) -> Settings:
        return self._store.settings

    def _check_by_extension(
        self,
        entity: Entity,
        data: dict[str, Any],
        record: Record | None,
        user: ApiUser,
    ) -> None:
        validate_bank_details(entity, data)
        if user.sync or not self._settings.has_form_rules:
            return
        present = None
        if record is not None:
            present = record.values
        validate_name(entity, data, present)

    def mark_owner(self, owner_id: Any, part: Entity, user: ApiUser) -> None:
        """The extension: an address or account that goes or moves makes its Beteiligter wait for the sync."""
        if user.sync or not self._settings.has_form_rules:
            return
        if part.name not in {"CAdressen", "CBankverbindungen"}:
            return
        owner = self._store.find("CBeteiligte", owner_id)
        if owner is not None and not _waits_for_sync(owner):
            self._mark_dirty(owner, user)

    def _mark_dirty(self, record: Record, user: ApiUser) -> None:
        change = self._store.update(record, {"syncStatus": "dirty"}, user)
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
        if user.admin or user.assignment_permission == "all":
            return
        if "assignedUserId" not in entity.writable:
            return
        allowed = {None, user.id}
        if record is not None:
            allowed.add(record.get("assignedUserId"))
        if data.get("assignedUserId") not in allowed:
            raise ApiError(
                403,
                "Assignment failure: assigned user or team not allowed.",
            )

    def _check_links(
        self,
        entity: Entity,
        data: Mapping[str, Any],
        record: Record | None,
        user: ApiUser,
    ) -> None:
        present: Mapping[str, Any] = {}
        if record is not None:
            present = record.values
        for link in entity.link_fields:
            attribute = f"{link.name}Id"
            target_id = data.get(attribute)
            if target_id is None:
                continue
            if target_id == present.get(attribute):
                continue
            foreign = _foreign_entity(link, data, present)
            target = self._linked_record(foreign, target_id)
            if not self._may_read(user, target):
                place = f"{entity.name}:{link.name}"
                raise ApiError(
                    403,
                    f"No foreign record access for link operation ({place}).",
                )

    def _linked_record(self, entity: str, record_id: Any) -> Record:
        target = self._store.find(entity, record_id)
        if target is None:
            raise ApiError(403, "Can't relate with non-existing record.")
        return target

    @staticmethod
    def _may_read(user: ApiUser, record: Record) -> bool:
        if record.id == user.id:
            return True
        if not user.may("read", record.entity.name):
            return False
        return record.is_shown_to(user)

    # -- stream -----------------------------------------------------------------------------------------------

    def _notify(self, record: Record, data: Mapping[str, Any], user: ApiUser) -> None:
        """Put a notification on the bell of an assignee or of whoever is mentioned in a post."""
        kind = record.entity.name
        if kind == "Task":
            assignee = data.get("assignedUserId")
            self._ring(assignee, "Note", record, user)
        if kind == "Note":
            post = data.get("post") or ""
            self._notify_mentioned(record, post, user)

    def _notify_mentioned(self, note: Record, post: str, user: ApiUser) -> None:
        mentions = self._mentioned(post, user)
        if not mentions:
            return
        note.values["data"] = {"mentions": mentions}
        for person in mentions.values():
            self._ring(person["id"], "MentionInPost", note, user)

    def _mentioned(self, post: str, user: ApiUser) -> dict[str, dict[str, Any]]:
        """The users that a post mentions, by the mention."""
        people = self._people_to_mention(user)
        found: dict[str, dict[str, Any]] = {}
        for mention in _MENTION.findall(post):
            name = mention.removeprefix("@")
            person = people.get(name)
            if person is None:
                continue
            found[mention] = {
                "id": person.id,
                "name": person.values["name"],
                "userName": name,
                "_scope": "User",
            }
        return found

    def _people_to_mention(self, user: ApiUser) -> dict[str, Record]:
        """The active users whom this one may mention, by their user names."""
        people = {}
        for person in self._store.records("User"):
            if not person.values["isActive"]:
                continue
            if _may_mention(user, person):
                people[person.values["userName"]] = person
        return people

    def _ring(self, user_id: Any, kind: str, about: Record, author: ApiUser) -> None:
        """A bell for a user, unless it is about his own doing."""
        if not user_id or user_id == author.id:
            return
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
        self._check_owner(data, user)
        secret = self._dice.getrandbits(128)
        return data | {
            "entityType": scope,
            "type": kind,
            "field": field,
            "secretKey": f"{secret:032x}",
            "skipOwn": self._skips_own(data),
        }

    def _check_owner(self, data: Mapping[str, Any], user: ApiUser) -> None:
        """Refuse a webhook too many of a user, and one that is for a person."""
        if not user.admin and self._webhooks_of(user) >= MAX_WEBHOOKS_PER_USER:
            raise ApiError(403, "Webhook number per user exceeded the limit.")
        owner = self._store.find("User", data.get("userId"))
        if owner is not None and owner.values["type"] != "api":
            raise ApiError(403, "User must be an API User.")

    def _skips_own(self, data: Mapping[str, Any]) -> bool:
        if self._settings.is_version_8_4 or not data.get("userId"):
            return False
        return bool(data.get("skipOwn"))

    @staticmethod
    def _event_of(
        data: Mapping[str, Any],
        user: ApiUser,
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
            _demand_field(entity, field)
        return scope, kind, field

    def _webhooks_of(self, user: ApiUser) -> int:
        number = 0
        for webhook in self._store.records("Webhook"):
            if webhook.get("userId") == user.id:
                number += 1
        return number

    def _check_receiver(self, data: Mapping[str, Any]) -> None:
        if "url" not in data:
            return
        if not self._settings.may_send_to(data["url"]):
            raise validation_failure("Webhook", "url", "notInternal")

    @staticmethod
    def _webhook_update(
        record: Record,
        body: dict[str, Any],
        user: ApiUser,
    ) -> dict[str, Any]:
        if not user.admin:
            own = dict(body)
            own.pop("event", None)
            own.pop("userId", None)
            return own
        event = record.values["event"]
        if body.get("event", event) != event:
            raise ApiError(403, "Event can't be changed.")
        return body


def _waits_for_sync(record: Record) -> bool:
    return record.get("syncStatus") in {"pending_sync", "dirty"}


def _may_mention(user: ApiUser, person: Record) -> bool:
    if user.admin or user.mention_permission == "all":
        return True
    return person.id == user.id


def _demand_field(entity: Entity, name: str | None) -> None:
    if not name:
        raise ApiError(403, "Field is empty.")
    names = {field.name for field in entity.all_fields}
    if name not in names:
        raise ApiError(403, "Field does not exist.")


def _foreign_entity(
    field: Field,
    data: Mapping[str, Any],
    present: Mapping[str, Any],
) -> str:
    """The entity that a link leads to; that of a parent is an attribute of its own."""
    if field.entity:
        return field.entity
    kind = f"{field.name}Type"
    return data.get(kind) or present.get(kind) or ""
