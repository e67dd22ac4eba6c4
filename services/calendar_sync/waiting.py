"""The queue's topic of one employee's calendar sync, and how its jobs wait there: each employee once."""

from __future__ import annotations

from collections.abc import Iterable

from services.core.jobs.pending import enqueue_unless_pending
from services.core.jobs.queue import Enqueue
from services.core.resources import Resources

TOPIC_EMPLOYEE = "calendar_sync_employee"
ENQUEUE_SECONDS = 20.0
#: While an employee's job waits the cron enqueues no second one; a lost job is replaced after this time.
PENDING_SECONDS = 30 * 60


def pending_name(kuerzel: str, *, full_content: bool) -> str:
    """What a waiting job is known by: one that hides the texts is another one."""
    if full_content:
        return kuerzel
    return f"{kuerzel}:anonymised"


async def enqueue_employees(
    resources: Resources,
    enqueue: Enqueue,
    kuerzel: Iterable[str],
    *,
    full_content: bool,
    timeout_seconds: float = ENQUEUE_SECONDS,
) -> int:
    """Enqueue a sync for each employee who does not wait for one already; returns how many.

    Raises:
        Unavailable: Redis or the queue is down.
    """
    events = {
        pending_name(name, full_content=full_content): {
            "kuerzel": name,
            "full_content": full_content,
        }
        for name in kuerzel
    }
    new = await enqueue_unless_pending(
        resources,
        enqueue,
        TOPIC_EMPLOYEE,
        events,
        pending_seconds=PENDING_SECONDS,
        timeout_seconds=timeout_seconds,
    )
    return len(new)
