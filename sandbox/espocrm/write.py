"""The write action of the firm's extension, ``BitByLaw/write``, as its PHP classes below ``Classes/Write`` do it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sandbox.espocrm.access import ApiUser
from sandbox.espocrm.entities import CUSTOM_ENTITIES, ENTITIES
from sandbox.espocrm.php import ApiError
from sandbox.espocrm.service import RecordService
from sandbox.espocrm.store import Record, Store

ENTITY_TYPES = (*CUSTOM_ENTITIES, "Task", "Note")
MAX_WRITES = 200
#: Stands in the post of a note for the id of what was written right before it.
PREVIOUS_ID = "{{previousId}}"
MAX_KEY_LENGTH = 255
KEPT = timedelta(hours=24)
VOLATILE = frozenset({"versionNumber", "modifiedAt", "modifiedById", "modifiedByName"})


@dataclass
class WriteAction:
    """Writes several records: all or none, those of our own entities silently, and once per key."""

    store: Store
    service: RecordService
    now: Callable[[], datetime]
    _answers: dict[tuple[str, str], tuple[datetime, str, Any]] = field(
        default_factory=dict
    )

    def offered(self, user: ApiUser) -> dict[str, Any]:
        """What the action can do.

        Raises:
            ApiError: 403, the user is not the sync; 404, this extension has no such action.
        """
        if self.store.settings.extension in {"", "1.0.0"}:
            raise ApiError(404, "Controller 'BitByLaw' does not exist.")
        if not user.sync:
            raise ApiError(403, "Only for API users with the role of the sync.")
        return {
            "version": self.store.settings.extension,
            "entityTypes": list(ENTITY_TYPES),
            "maxWrites": MAX_WRITES,
            "previousId": PREVIOUS_ID,
            "keyHours": KEPT // timedelta(hours=1),
        }

    def run(self, body: dict[str, Any], user: ApiUser) -> dict[str, Any]:
        """Answer a POST.

        Raises:
            ApiError: as EspoCRM refuses one of the writes; the body names it (``index``).
        """
        if self.store.settings.extension in {"", "1.0.0"}:
            raise ApiError(405, "")
        self.offered(user)
        key = body.get("key")
        writes = body.get("writes")
        if key is not None and not _is_key(key):
            raise ApiError(
                400, f"key: expected a text of at most {MAX_KEY_LENGTH} bytes."
            )
        if not isinstance(writes, list) or not 1 <= len(writes) <= MAX_WRITES:
            raise ApiError(400, f"writes: expected a list of 1 to {MAX_WRITES}.")
        request = hashlib.sha256(json.dumps(writes).encode()).hexdigest()
        unknown = (self.now(), "", None)
        until, asked, answer = self._answers.get((user.id, key or ""), unknown)
        if until > self.now():
            if asked != request:
                raise ApiError(400, "key: was used for another request.")
            return dict(answer)
        answer = {"results": self._write_all(writes, user)}
        if key is not None:
            self._answers[user.id, key] = (self.now() + KEPT, request, answer)
        return answer

    def _write_all(self, writes: list[Any], user: ApiUser) -> list[dict[str, Any]]:
        for index, write in enumerate(writes):
            _naming(index, _check, write)
        undo = self.store.checkpoint() if len(writes) > 1 else None
        results: list[dict[str, Any]] = []
        for index, write in enumerate(writes):
            previous_id = results[-1]["id"] if results else ""
            try:
                results.append(
                    _naming(
                        index, self._write, _naming_previous(write, previous_id), user
                    )
                )
            except ApiError:
                if undo is not None:
                    undo()
                raise
        return results

    def _write(self, write: dict[str, Any], user: ApiUser) -> dict[str, Any]:
        entity = ENTITIES[write["entityType"]]
        attributes = dict(write["attributes"])
        if write.get("statusOnly") is True and attributes.keys() - entity.status:
            raise ApiError(
                400,
                f"statusOnly: not for {', '.join(attributes.keys() - entity.status)}.",
            )
        silent = entity.name in CUSTOM_ENTITIES
        record = (
            self.store.get(entity, write["id"], "not found")
            if write["op"] == "update"
            else None
        )
        before = self._values(record)
        if silent:
            self.store.keep_what_is_shared(entity, record, attributes)
        if record is None:
            skip = write.get("skipDuplicateCheck") is True
            record = self.service.create(
                entity, attributes, user, skip_duplicate_check=skip, silent=silent
            )
        else:
            version = write.get("version")
            self.service.update(
                record,
                attributes,
                user,
                version=version,
                silent=silent,
                keep_modified=silent,
            )
        return {
            "id": record.id,
            "entityType": entity.name,
            "changed": before != self._values(record),
            "attributes": self.store.full(record),
        }

    def _values(self, record: Record | None) -> dict[str, Any] | None:
        if record is None:
            return None
        return {
            name: value
            for name, value in self.store.full(record).items()
            if name not in VOLATILE
        }


def plain_forms(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Methods and paths of the plain requests that do the same, if the body is well formed."""
    writes = body.get("writes")
    if not isinstance(writes, list):
        return []
    forms = []
    for write in writes:
        try:
            _check(write)
        except ApiError:
            return []
        entity = write["entityType"]
        forms.append(
            ("POST", entity)
            if write["op"] == "create"
            else ("PUT", f"{entity}/{write['id']}")
        )
    return forms


def named(own: Any, index: int) -> dict[str, Any]:
    """EspoCRM's own body of a refusal, and which write it is about. Duplicates, which are a list, get a name."""
    if isinstance(own, dict):
        return {**own, "index": index}
    if own is None:
        return {"index": index}
    return {"duplicates": own, "index": index}


def _naming_previous(write: dict[str, Any], previous_id: str) -> dict[str, Any]:
    post = write["attributes"].get("post")
    if write["entityType"] != "Note" or not isinstance(post, str):
        return write
    return {
        **write,
        "attributes": {
            **write["attributes"],
            "post": post.replace(PREVIOUS_ID, previous_id),
        },
    }


def _naming(index: int, work: Callable[..., Any], *arguments: Any) -> Any:
    """Run a part of one write; a refusal says which write it was."""
    try:
        return work(*arguments)
    except ApiError as error:
        raise ApiError(error.status, error.reason, named(error.body, index)) from error


def _check(write: Any) -> None:
    if not isinstance(write, dict):
        raise ApiError(400, "A write is no object.")
    if write.get("op") not in {"update", "create"}:
        raise ApiError(400, "op: expected update or create.")
    if write.get("entityType") not in ENTITY_TYPES:
        raise ApiError(400, f"entityType: expected one of {', '.join(ENTITY_TYPES)}.")
    has_id = isinstance(write.get("id"), str) and write["id"] != ""
    needs_id = write["op"] == "update"
    if has_id != needs_id:
        raise ApiError(400, "id: required to update, not allowed to create.")
    if not isinstance(write.get("attributes"), dict):
        raise ApiError(400, "attributes: expected an object.")
    if not _is_version(write.get("version")):
        raise ApiError(400, "version: expected a whole number.")


def _is_version(value: Any) -> bool:
    """Whether it is a whole number, or not given."""
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _is_key(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value.encode()) <= MAX_KEY_LENGTH
