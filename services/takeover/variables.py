"""Settings that an old `.env` lacks, or has although nothing reads them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from config import ConfigurationError, Settings, require_safe_access

#: Read by the command line and by the parts that it starts, and no settings.
_OTHERS = frozenset(
    {
        *("BITBYLAW_DATA", "BITBYLAW_ENV_FILE", "BITBYLAW_ENGINE_HTTP_URL"),
        *("BITBYLAW_HTTP_PORT", "BITBYLAW_WORKER_PORT", "III_ENGINE_BIN"),
        *("BITBYLAW_ADVOWARE_TWIN_PORT", "BITBYLAW_ESPOCRM_TWIN_PORT"),
        *("BITBYLAW_GOOGLE_TWIN_PORT", "ENGINE_DATABASE_URL", "OTEL_ENABLED"),
        *("BITBYLAW_WORKER_LOG", "ESPOCRM_ADMIN_PASSWORD", "III_BRIDGE_URL"),
    },
)


def odd_settings(settings: Settings, in_file: Collection[str]) -> list[str]:
    """What is missing, and which of the variables in the file are unknown; ``in_file`` are their names."""
    known = settings.environment()
    return [*_missing(settings), *_unknown(known, in_file)]


def _missing(settings: Settings) -> list[str]:
    wanted = {
        "ADVOWARE_APP_ID, ADVOWARE_KANZLEI": settings.advoware.is_configured,
        "ESPOCRM_API_BASE_URL": settings.espocrm.is_configured,
        "GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH": settings.google_calendar.is_configured,
    }
    missing = [name for name, is_set in wanted.items() if not is_set]
    try:
        require_safe_access(settings)
    except ConfigurationError as error:
        _, *lines = str(error).splitlines()
        missing += map(str.strip, lines)
    return [f"missing: {name}" for name in missing]


def _unknown(known: Mapping[str, str], in_file: Collection[str]) -> list[str]:
    unknown = sorted(set(in_file) - known.keys() - _OTHERS)
    return [f"unknown: {name} (nothing reads it)" for name in unknown]
