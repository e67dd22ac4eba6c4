"""What the doctor says about Google: each line with a remedy, nothing written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from audit_office import AuditOffice

from config import Settings, load_settings
from sandbox.advoware.app import AdvowareTwin
from sandbox.control import running
from sandbox.google.app import GoogleTwin
from services.calendar_sync.doctor import diagnose_google
from services.core import retry
from services.core.rate_limit import acquire
from services.espocrm_setup.webhooks import Check


@pytest.fixture
async def office(
    advoware: AdvowareTwin, make_settings: Callable[..., Settings], tmp_path: Path
) -> AsyncIterator[AuditOffice]:
    async with running(google := GoogleTwin(empty=True, quota_per_minute=None)):
        opened = await AuditOffice.open(advoware, google, make_settings, tmp_path)
        opened.forget_calls()
        yield opened
        assert opened.writes() == []
        await opened.close()


async def checks(office: AuditOffice, **variables: Any) -> list[Check]:
    """What the doctor says with these settings."""
    environment = {**office.environment(), **variables}
    found = await diagnose_google(load_settings(environment, env_file=""))
    assert all(check.fix for check in found if check.status != "ok"), (
        "a line without a remedy"
    )
    return found


async def problems(office: AuditOffice, **variables: Any) -> list[tuple[str, str]]:
    return [
        (check.name, check.status)
        for check in await checks(office, **variables)
        if check.status != "ok"
    ]


async def test_a_firm_whose_calendars_are_in_order_is_well(office: AuditOffice) -> None:
    found = await checks(office)

    names = [
        "account",
        "clock",
        "calendars",
        "sharing",
        "descriptions",
        "writers",
        "quota",
    ]
    assert [(check.name, check.status) for check in found] == [
        (f"google {name}", "ok") for name in names
    ]


async def test_without_google_the_doctor_says_that_no_calendar_is_synced(
    office: AuditOffice,
) -> None:
    assert await problems(office, GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH="") == [
        ("google account", "warning")
    ]


async def test_a_key_that_cannot_be_read_or_is_refused_is_a_failure(
    office: AuditOffice,
) -> None:
    missing = await problems(
        office,
        GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH=str(office.directory / "nowhere.json"),
    )
    (office.directory / "other.json").write_text("{}")
    no_key = await problems(
        office,
        GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH=str(office.directory / "other.json"),
    )
    revoked = json.loads((office.directory / "account.json").read_text()) | {
        "client_email": "weg@x.iam"
    }
    (office.directory / "revoked.json").write_text(json.dumps(revoked))
    refused = await problems(
        office,
        GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH=str(office.directory / "revoked.json"),
    )

    assert missing == no_key == refused == [("google account", "failed")]


async def test_a_google_or_an_advoware_that_does_not_answer_is_unchecked(
    office: AuditOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "THROTTLED_ATTEMPTS", 2)
    unused = "http://127.0.0.1:9"

    assert await problems(office, GOOGLE_CALENDAR_API_ENDPOINT=unused) == [
        ("google account", "unchecked"),
        ("google clock", "unchecked"),
    ]
    assert await problems(office, ADVOWARE_API_BASE_URL=unused) == [
        ("google calendars", "unchecked")
    ]


@pytest.mark.parametrize(
    ("skew", "status"),
    [
        (0, "ok"),
        (20, "ok"),
        (60, "warning"),
        (-60, "warning"),
        (600, "failed"),
        (-600, "failed"),
    ],
)
async def test_a_wrong_clock_is_found(
    office: AuditOffice, skew: int, status: str
) -> None:
    settings = load_settings(office.environment(), env_file="")

    found = await diagnose_google(
        settings, clock=lambda: datetime.now(UTC) + timedelta(seconds=skew)
    )

    (clock,) = [check for check in found if check.name == "google clock"]
    assert clock.status == status
    assert status == "ok" or "time server" in clock.fix


async def test_calendars_that_are_missing_double_or_no_ones_are_found(
    office: AuditOffice,
) -> None:
    await office.new_calendar("AW-AI")
    await office.new_calendar("AW-XY")
    office.forget_calls()

    found = await checks(office, CALENDAR_SYNC_DEBUG_KUERZEL="SB,AI,PB")

    reported = [
        (check.status, check.message.split(": ")[:2])
        for check in found
        if check.name == "google calendars"
    ]
    assert reported == [
        ("failed", ["AI", "duplicate_calendar"]),
        ("warning", ["PB", "calendar_missing"]),
        ("failed", ["XY", "calendar_without_employee"]),
    ]


async def test_sharing_that_is_not_as_configured_and_writers_in_vain_are_found(
    office: AuditOffice,
) -> None:
    await office.api.insert_acl(office.calendars["SB"], "writer", "sb@example.de")
    office.forget_calls()
    acl = "SB:reader:sb@example.de,AI:reader:ai@example.de"

    assert await problems(office, GOOGLE_CALENDAR_ACL=acl) == [
        ("google sharing", "warning"),  # AI's is set by the next sync
        ("google sharing", "failed"),  # SB's was set by hand
        ("google writers", "warning"),
    ]
    assert ("google writers", "warning") not in await problems(
        office, ADVOWARE_WRITE_PROTECTION="false"
    )


async def test_the_calls_of_the_last_minute_are_reported(office: AuditOffice) -> None:
    for _ in range(3):
        await acquire(office.resources, "google_calendar")
    (quota,) = [check for check in await checks(office) if check.name == "google quota"]
    assert quota.status == "ok"
    assert int(quota.message.split()[0]) >= 3

    redis = office.resources.calendar_redis
    seconds, _ = await redis.time()
    await redis.lpush("rate_limit:{google_calendar}:log", *[seconds * 1_000_000] * 450)
    assert await problems(office) == [("google quota", "warning")]
