"""The event loop of the simulation: while no task works, its clock jumps to the next moment that a task waits for.

Pauses between attempts, requests that are never answered and late answers cost no time at all. Answers of PostgreSQL,
of Redis and of threads come from outside: while one is due, the clock runs `HASTE` times as fast as that on the wall.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hasty_loop import HASTE
from patient_loop import PatientLoop, PatientSelector

#: What is under way inside this process (bytes between two of its sockets) gets so many seconds on the wall before the
#: clock jumps over so many seconds of the loop.
GRACE = ((20.0, 0.01), (1.0, 0.001))
#: How PostgreSQL's answer ends: "ready for query", before the byte for the state of the transaction.
READY = b"Z\x00\x00\x00\x05"


class _JumpingSelector(PatientSelector):
    """Waits for sockets, or moves the clock: a wait that brings nothing counts in full, however short it was."""

    def __init__(self, waits_for_answers: Callable[[], bool]) -> None:
        super().__init__(HASTE)
        self._waits_for_answers = waits_for_answers

    def wait(self, timeout: float | None) -> Any:
        if timeout is None or timeout <= 0 or self._waits_for_answers():
            return super().wait(timeout)
        return super().wait(min(_grace(timeout) * HASTE, timeout))


def _grace(jump: float) -> float:
    for at_least, seconds in GRACE:
        if jump >= at_least:
            return seconds
    return 0.0


class FirmLoop(PatientLoop):
    """See the module's description."""

    def __init__(self) -> None:
        #: Connections to a store on which we have sent something since we last heard something.
        self.unanswered: set[asyncio.BaseTransport] = set()
        #: Ports of stores; those behind a file count as well.
        self.store_ports: set[int] = set()
        #: Whether something outside is at work of which the loop does not know.
        self.is_awaited: Callable[[], bool] = lambda: False
        self._in_threads = 0
        super().__init__(_JumpingSelector(self._waits_for_answers))

    def _waits_for_answers(self) -> bool:
        return bool(self.unanswered) or self._in_threads > 0 or self.is_awaited()

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        work = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        work.add_done_callback(self._thread_is_done)
        return work

    def _thread_is_done(self, _: Any) -> None:
        self._in_threads -= 1

    def _make_socket_transport(
        self, sock: socket.socket, protocol: Any, *args: Any, **options: Any
    ) -> Any:
        is_postgres = sock.family == socket.AF_UNIX
        if not is_postgres and sock.getpeername()[1] not in self.store_ports:
            return super()._make_socket_transport(sock, protocol, *args, **options)  # type: ignore[misc]
        heard = _Heard(protocol, READY if is_postgres else b"")
        transport = _ToAStore(self, sock, heard, *args, **options)
        heard.transport = transport
        return transport


class _Heard(asyncio.Protocol):
    """What comes in on such a connection, on its way to the one who asked; an answer may come in several pieces."""

    transport: _ToAStore

    def __init__(self, protocol: Any, end: bytes) -> None:
        self._protocol, self._end = protocol, end
        self.connection_made = protocol.connection_made
        self.eof_received = protocol.eof_received
        self.pause_writing = protocol.pause_writing
        self.resume_writing = protocol.resume_writing

    def data_received(self, data: bytes) -> None:
        if self._end in data[-len(self._end) - 1 :]:
            self.transport.is_answered()
        self._protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport.is_answered()
        self._protocol.connection_lost(exc)


class _ToAStore(asyncio.selector_events._SelectorSocketTransport):
    """A connection to a store, which knows whether an answer is due."""

    def __init__(self, loop: FirmLoop, *args: Any, **options: Any) -> None:
        self._unanswered = loop.unanswered
        super().__init__(loop, *args, **options)

    def is_answered(self) -> None:
        """Nothing is due any more."""
        self._unanswered.discard(self)

    def write(self, data: Any) -> None:
        self._unanswered.add(self)
        super().write(data)

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def close(self) -> None:
        self.is_answered()
        super().close()

    def _force_close(self, error: Any) -> None:
        self.is_answered()
        super()._force_close(error)


@contextmanager
def firm_runner(redis_port: int) -> Iterator[asyncio.Runner]:
    """A runner of such a loop; Redis listens at that port, PostgreSQL at a file."""

    def new_loop() -> FirmLoop:
        loop = FirmLoop()
        loop.store_ports.add(redis_port)
        return loop

    with asyncio.Runner(loop_factory=new_loop) as runner:
        yield runner
