"""State of the embedded engine: its limits, which the real one does not have.

The behaviour that it shares with the real engine is in conformance/test_conformance_state.py.
"""

from __future__ import annotations

import pytest
from engine_harness import CallError, NewWorker, Target


async def test_values_above_the_limit_and_impossible_names_are_refused(
    target: Target, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    for place, value, code in (
        ({"scope": "s", "key": "k"}, "x" * 1_000_000, "payload_too_large"),
        ({"scope": "s\0", "key": "k"}, 1, "SET_ERROR"),
    ):
        with pytest.raises(CallError) as failure:
            await worker.call("state::set", {**place, "value": value})
        assert failure.value.code == code


async def test_keys_of_a_value_keep_their_order(
    target: Target, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    await worker.call(
        "state::set", {"scope": "s", "key": "k", "value": {"b": 1, "a": 2}}
    )
    assert list(await worker.call("state::get", {"scope": "s", "key": "k"})) == [
        "b",
        "a",
    ]
