"""The tests' own loop: a machine that stands still for a while makes no timeout pass."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest
from hasty_loop import HASTE, hasty_runner


async def test_work_that_takes_long_does_not_use_up_the_patience_of_others() -> None:
    asked = asyncio.get_running_loop().create_future()

    async def answer_late() -> None:
        for _ in range(4):
            time.sleep(0.1)  # noqa: ASYNC251  the machine is slow
            await asyncio.sleep(0)
        asked.set_result("late")

    answering = asyncio.create_task(answer_late())
    async with asyncio.timeout(0.3):
        assert await asked == "late"
    await answering


async def test_what_came_while_the_process_stood_still_comes_before_the_timeout() -> (
    None
):
    stopper = f"""
import os, signal, time
print("ready")
input()
os.kill({os.getpid()}, signal.{signal.SIGSTOP.name})
print("came")
time.sleep(1)
os.kill({os.getpid()}, signal.{signal.SIGCONT.name})
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-uc", stopper, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    async with asyncio.timeout(0.8):
        process.stdin.write(b"\n")
        assert await process.stdout.readline() == b"came\n"
    await process.wait()


async def test_time_without_an_answer_passes() -> None:
    began = time.monotonic()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await asyncio.get_running_loop().create_future()

    assert time.monotonic() - began >= 0.2


def test_a_hasty_loop_s_time_passes_quickly() -> None:
    async def rest() -> float:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(0.2 * HASTE)
        return asyncio.get_running_loop().time() - before

    began = time.monotonic()
    with hasty_runner() as runner:
        assert runner.run(rest()) >= 0.2 * HASTE
    assert time.monotonic() - began >= 0.2
