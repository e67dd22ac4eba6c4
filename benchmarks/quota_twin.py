"""Advoware's twin with more employees than it has: ``python -m benchmarks.quota_twin --kuerzel M01,M02 --port 0``."""

from __future__ import annotations

import argparse

from sandbox.advoware.app import AdvowareTwin
from sandbox.control import main


def _twin(arguments: argparse.Namespace) -> AdvowareTwin:
    twin = AdvowareTwin(empty=True)
    twin.termine.admit(arguments.kuerzel.split(","))
    return twin


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quota_twin")
    parser.add_argument("--kuerzel", required=True, help="with commas")
    main(_twin, parser, 0)
