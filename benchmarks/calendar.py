"""Part e: the calendar of one employee, beside vdirsyncer between a folder and radicale."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

from benchmarks import firm, quota, stack
from benchmarks.bench import START_SECONDS, Bench, column, folder, process
from benchmarks.stack import Stack
from cli import embedded
from cli.supervisor import wait_until_listening
from config import PROJECT_ROOT
from services.core.rate_limit import DEFAULT_RATE

KUERZEL = "SB"
SIZES = (100, 1_000)
LONG_SIZE = 10_000
CHANGES = 10
SUBJECT = "calendar sync"
PEER = "vdirsyncer"
RUN_SECONDS = 500.0
AT_ONCE = 10
CONFIGURATION = """
[general]
status_path = "{folder}/status"
[pair benchmark]
a = "folder"
b = "server"
collections = ["calendar"]
[storage folder]
type = "filesystem"
path = "{folder}/events"
fileext = ".ics"
[storage server]
type = "caldav"
url = "http://127.0.0.1:{port}/"
username = "benchmark"
password = "benchmark"
"""


async def measure(bench: Bench) -> None:
    """First run, unchanged and a few changes, for growing calendars; the peer. Long: a large one, and many."""
    if bench.long:
        await quota.measure(bench)
        await _calendar(bench, bench.count(LONG_SIZE))
        return
    sizes = [bench.count(size) for size in SIZES]
    for size in sizes:
        await _calendar(bench, size)
    if bench.has_peer("vdirsyncer", "radicale"):
        async with folder() as data:
            await _peer(bench, data, sizes[-1])


async def _calendar(bench: Bench, size: int) -> None:
    bench.say(f"starting the system, for {size:,} appointments")
    async with stack.running() as system:
        await emptied(system)
        numbers = await enter(system, size)
        first = await runs(system, 1)
        _show(bench, f"{size:,} appointments, first run", first)
        calls = await system.calls()
        what = f"{size:,} appointments, first run: calls to both systems"
        bench.add(what, SUBJECT, "", [calls])
        wait = calls / DEFAULT_RATE.per_minute
        what = f"{size:,} appointments, first run: at least, by Google's quota"
        bench.add(what, SUBJECT, "min", [wait])
        await runs(system, 1)
        unchanged = await runs(system, 1 + bench.repeats)
        _show(bench, f"{size:,} appointments, unchanged", unchanged[1:])
        changed = []
        for repetition in range(bench.repeats):
            await change(system, numbers, f"Geändert {repetition}")
            changed += await runs(system, 1)
        _show(bench, f"{size:,} appointments, {CHANGES} changed", changed)
        bench.add(
            f"{size:,} appointments: memory", SUBJECT, "MB", column(changed, "memory")
        )


async def emptied(system: Stack) -> None:
    """No appointments on either side, and no quota of the twin's."""
    empty = {"empty": True}
    for name in ("advoware", "google"):
        await system.twin(name, "POST", "/__sandbox__/reset", json=empty)
    quota = {"per_minute": None}
    await system.twin("google", "POST", "/__sandbox__/quota", json=quota)


async def change(system: Stack, numbers: list[int], text: str) -> None:
    """Change the first few appointments in Advoware."""
    for number in numbers[:CHANGES]:
        path = f"/__sandbox__/termine/{number}"
        await system.twin("advoware", "PUT", path, json={"text": text})


async def enter(system: Stack, size: int) -> list[int]:
    """Appointments in Advoware's twin; their numbers."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> int:
        async with slots:
            made = await system.twin(
                "advoware",
                "POST",
                "/__sandbox__/termine",
                json=firm.termin(number, KUERZEL),
            )
        return int(made["frNr"])

    numbers = await asyncio.gather(*(one(number) for number in range(size)))
    await system.forget_calls()
    return numbers


async def runs(system: Stack, number: int) -> list[dict[str, float]]:
    """So many runs of the calendar in a process of their own, without Google's quota."""
    settings = system.system.settings.environment()
    order = {"environment": settings, "kuerzel": KUERZEL, "runs": number}
    found: list[dict[str, float]] = await stack.helper(
        "benchmarks.calendar_run", json.dumps(order), RUN_SECONDS
    )
    return found


def _show(bench: Bench, what: str, found: list[dict[str, float]]) -> None:
    for key, name in (("seconds", "time"), ("cpu", "CPU")):
        bench.add(f"{what}: {name}", SUBJECT, "s", column(found, key), PEER)


async def _peer(bench: Bench, data: Path, size: int) -> None:
    """The same appointments as files, to a CalDAV server. Each run is a process of its own, as it is used."""
    events = data / "events" / "calendar"
    events.mkdir(parents=True)
    for number in range(size):
        _write_event(events, number, "Besprechung")
    port = embedded.free_port()
    configuration = data / "vdirsyncer"
    configuration.write_text(CONFIGURATION.format(folder=data, port=port))
    options = (f"--server-hosts=127.0.0.1:{port}", "--auth-type=none")
    storage = f"--storage-filesystem-folder={data}/radicale"
    async with process(
        *(sys.executable, "-m", "radicale", *options, storage),
        cwd=PROJECT_ROOT,
        environment={},
        log=data / "radicale.log",
    ):
        await wait_until_listening(port, START_SECONDS)
        await _vdirsyncer(configuration, "discover")
        what = f"{size:,} appointments, first run"
        _show_peer(bench, what, [await _vdirsyncer(configuration, "sync")])
        repeats = range(bench.repeats)
        found = [await _vdirsyncer(configuration, "sync") for _ in repeats]
        _show_peer(bench, f"{size:,} appointments, unchanged", found)
        found = []
        for repetition in repeats:
            for number in range(CHANGES):
                _write_event(events, number, f"Geändert {repetition}")
            found.append(await _vdirsyncer(configuration, "sync"))
        _show_peer(bench, f"{size:,} appointments, {CHANGES} changed", found)


def _show_peer(bench: Bench, what: str, found: list[dict[str, float]]) -> None:
    for key, name in (("seconds", "time"), ("cpu", "CPU")):
        bench.add(f"{what}: {name}", PEER, "s", column(found, key))


def _write_event(events: Path, number: int, text: str) -> None:
    day, hour = firm.moment(number)
    start = f"{day.replace('-', '')}T{hour}"
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//benchmark//EN",
        "BEGIN:VEVENT",
        f"UID:event-{number}",
        f"DTSTAMP:{start}0000Z",
        f"DTSTART:{start}0000Z",
        f"DTEND:{start}3000Z",
        f"SUMMARY:{text} {number}",
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    (events / f"event-{number}.ics").write_text("\r\n".join([*lines, ""]))


async def _vdirsyncer(configuration: Path, command: str) -> dict[str, float]:
    """Time and CPU of one run of the program, its start included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    program = Path(sys.executable).with_name("vdirsyncer")
    running = await asyncio.create_subprocess_exec(
        *(program, "-v", "ERROR", "-c", configuration, command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(RUN_SECONDS):
        _, error = await running.communicate(b"y\n" * 10)
    if running.returncode:
        raise stack.HelperFailed(f"vdirsyncer: {error.decode()[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return {"seconds": time.perf_counter() - started, "cpu": cpu}
