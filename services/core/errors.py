"""The errors of this product, one class per remedy. Messages carry no secrets and no personal data."""

from __future__ import annotations

import re
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

from config import PROJECT_ROOT, BitByLawError, ConfigurationError

__all__ = [
    "AuthenticationFailed",
    "BitByLawError",
    "ConfigurationError",
    "Conflict",
    "CreateUnclear",
    "DatabaseUnusable",
    "DifferentPerson",
    "EntityBusy",
    "Forbidden",
    "ForeignSystemError",
    "InvalidInput",
    "LoginRefused",
    "NameMissing",
    "NeedsPerson",
    "NotBefore",
    "NotFound",
    "OlderState",
    "Paused",
    "RateLimited",
    "RefusedBefore",
    "Unavailable",
    "UnexpectedAnswer",
    "UpstreamTimeout",
    "ValidationFailed",
    "WriteProtected",
    "error_for_status",
    "failure_code",
    "is_no_records_fault",
    "shown_text",
    "without_quotes",
    "words_of",
]


class InvalidInput(BitByLawError):
    """The caller sent something unusable; the message says what to correct."""


class EntityBusy(BitByLawError):
    """Another run is working on the same record; try again shortly."""


class NotBefore(EntityBusy):
    """What an interrupted run has left (a request, a lock) may count until the aware ``moment``; then try again.

    Raised instead of waiting, because whoever waits inside of a lock keeps others out (`services.core.jobs.look_again`
    waits).
    """

    def __init__(self, what: str, moment: datetime) -> None:
        super().__init__(f"{what} may count until {moment:%H:%M:%S}")
        self.moment = moment


class Paused(EntityBusy):
    """An operator has paused what would write; the message says until when. Like a busy record, it uses up no try."""


class ReadOnly(BitByLawError):
    """``BITBYLAW_READ_ONLY`` is on: nothing is written to any foreign system."""


class WriteProtected(BitByLawError):
    """Writing to this part of a foreign system is switched off by configuration."""


class RefusedBefore(BitByLawError):
    """A foreign system has refused the same before; it is sent again later, or when the record has changed."""


class NeedsPerson(BitByLawError):
    """A record that is left alone until a person has decided; ``reason`` is its word in the catalogue of problems.

    ``betnr``: the number in question, which the record in EspoCRM may not show.
    """

    reason = "general_manual_action"

    def __init__(self, message: str = "", betnr: str | None = None) -> None:
        super().__init__(message)
        self.betnr = betnr


class NameMissing(NeedsPerson):
    """A record without a name cannot be created in Advoware."""

    reason = "name_missing"


class CreateUnclear(NeedsPerson):
    """It is unknown whether an interrupted create has come to its end; a second one would double the record."""

    reason = "create_unclear"


class DifferentPerson(NeedsPerson):
    """The number that a record is linked with stands for another person or company by now."""

    reason = "somebody_else"


class NumberTaken(NeedsPerson):
    """The number of a record belongs to another record, as after a merge whose source was restored."""

    reason = "number_taken"


class OlderState(NeedsPerson):
    """Advoware shows an older state than at the last sync, as after a restored backup; nothing is taken from it."""

    reason = "advoware_restored"


class LoginRefused(ConfigurationError):
    """A foreign system refuses our credentials; only a person can mend that, so it is not retried."""


class DatabaseUnusable(ConfigurationError):
    """PostgreSQL answers, but is not what we need (login, database, rights, tables); only a person can mend that."""


