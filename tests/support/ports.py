"""Ports for programs that are ended and started again on the same ones."""

from __future__ import annotations

import os
import random
import socket

from cli.system import Ports

#: Below those that the system gives to outgoing connections, and to whoever asks for any free port.
ALL_PORTS = range(20_000, 32_000)


def unused_ports(count: int) -> list[int]:
    """So many ports that no program gets by chance, so that they are still free the second time.

    Nor do the tests that run beside these: each of pytest's workers has ports of its own.
    """
    found: list[int] = []
    for port in random.sample(_own_ports(), 1000):
        if _can_be_taken(port):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"fewer than {count} of the ports {_own_ports()} are free")


def _own_ports() -> range:
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return ALL_PORTS[number::workers]


def unused_port() -> int:
    """One such port."""
    (port,) = unused_ports(1)
    return port


def system_ports() -> Ports:
    """Such ports for a whole system."""
    return Ports(*unused_ports(6))


def _can_be_taken(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
