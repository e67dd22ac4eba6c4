"""Whether an address that is called a twin is one. Twins (stand-ins with invented people) say so; all else is real.

That an address is on this machine proves nothing: a tunnel or a connector to a real system is there as well.
"""

from __future__ import annotations

from typing import Any

import aiohttp

from config import Settings, origin_of
from services.core.errors import ConfigurationError, ForeignSystemError
from services.core.http import send

IDENTITY_PATH = "/__sandbox__/identity"
ASK_SECONDS = 5.0
#: What a twin calls itself, by the name of the system in whose place it stands.
TWIN_NAMES = {"Advoware": "advoware", "EspoCRM": "espocrm", "Google Calendar": "google"}


async def require_twins(settings: Settings) -> None:
    """Ask each address that `Settings.twin_systems` rests on.

    Raises:
        ConfigurationError: one does not answer, or does not say that it is the twin of this system.
    """
    if not settings.twin_systems:
        return
    problems: list[str] = []
    async with aiohttp.ClientSession() as session:
        for name in settings.twin_systems:
            problems += await _problems(session, settings, name)
    if problems:
        raise ConfigurationError(
            "Please correct these settings:\n  " + "\n  ".join(problems),
        )


async def _problems(
    session: aiohttp.ClientSession,
    settings: Settings,
    name: str,
) -> list[str]:
    addresses = settings.foreign_systems[name].addresses
    variable_of = {origin_of(url): variable for variable, url in addresses.items()}
    problems = []
    for origin, variable in variable_of.items():
        identity = await _identity(session, origin)
        if identity != TWIN_NAMES[name]:
            problems.append(f"BITBYLAW_TWINS: {_explain(identity, variable, name)}")
    return problems


def _explain(identity: str | None, variable: str, name: str) -> str:
    if identity is None:
        return f"no one answers at {variable}; start the twin of {name} first, or remove its address"
    return (
        f"what answers at {variable} does not say that it is a twin of {name}, so it counts as real; "
        "remove its address and set BITBYLAW_API_KEYS and ESPOCRM_WEBHOOK_TOKEN"
    )


async def _identity(session: aiohttp.ClientSession, origin: str) -> str | None:
    """What this address calls itself: the name of a twin, "" for anything else, None without an answer."""
    try:
        answer = await send(
            session,
            "twin",
            "GET",
            f"{origin}{IDENTITY_PATH}",
            timeout_seconds=ASK_SECONDS,
        )
        identity = answer.json("twin") if answer.status == 200 else None
    except ForeignSystemError as error:
        if error.status:
            return ""
        return None
    return _name_in(identity)


def _name_in(identity: Any) -> str:
    if not isinstance(identity, dict):
        return ""
    name = identity.get("twin")
    if isinstance(name, str):
        return name
    return ""