class ForeignSystemError(BitByLawError):
    """A foreign system did not do what was asked.

    Attributes:
        system: ``"Advoware"``, ``"EspoCRM"``, ``"Google Calendar"``, ``"Redis"`` or ``"PostgreSQL"``.
        status: the HTTP status, if there was an answer.
        reason: what the system gave as the reason, in its own words; may be empty.
        details: the decoded body of the answer. It may contain personal data: for the caller, never for a log.
        retry_after: the ``Retry-After`` of the answer as it came (seconds or a date); None without one.
        retry_after_seconds: how long the system asks us to wait; None if it does not say.
    """

    def __init__(
        self,
        system: str,
        reason: str = "",
        *,
        status: int | None = None,
        details: Any = None,
        retry_after: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.system = system
        self.status = status
        self.reason = reason
        self.details = details
        self.retry_after = retry_after
        self.retry_after_seconds = retry_after_seconds
        super().__init__(_message(system, status, reason))

    @property
    def changed_nothing(self) -> bool:
        """Whether the request has certainly changed nothing there, so that a create may be repeated at once."""
        return self.status is not None and 400 <= self.status < 500


def _message(system: str, status: int | None, reason: str) -> str:
    if status is not None:
        head = f"{system} answered {status}"
        if reason:
            return f"{head}: {reason}"
        return head
    if reason:
        return f"{system}: {reason}"
    return f"{system} failed"


class NotFound(ForeignSystemError):
    """The record does not exist there (404, 410)."""


class Forbidden(ForeignSystemError):
    """Our account may not do this (403, 405)."""


class Conflict(ForeignSystemError):
    """The record is already there, or has changed in the meantime (409, 412)."""


class ValidationFailed(ForeignSystemError):
    """The system refuses the values (400, 413, 422 and other 4xx)."""


class AuthenticationFailed(ForeignSystemError):
    """The system does not accept our key or token (401)."""


class RateLimited(ForeignSystemError):
    """Too many requests (429, or our own share of them)."""


class Unavailable(ForeignSystemError):
    """The system cannot be reached or is broken (5xx, network); worth another try later.

    ``was_sent`` is False if the request certainly never arrived, so that even a write may be repeated.
    """

    def __init__(
        self,
        system: str,
        reason: str = "",
        *,
        was_sent: bool = True,
        **facts: Any,
    ) -> None:
        super().__init__(system, reason, **facts)
        self.was_sent = was_sent

    @property
    def changed_nothing(self) -> bool:
        """Whether the request certainly never arrived."""
        return not self.was_sent or super().changed_nothing


class UpstreamTimeout(Unavailable):
    """No answer in time. Whether the system did the work is unknown."""


class SyncTokenExpired(ForeignSystemError):
    """The calendar system no longer knows, or never knew, the sync token: list the whole calendar. The pairs stay."""


class UnexpectedAnswer(ForeignSystemError):
    """The answer is not what the system's interface promises (for example broken JSON)."""


_CLASS_FOR_STATUS: dict[int, type[ForeignSystemError]] = {
    401: AuthenticationFailed,
    403: Forbidden,
    404: NotFound,
    405: Forbidden,
    409: Conflict,
    410: NotFound,
    412: Conflict,
    429: RateLimited,
    504: UpstreamTimeout,
}


#: Our own stores.
_STORES = frozenset({"PostgreSQL", "Redis"})


def is_no_records_fault(error: Exception) -> bool:
    """Whether it uses up no try of the record that was worked on: one of our stores is in trouble, or it is paused."""
    return isinstance(error, DatabaseUnusable | Paused) or (
        isinstance(error, Unavailable) and error.system in _STORES
    )


_NUMBERS = re.compile(r"[A-Z]{2}\d{2}[\d ]{8,}|\d{5,}")
_QUOTED = re.compile(r" ?„[^“]*“")


def shown_text(error: Exception) -> str:
    """An error as the record that it concerns may show it.

    The words of a foreign system stand in „“, because it may name people; long numbers in it are left out.
    """
    name = type(error).__name__
    if not isinstance(error, ForeignSystemError) or error.status is None:
        return f"{name}: {error}"
    answered = f"{name}: {error.system} answered {error.status}"
    words = words_of(error)
    if words:
        return f"{answered} {words}"
    return answered


def words_of(error: ForeignSystemError) -> str:
    """What the foreign system answered, in „“ and without long numbers; empty if it gave no reason."""
    unquoted = error.reason.translate({ord("„"): "'", ord("“"): "'"})
    words = _NUMBERS.sub("…", unquoted).strip()
    if words:
        return f"„{words}“"
    return ""


def without_quotes(text: str) -> str:
    """A text made of `shown_text` without the foreign systems' words, as logs and audits may hold it."""
    return _QUOTED.sub("", text)


def failure_code(error: BaseException) -> str:
    """Why something failed, for logs and audits: our own words, or of any other error its name and the place.

    Never what a foreign record contains, which an error's message may quote.
    """
    if isinstance(error, BitByLawError):
        return without_quotes(shown_text(error))
    name = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own_frames = [frame for frame in frames if _is_in_product(frame.filename)]
    if not own_frames:
        return name
    last = own_frames[-1]
    return f"{name} ({Path(last.filename).name}:{last.lineno})"


def _is_in_product(filename: str) -> bool:
    """Whether a place is in this product: a place in a library does not show what to look at."""
    return (
        Path(filename).is_relative_to(PROJECT_ROOT) and "site-packages" not in filename
    )


def error_for_status(
    system: str,
    status: int,
    reason: str = "",
    details: Any = None,
    *,
    retry_after: str | None = None,
    retry_after_seconds: float | None = None,
) -> ForeignSystemError:
    """The error that stands for an HTTP status of 300 and above."""
    return _class_for_status(status)(
        system,
        reason,
        status=status,
        details=details,
        retry_after=retry_after,
        retry_after_seconds=retry_after_seconds,
    )


def _class_for_status(status: int) -> type[ForeignSystemError]:
    if status in _CLASS_FOR_STATUS:
        return _CLASS_FOR_STATUS[status]
    if status >= 500:
        return Unavailable
    if status >= 400:
        return ValidationFailed
    return UnexpectedAnswer
