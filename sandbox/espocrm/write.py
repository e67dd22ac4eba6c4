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


@dataclass(frozen=True)
class _Kept:
    """What a request with a key was answered."""

    until: datetime
    digest: str  #: of the writes
    answer: dict[str, Any]


@dataclass
class WriteAction:
    """Writes several records: all or none, those of our own entities silently, and once per key."""

    store: Store
    service: RecordService
    now: Callable[[], datetime]
    #: By user and key.
    _answers: dict[tuple[str, str], _Kept] = field(default_factory=dict)

    def offered(self, user: ApiUser) -> dict[str, Any]:
        """What the action can do.

        Raises:
            ApiError: 403, the user is not the sync; 404, this extension has no such action.
        """
        settings = self.store.settings
        if not settings.has_extension_1_1:
            raise ApiError(404, "Controller 'BitByLaw' does not exist.")
        if not user.sync:
            raise ApiError(403, "Only for API users with the role of the sync.")
        return {
            "version": settings.extension,
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
        if not self.store.settings.has_extension_1_1:
            raise ApiError(405, "")
        self.offered(user)
        key = body.get("key")
        _check_key(key)
        writes = _checked_writes(body.get("writes"))
        request = json.dumps(writes).encode()
        digest = hashlib.sha256(request).hexdigest()
        known = self._known_answer(user, key, digest)
        if known is not None:
            return known
        answer = {"results": self._write_all(writes, user)}
        if key is not None:
            until = self.now() + KEPT
            self._answers[user.id, key] = _Kept(until, digest, answer)
        return answer

    def _known_answer(
        self,
        user: ApiUser,
        key: str | None,
        digest: str,
    ) -> dict[str, Any] | None:
        """What a request with this key was answered; None if it is new, or too long ago.

        Raises:
            ApiError: 400, the key was used for another request.
        """
        kept = self._answers.get((user.id, key or ""))
        if kept is None:
            return None
        if kept.until <= self.now():
            return None
        if kept.digest != digest:
            raise ApiError(400, "key: was used for another request.")
        return dict(kept.answer)

    def _write_all(self, writes: list[Any], user: ApiUser) -> list[dict[str, Any]]:
        for index, write in enumerate(writes):
            _naming(index, _check, write)
        undo = None
        if len(writes) > 1:
            undo = self.store.checkpoint()
        results: list[dict[str, Any]] = []
        previous_id = ""
        try:
            for index, write in enumerate(writes):
                named_write = _naming_previous(write, previous_id)
                result = _naming(index, self._write, named_write, user)
                results.append(result)
                previous_id = result["id"]
        except ApiError:
            if undo is not None:
                undo()
            raise
        return results

    def _write(self, write: dict[str, Any], user: ApiUser) -> dict[str, Any]:
        entity = ENTITIES[write["entityType"]]
        attributes = dict(write["attributes"])
        others = attributes.keys() - entity.status
        if write.get("statusOnly") is True and others:
            raise ApiError(400, f"statusOnly: not for {', '.join(others)}.")
        silent = entity.name in CUSTOM_ENTITIES
        record = None
        if write["op"] == "update":
            record = self.store.get(entity, write["id"], "not found")
        before = self._values(record)
        if silent:
            self.store.keep_what_is_shared(entity, record, attributes)
        if record is None:
            skip = write.get("skipDuplicateCheck") is True
            record = self.service.create(
                entity,
                attributes,
                user,
                skip_duplicate_check=skip,
                silent=silent,
            )
        else:
            self.service.update(
                record,
                attributes,
                user,
                version=write.get("version"),
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
        values = self.store.full(record)
        for name in VOLATILE:
            values.pop(name, None)
        return values


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
        if write["op"] == "create":
            forms.append(("POST", entity))
        else:
            forms.append(("PUT", f"{entity}/{write['id']}"))
    return forms


def named(own: Any, index: int) -> dict[str, Any]:
    """EspoCRM's own body of a refusal, and which write it is about. Duplicates, which are a list, get a name."""
    if isinstance(own, dict):
        return {**own, "index": index}
    if own is None:
        return {"index": index}
    return {"duplicates": own, "index": index}


def _naming_previous(write: dict[str, Any], previous_id: str) -> dict[str, Any]:
    attributes = write["attributes"]
    post = attributes.get("post")
    if write["entityType"] != "Note":
        return write
    if not isinstance(post, str):
        return write
    named_post = post.replace(PREVIOUS_ID, previous_id)
    return {**write, "attributes": {**attributes, "post": named_post}}


def _naming(index: int, work: Callable[..., Any], *arguments: Any) -> Any:
    """Run a part of one write; a refusal says which write it was."""
    try:
        return work(*arguments)
    except ApiError as error:
        raise ApiError(error.status, error.reason, named(error.body, index)) from error


def _check(write: Any) -> None:
    if not isinstance(write, dict):
        raise ApiError(400, "A write is no object.")
    operation = write.get("op")
    if operation not in {"update", "create"}:
        raise ApiError(400, "op: expected update or create.")
    if write.get("entityType") not in ENTITY_TYPES:
        raise ApiError(400, f"entityType: expected one of {', '.join(ENTITY_TYPES)}.")
    needs_id = operation == "update"
    if _has_id(write) != needs_id:
        raise ApiError(400, "id: required to update, not allowed to create.")
    if not isinstance(write.get("attributes"), dict):
        raise ApiError(400, "attributes: expected an object.")
    if not _is_version(write.get("version")):
        raise ApiError(400, "version: expected a whole number.")


def _has_id(write: dict[str, Any]) -> bool:
    record_id = write.get("id")
    if not isinstance(record_id, str):
        return False
    return record_id != ""


def _is_version(value: Any) -> bool:
    """Whether it is a whole number, or not given."""
    if value is None:
        return True
    if not isinstance(value, int):
        return False
    return not isinstance(value, bool)


def _check_key(key: Any) -> None:
    if key is None:
        return
    if not isinstance(key, str) or not 0 < len(key.encode()) <= MAX_KEY_LENGTH:
        raise ApiError(400, f"key: expected a text of at most {MAX_KEY_LENGTH} bytes.")


def _checked_writes(writes: Any) -> list[Any]:
    if isinstance(writes, list) and 1 <= len(writes) <= MAX_WRITES:
        return writes
    raise ApiError(400, f"writes: expected a list of 1 to {MAX_WRITES}.")
