"""Times as engines write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from services.operate.queues import moment

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
SECONDS = NOON.timestamp()


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-28T12:00:00Z",
        "2026-11-28T13:00:00+01:00",
        SECONDS,
        int(SECONDS * 1000),
        int(SECONDS * 1e9),
    ],
)
def test_a_time_in_each_usual_form_is_read(value: Any) -> None:
    assert moment(value) == NOON


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, "soon", "", [], {}, 1e300, 10**400]
    + [float(text) for text in ("inf", "-inf", "nan")],
)
def test_what_is_no_time_is_none(value: Any) -> None:
    assert moment(value) is None
