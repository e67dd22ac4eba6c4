"""Who may call us: API keys for tools, token and signature for EspoCRM's webhooks, a signature for its buttons.

No keys are needed only while every configured system is a twin. Whoever is refused often waits longer for each refusal,
and is logged at most once a second; a tool is answered 429 in the end. A right key is never slowed down nor refused:
behind one address there are many people. EspoCRM is never answered 429, with which it would drop its events.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import time
import zlib
from collections.abc import Mapping
from typing import Any

from redis.exceptions import RedisError

from config import Settings, key_of
from services.api.errors import (
    AccessDenied,
    NotPermitted,
    NotSetUp,
    TooManyAttempts,
)
from services.api.rights import ALL, Caller, ToolEndpoint
from services.core.errors import ConfigurationError
from services.core.log import log
from services.core.resources import Resources
from services.core.twins import require_twins

#: So many wrong keys of a sender in a minute are answered at once: mistyping is human.
FREE_ATTEMPTS = 5
COUNT_SECONDS = 60
#: So much longer than the one before waits each further refusal. EspoCRM gives up on an answer after ten seconds.
STEP_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 4.0
#: So many refusals of a worker wait at the same time, further ones are answered at once: the engine has 1,024 places.
MAX_WAITING = 256
#: From so many refusals in a minute on, those of tools are 429: of one sender, and of all together.
REFUSED_FROM = 60
ALL_REFUSED_FROM = 600
#: So many refusals of all senders together are answered at once; what comes then waits, from whomever it comes.
ALL_FREE_ATTEMPTS = 300
#: Senders are counted in so many groups, so that no number of senders fills the memory or Redis. A sender who shares
#: his group with a guesser waits for his refusals as well, never for an answer. The last group is that of all.
GROUPS = 256
_OF_ALL = GROUPS - 1
#: The embedded engine sets it. Then a body whose keys are in order was sent so; whoever else sets it is checked more.
ORDER_HEADER = "x-bitbylaw-key-order"
REDIS_SECONDS = 0.5
LOG_SECONDS = 1.0
#: The signature of a button is not older, nor from further ahead: both clocks may differ.
ACTION_SECONDS = 300


class _Gate:
    """What a worker remembers of refusals, and whether its twins have proved that they are twins."""

    def __init__(self) -> None:
        #: By group: since when (monotonic seconds), how many.
        self.counts: dict[int, tuple[float, int]] = {}
        self.waiting = 0
        self.logged_at = float("-inf")
        self.unlogged = 0
        self.has_proof = False
        self.lock = asyncio.Lock()


async def admit_tool(
    request: Any,
    resources: Resources,
    context: Any,
    needs: ToolEndpoint | None = None,
) -> Caller:
    """Admit an internal tool by its API key, see `require_api_key`. A refusal is logged, and answered late.

    Raises:
        AccessDenied: no or a wrong key.
        TooManyAttempts: the same, after many others.
        NotPermitted: the key is right, and has not the right that this ``needs``.
    """
    settings = resources.settings
    try:
        caller = require_api_key(request.headers, settings)
        if not settings.service.accepted_keys:
            await _require_proof(resources)
    except AccessDenied as error:
        if await _slow_down(request, resources, context, "tool"):
            raise TooManyAttempts(
                "too many wrong keys; the right one is still taken",
            ) from error
        raise
    _require_right(caller, needs, context)
    return caller


def _require_right(caller: Caller, needs: ToolEndpoint | None, context: Any) -> None:
    if needs is not None and not caller.may_use(needs):
        log(
            context,
            "warning",
            "access.not_permitted",
            key=caller.name,
            entry_point=needs,
        )
        raise NotPermitted(f"the key {caller.name} has no right {needs}")


def log_use(context: Any, caller: Caller, entry_point: str, **fields: Any) -> None:
    """Log what a tool has done, under the name of its key; where no keys are needed, nothing."""
    if caller.name:
        log(
            context,
            "info",
            "access.used",
            key=caller.name,
            entry_point=entry_point,
            **fields,
        )


async def admit_espocrm(request: Any, resources: Resources, context: Any) -> bool:
    """Admit EspoCRM, see `require_webhook_sender`. A refusal is logged, and answered late.

    Returns whether the signature was checked.

    Raises:
        AccessDenied: a check failed.
    """
    settings = resources.settings
    try:
        is_signed = require_webhook_sender(
            request.headers,
            request.query_params or {},
            request.body,
            settings,
        )
        if settings.espocrm.webhook_token is None:
            await _require_proof(resources)
    except AccessDenied:
        await _slow_down(request, resources, context, "webhook")
        raise
    return is_signed


async def admit_action(
    request: Any,
    path: str,
    resources: Resources,
    context: Any,
) -> None:
    """Admit a button pressed in EspoCRM, see `require_action_sender`. A refusal is logged, and answered late.

    Raises:
        AccessDenied: the signature or its time is wrong.
        NotSetUp: there is no key to check it by.
    """
    try:
        require_action_sender(
            request.headers,
            path,
            request.body,
            resources.settings,
            resources.clock().timestamp(),
        )
    except AccessDenied:
        await _slow_down(request, resources, context, "action")
        raise


async def _require_proof(resources: Resources) -> None:
    """Before a worker admits callers without a key, the twins must once have proved that they are twins."""
    gate = resources.shared(_Gate)
    async with gate.lock:
        if gate.has_proof:
            return
        try:
            await require_twins(resources.settings)
        except ConfigurationError as error:
            raise AccessDenied(str(error)) from error
        gate.has_proof = True


async def _slow_down(
    request: Any,
    resources: Resources,
    context: Any,
    entry_point: str,
) -> bool:
    """Log a refusal unless another one was logged within the last second, and wait before it is answered.

    Returns whether so many came before that it deserves 429.
    """
    gate = resources.shared(_Gate)
    now = time.monotonic()
    gate.unlogged += 1
    if now - gate.logged_at >= LOG_SECONDS:
        log(
            context,
            "warning",
            "access.denied",
            entry_point=entry_point,
            refusals=gate.unlogged,
        )
        gate.logged_at = now
        gate.unlogged = 0
    group = _group_of(request.headers)
    of_sender, of_all = await _count(resources, gate, (group, _OF_ALL), now)
    await _wait(gate, max(of_sender - FREE_ATTEMPTS, of_all - ALL_FREE_ATTEMPTS))
    return of_sender >= REFUSED_FROM or of_all >= ALL_REFUSED_FROM


async def _wait(gate: _Gate, excess: int) -> None:
    """Wait longer for each attempt above what is free."""
    seconds = min(excess * STEP_SECONDS, LONGEST_WAIT_SECONDS)
    if seconds <= 0 or gate.waiting >= MAX_WAITING:
        return
    gate.waiting += 1
    try:
        await asyncio.sleep(seconds)
    finally:
        gate.waiting -= 1


def _group_of(headers: Mapping[str, str]) -> int:
    """The group of the sender: the address that the reverse proxy has observed, which is the last it names."""
    sender = str(headers.get("x-forwarded-for") or "").rpartition(",")[2].strip()
    return zlib.crc32(sender.encode(errors="replace")) % _OF_ALL


async def _count(
    resources: Resources,
    gate: _Gate,
    groups: tuple[int, int],
    now: float,
) -> list[int]:
    """How many refusals each group has had within the minute, this one included: of all workers if Redis knows."""
    own = [_count_here(gate, group, now) for group in groups]
    try:
        async with (
            asyncio.timeout(REDIS_SECONDS),
            resources.redis.pipeline(transaction=True) as pipeline,
        ):
            for group in groups:
                key = f"access:refused:{group}"
                pipeline.set(key, 0, ex=COUNT_SECONDS, nx=True)
                pipeline.incr(key)
            answers = await pipeline.execute()
    except (RedisError, TimeoutError):
        return own
    return [max(pair) for pair in zip(map(int, answers[1::2]), own, strict=True)]


def _count_here(gate: _Gate, group: int, now: float) -> int:
    since, count = gate.counts.get(group, (now, 0))
    if now - since > COUNT_SECONDS:
        since, count = now, 0
    gate.counts[group] = (since, count + 1)
    return count + 1


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def _basic_password(headers: Mapping[str, str]) -> str | None:
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def require_api_key(headers: Mapping[str, str], settings: Settings) -> Caller:
    """Admit a caller with one of the configured keys in ``X-Api-Key`` or as bearer token; returns whose key it is.

    Without configured keys every caller is admitted if no system is real, else none. Header names are lower case, as
    the engine hands them over.

    Raises:
        AccessDenied: no or a wrong key.
    """
    accepted = settings.service.accepted_keys
    if not accepted and settings.real_systems:
        raise AccessDenied(
            "closed until BITBYLAW_NAMED_KEYS or BITBYLAW_API_KEYS is set, because a real system is configured",
        )
    if not accepted:
        return Caller("", (ALL,))
    key = key_of(_given_key(headers), accepted)
    if key is None:
        raise AccessDenied(
            "API key required: header X-Api-Key or Authorization: Bearer",
        )
    return Caller(key.name, key.rights)


def _given_key(headers: Mapping[str, str]) -> str:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key") or (bearer if scheme.lower() == "bearer" else "")


def require_webhook_sender(
    headers: Mapping[str, str],
    query: Mapping[str, Any],
    body: Any,
    settings: Settings,
) -> bool:
    """Admit EspoCRM: by the token (query ``token`` or Basic password) and by the signature where it can be checked.

    Each check applies if it is configured (``ESPOCRM_WEBHOOK_TOKEN``, ``ESPOCRM_WEBHOOK_SECRETS``). Without a
    configured token no caller is admitted as soon as one system is real. Returns whether the signature was checked.

    Raises:
        AccessDenied: a check failed.
    """
    token = settings.espocrm.webhook_token
    if token is None and settings.real_systems:
        raise AccessDenied(
            "closed until ESPOCRM_WEBHOOK_TOKEN is set, because a real system is configured",
        )
    if token is not None:
        _require_webhook_token(headers, query, token.get_secret_value())
    keys = settings.espocrm.webhook_keys
    if not keys:
        return False
    if ORDER_HEADER in headers or may_check_signature(body):
        if not has_valid_signature(headers, body, keys):
            raise AccessDenied("the webhook's signature is not valid")
        return True
    if token is None:
        raise AccessDenied(
            "the webhook's signature cannot be checked; set ESPOCRM_WEBHOOK_TOKEN as well",
        )
    return False


def _require_webhook_token(
    headers: Mapping[str, str],
    query: Mapping[str, Any],
    token: str,
) -> None:
    given = str(query.get("token") or _basic_password(headers) or "")
    if not _same(given, token):
        raise AccessDenied("webhook token required: ?token=... or Basic password")


def require_action_sender(
    headers: Mapping[str, str],
    path: str,
    body: Any,
    settings: Settings,
    now: float,
) -> None:
    """Admit EspoCRM by the signature that its extension sends for a button (docs/espocrm.md, "Buttons").

    The body is an object with one key, so that its bytes can be restored whatever order the engine gives to keys.
    ``now`` is in Unix seconds.

    Raises:
        AccessDenied: the signature is missing or wrong, or was made too long ago.
        NotSetUp: ``ESPOCRM_ACTION_SECRET`` is not set.
    """
    secret = settings.espocrm.action_secret
    if secret is None:
        raise NotSetUp("ESPOCRM_ACTION_SECRET is not set")
    timestamp = headers.get("x-bitbylaw-timestamp", "")
    expected = action_signature(
        secret.get_secret_value(),
        timestamp,
        "POST",
        path,
        php_json(body),
    )
    if not _same(headers.get("x-bitbylaw-signature", ""), expected):
        raise AccessDenied("the signature of the action is not valid")
    if not timestamp.isdecimal() or abs(now - int(timestamp)) > ACTION_SECONDS:
        raise AccessDenied(
            "the signature of the action is too old, or a clock is wrong",
        )


def action_signature(
    secret: str,
    timestamp: str,
    method: str,
    path: str,
    body: bytes,
) -> str:
    """The hexadecimal HMAC-SHA256 over time (Unix seconds), method, path and body, each on a line of its own."""
    signed = b"\n".join(
        [timestamp.encode(errors="replace"), method.encode(), path.encode(), body],
    )
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def may_check_signature(body: Any) -> bool:
    """Whether the engine has kept the order of the keys, so that the bytes that were signed can be restored.

    The real engine sorts the keys of objects. An object whose keys are out of order proves that this one does not; a
    body in which no object has two keys looks the same either way.
    """
    objects = _objects(body)
    has_kept_order = any(list(item) != sorted(item) for item in objects)
    return has_kept_order or all(len(item) < 2 for item in objects)


def _objects(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        found, members = [value], list(value.values())
    elif isinstance(value, list):
        found, members = [], value
    else:
        return []
    for member in members:
        found += _objects(member)
    return found


def php_json(value: Any) -> bytes:
    """JSON as PHP's ``json_encode`` writes it: no spaces, ``\\uXXXX`` for non-ASCII, ``\\/`` for slashes."""
    return (
        json.dumps(value, separators=(",", ":"), ensure_ascii=True)
        .replace("/", "\\/")
        .encode()
    )


def has_valid_signature(
    headers: Mapping[str, str],
    body: Any,
    keys: Mapping[str, str],
) -> bool:
    """Whether ``Signature`` (EspoCRM 9, hex MAC) or ``X-Signature`` (raw MAC) fits the body under a known secret.

    Both are base64 of ``webhookId:MAC``, the MAC being HMAC-SHA256 over the exact bytes sent.
    """
    signed = php_json(body)
    for header, is_hex in (("signature", True), ("x-signature", False)):
        signature = headers.get(header, "")
        if _is_known_signature(signature, signed, keys, is_hex=is_hex):
            return True
    return False


def _is_known_signature(
    signature: str,
    signed: bytes,
    keys: Mapping[str, str],
    *,
    is_hex: bool,
) -> bool:
    """Whether a signature is that of these bytes, under the secret of the webhook that it names."""
    try:
        decoded = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    webhook_id, _, given = decoded.partition(b":")
    secret = keys.get(webhook_id.decode("ascii", errors="replace"))
    if secret is None:
        return False
    mac = hmac.new(secret.encode(), signed, hashlib.sha256)
    expected = mac.hexdigest().encode() if is_hex else mac.digest()
    return hmac.compare_digest(given, expected)
