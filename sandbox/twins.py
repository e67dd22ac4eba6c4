"""The twins that one system needs, in one process, which takes half the memory that one for each does.

``python -m sandbox.twins --folder .local/twins --advoware 4010 --espocrm 4020 --google 4030`` serves those whose port
is given (0: a free one) until SIGTERM or SIGINT, keeps their data in the folder, and writes a service account of
Google's twin there. It prints one line of JSON when all of them listen:
``{"ready": "twins", "urls": {"advoware": "http://127.0.0.1:4010"}}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from sandbox.advoware.app import AdvowareTwin
from sandbox.control import Twin, asked_to_end, kept, restore
from sandbox.espocrm.app import EspoCRMTwin
from sandbox.google.app import GoogleTwin

ACCOUNT_FILE = "google-service-account.json"


def _google(folder: Path) -> GoogleTwin:
    return GoogleTwin(service_account_file=folder / ACCOUNT_FILE)


TWINS: dict[str, Callable[[Path], Twin]] = {
    "advoware": lambda _folder: AdvowareTwin(),
    "espocrm": lambda _folder: EspoCRMTwin(),
    "google": _google,
}


async def serve(twins: dict[Twin, int], folder: Path) -> None:
    """Serve these twins at their ports until the process is asked to end."""
    finished = asked_to_end()
    urls = {}
    async with AsyncExitStack() as stack:
        for twin, port in twins.items():
            serving = kept(twin, _state_file(folder, twin), port=port)
            urls[twin.name] = await stack.enter_async_context(serving)
        print(json.dumps({"ready": "twins", "urls": urls}), flush=True)  # noqa: T201 - the contract above
        await finished.wait()


def _state_file(folder: Path, twin: Twin) -> Path:
    return folder / f"{twin.name}.state"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.twins",
        description="Several twins in one process.",
    )
    parser.add_argument("--folder", type=Path, required=True, help="of their data")
    for name in TWINS:
        parser.add_argument(f"--{name}", type=int, metavar="PORT")
    given = vars(parser.parse_args())
    folder = given["folder"]
    named = []
    for name in TWINS:
        if given[name] is not None:
            named.append(name)
    twins = {}
    for name in named:
        twins[TWINS[name](folder)] = given[name]
    for twin in twins:
        restore(twin, _state_file(folder, twin))
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(twins, folder))


if __name__ == "__main__":
    main()
