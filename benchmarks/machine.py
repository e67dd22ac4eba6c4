"""The machine and its programs: what they are, and how much CPU and memory processes take."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

from config import PROJECT_ROOT

PACKAGES = ("motia", "iii-sdk", "procrastinate", "fastapi", "radicale", "vdirsyncer")
MEGABYTE = 2**20


def about() -> dict[str, Any]:
    """When and where a part was measured. ``load`` is the number of running programs in the minute before."""
    return {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "CPU": f"{os.cpu_count()} x {_cpu_name()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GB",
        "Python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.1f}",
        **_versions(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2] for line in file if "model name" in line]
    return names[0].strip() if names else platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    answer = subprocess.run(  # noqa: S603 - fixed arguments
        command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or "unknown"


def cpu_seconds(pid: int | None) -> float:
    """User and system time of a process so far; 0 if it is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def memory(pid: int | None) -> float:
    """What a process has in memory (MB, resident, shared pages counted in full)."""
    return float(psutil.Process(pid).memory_info().rss) / MEGABYTE


def own_memory(process: psutil.Process) -> float:
    """Its share of the memory (MB): pages that others have as well are divided among them."""
    return float(process.memory_full_info().pss) / MEGABYTE


def family(pid: int | None) -> list[psutil.Process]:
    """A process and all that it has started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
