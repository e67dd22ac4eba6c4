"""What is known, and what is assumed, about Advoware's interface. Nothing here does I/O.

Facts marked [A] are assumptions (specification 05): they stand in this module and the mappers only, so that one look at
a live Swagger page can correct them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote
from zoneinfo import ZoneInfo

from yarl import URL

from config import AdvowareSettings
from services.core.errors import ConfigurationError, InvalidInput, UnexpectedAnswer

SYSTEM = "Advoware"
BERLIN = ZoneInfo("Europe/Berlin")

API_ROOT = "api/v1/advonet"
BETEILIGTE = f"{API_ROOT}/Beteiligte"
MITARBEITER = f"{API_ROOT}/Mitarbeiter"  # [A]
TERMINE = f"{API_ROOT}/Termine"  # [A]
TOKEN_PATH = "api/v1/Token"  # noqa: S105 - a path

EXPIRY_MARGIN = timedelta(minutes=2)

#: Dates before or after these years are "no date", whoever wrote them (specification 13, G5).
FIRST_YEAR = 1800
LAST_YEAR = 2200

MAX_REASON_LENGTH = 300

_DATE_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(\.\d+)?(Z|[+-]\d{2}:?\d{2})?)?",
)
_MAX_DECODINGS = 5
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\#]")
_FORBIDDEN_IN_QUERY = re.compile(r"[\x00-\x1f\x7f#]")
_ABSOLUTE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


# -- addresses ------------------------------------------------------------------------------------------------------


def endpoint_url(base_url: str, endpoint: str) -> URL:
    """The URL of an endpoint below the base URL. A query in the endpoint, encoded or not, comes out encoded once.

    Refuses everything that could lead elsewhere, however often it is percent-encoded: absolute URLs, ``//host``,
    ``.`` and ``..`` segments, backslashes, control characters, white space and fragments. In the query, where they
    lead nowhere, backslashes and spaces are values.

    Raises:
        InvalidInput: the endpoint is not a path below the base URL.
    """
    path, _, query = endpoint.partition("?")
    _refuse_encoded_outward(path)
    base = URL(base_url.rstrip("/") + "/")
    relative = path.lstrip("/")
    url = URL(f"{base}{relative}")
    if query:
        url = url.with_query(_query_pairs(query))
    is_below = url.path.startswith(base.path)
    if not is_below or url.origin() != base.origin():
        raise InvalidInput("endpoint must stay below the base URL")
    return url


def _query_pairs(query: str) -> list[tuple[str, str]]:
    if _FORBIDDEN_IN_QUERY.search(query):
        raise InvalidInput(
            "the query of the endpoint must not contain control characters or fragments",
        )
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise InvalidInput(
            "the query of the endpoint must be percent-encoded UTF-8",
        ) from None


def _refuse_encoded_outward(path: str) -> None:
    """Refuse a path that leads elsewhere, as it is or after any number of decodings."""
    decoded = path
    for _ in range(_MAX_DECODINGS):
        _refuse_outward(decoded)
        try:
            further = unquote(decoded, errors="strict")
        except UnicodeDecodeError:
            raise InvalidInput("endpoint must be percent-encoded UTF-8") from None
        if further == decoded:
            return
        # An encoded space or umlaut is a legitimate part of a name; an encoded delimiter is not.
        decoded = further.replace(" ", "_")
    raise InvalidInput("endpoint is encoded too often")


def _refuse_outward(text: str) -> None:
    if _FORBIDDEN.search(text):
        raise InvalidInput(
            "endpoint must not contain spaces, control characters, backslashes or fragments",
        )
    if not text.strip("/"):
        raise InvalidInput("endpoint must name a path")
    if _ABSOLUTE.match(text) or "//" in text or "?" in text:
        raise InvalidInput("endpoint must be a path below the base URL, without host")
    if any(_is_dot_segment(segment) for segment in text.split("/")):
        raise InvalidInput("endpoint must not contain '.' or '..' segments")


def _is_dot_segment(segment: str) -> bool:
    return segment.split(";")[0] in {".", ".."}


def is_calendar_path(url: URL) -> bool:
    """Whether a URL belongs to the appointments, whose changes the write protection forbids.

    Every path with "termin" in it counts, in any case, form of letters and number of encodings: some server on the
    way might read it so, and a change refused wrongly is reported to the caller.
    """
    path = url.path
    decoded = unquote(path)
    while decoded != path:
        path = decoded
        decoded = unquote(path)
    return "termin" in unicodedata.normalize("NFKC", path).casefold()


# -- login ----------------------------------------------------------------------------------------------------------


def sign_login(
    product: int,
    app_id: str,
    nonce: str,
    timestamp: str,
    api_key: str,
) -> str:
    """The ``HMAC512Signature`` of a login, base64 (vendor documentation).

    Raises:
        ConfigurationError: the API key is not base64.
    """
    try:
        key = base64.b64decode(api_key, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigurationError(
            "ADVOWARE_API_KEY: must be the base64 text that Advoware issued",
        ) from error
    message = f"{product}:{app_id}:{nonce}:{timestamp}".encode()
    digest = hmac.new(key, message, hashlib.sha512).digest()
    return base64.b64encode(digest).decode()


def login_request(settings: AdvowareSettings, now: datetime) -> dict[str, Any]:
    """The JSON body of ``POST Token``; ``now`` is aware."""
    # Seven fractional digits.
    timestamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")
    nonce = str(uuid.uuid4())
    signature = sign_login(
        settings.product_id,
        settings.app_id,
        nonce,
        timestamp,
        settings.api_key.get_secret_value(),
    )
    return {
        "AppID": settings.app_id,
        "Kanzlei": settings.kanzlei,
        "Database": settings.database,
        "User": settings.user,
        "Role": settings.role,
        "Product": settings.product_id,
        "Password": settings.password.get_secret_value(),
        "Nonce": nonce,
        "HMAC512Signature": signature,
        "RequestTimeStamp": timestamp,
    }


@dataclass(frozen=True)
class Token:
    """An access token and the aware time until which it is used (its expiry less a margin)."""

    value: str
    usable_until: datetime


#: Up to three years.
_SECONDS = re.compile(r"[0-9]{1,8}")


def read_token(answer: Any, now: datetime, lifetime_minutes: int) -> Token:
    """The token of a login's answer; ``lifetime_minutes`` is that of one that names no expiry, as in the settings.

    Raises:
        UnexpectedAnswer: there is none in it.
    """
    value = None
    if isinstance(answer, dict):
        value = answer.get("access_token")
    if not isinstance(value, str) or not value:
        raise UnexpectedAnswer(SYSTEM, "the login's answer contains no access_token")
    expiry = _expiry_of(answer, now)
    if expiry is None:
        expiry = now + timedelta(minutes=lifetime_minutes)
    return Token(value, expiry - EXPIRY_MARGIN)


def _expiry_of(answer: dict[str, Any], now: datetime) -> datetime | None:
    """The expiry that the answer names; None if it names none that could be read."""
    expiration = answer.get("expiration_utc")
    if expiration:
        expiry = parse_date_time(str(expiration), default_zone=UTC)
        if expiry is None or not FIRST_YEAR <= expiry.year <= LAST_YEAR:
            return None
        return expiry
    seconds = str(answer.get("expires_in", ""))
    if _SECONDS.fullmatch(seconds):
        return now + timedelta(seconds=int(seconds))
    return None


_REFUSALS = (
    (
        "freigeschaltet",
        "the app id is not unlocked for this Kanzlei; ask Advoware to unlock it (ADVOWARE_APP_ID)",
    ),
    (
        "ist nicht angemeldet",
        "the firm's Advoware server is not signed in; start the Advoware Manager there",
    ),
    ("ist nicht registriert", "the Kanzlei is not registered (ADVOWARE_KANZLEI)"),
    (
        "falscher name oder falsches kennwort",
        "wrong user or password (ADVOWARE_USER, ADVOWARE_PASSWORD)",
    ),
)


def explain_refusal(status: int, text: str) -> str | None:
    """What an operator has to correct after a refused login, or None if the answer is no refusal of credentials."""
    folded = text.casefold()
    for phrase, explanation in _REFUSALS:
        if phrase in folded:
            return explanation
    if status in {400, 401, 403}:
        return "the login is refused; check ADVOWARE_APP_ID, ADVOWARE_API_KEY, ADVOWARE_DATABASE and this clock"
    return None


# -- values ---------------------------------------------------------------------------------------------------------


def parse_date_time(text: str | None, default_zone: Any = BERLIN) -> datetime | None:
    """An aware time from one of Advoware's spellings: local time, local time with fractions, or with a zone.

    A bare date is its midnight. None for an empty or unreadable text.
    """
    if not text:
        return None
    match = _DATE_TIME.fullmatch(text.strip())
    if match is None:
        return None
    day, clock, fraction, zone = match.groups(default="")
    try:
        time_of_day = clock or "00:00"
        moment = datetime.fromisoformat(f"{day}T{time_of_day}{fraction[:7]}{zone}")
    except ValueError:
        return None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=default_zone)
    return moment


def parse_change_time(text: Any) -> datetime | None:
    """When a record was created or changed, as an aware time; None for what cannot be a time of this program's life.

    Databases write "no date" as the year 1 or 9999, where arithmetic with zones fails.
    """
    if not isinstance(text, str):
        return None
    moment = parse_date_time(text)
    if moment is None or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        return None
    return moment


def readings_of(moment: datetime) -> tuple[datetime, datetime]:
    """The earliest and the latest time (UTC) that a parsed one may mean: a local time occurs twice as summer ends."""
    first = moment.replace(fold=0).astimezone(UTC)
    second = moment.replace(fold=1).astimezone(UTC)
    return min(first, second), max(first, second)


def single_record(answer: Any) -> dict[str, Any]:
    """The record of a GET by id, which may come as an object or as a list of one [A].

    Raises:
        UnexpectedAnswer: neither of the two.
    """
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise UnexpectedAnswer(SYSTEM, "expected one record")
    return answer


def record_list(answer: Any) -> list[dict[str, Any]]:
    """The rows of a list; an empty answer is an empty list.

    Raises:
        UnexpectedAnswer: not a list of objects.
    """
    rows = rows_of(answer)
    for row in rows:
        if not isinstance(row, dict):
            raise UnexpectedAnswer(SYSTEM, "expected a list of records")
    return rows


def rows_of(answer: Any) -> list[Any]:
    """The items of a list, whatever they are; an empty answer is an empty list.

    Raises:
        UnexpectedAnswer: not a list.
    """
    if answer is None:
        return []
    if isinstance(answer, dict):
        return [answer]
    if not isinstance(answer, list):
        raise UnexpectedAnswer(SYSTEM, "expected a list")
    return answer


def reason_of(body: Any, text: str) -> str:
    """The message inside an error body, at most 300 characters; it may be empty."""
    if body is None:
        return text.strip()[:MAX_REASON_LENGTH]
    if isinstance(body, str):
        return body[:MAX_REASON_LENGTH]
    if not isinstance(body, dict):
        return ""
    for key in ("message", "Message", "error", "title", "detail"):
        reason = body.get(key)
        if isinstance(reason, str):
            return reason[:MAX_REASON_LENGTH]
    return ""


def shows_version(answer: Any, version: Any) -> bool:
    """Whether an answer shows this version of a record: ``rowId`` changes with every change (specification 05)."""
    if not isinstance(answer, Mapping) or not isinstance(version, Mapping):
        return False
    row_id = answer.get("rowId")
    return row_id is not None and bool(row_id == version.get("rowId"))
