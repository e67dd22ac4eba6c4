"""Settings that an old `.env` lacks, or has although nothing reads them. Pure."""

from __future__ import annotations

from collections.abc import Collection

from config import (
    ConfigurationError,
    Settings,
    require_safe_access,
    unknown_names,
)


def odd_settings(settings: Settings, in_file: Collection[str]) -> list[str]:
    """What is missing, and which of the variables in the file are unknown; ``in_file`` are their names."""
    unknown = [
        f"unknown: {name} (nothing reads it)"
        for name in unknown_names(settings, in_file)
    ]
    return [*_missing(settings), *unknown]


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
