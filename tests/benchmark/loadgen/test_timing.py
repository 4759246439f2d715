from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.loadgen.timing import Camera, Window, together


@given(st.floats(0.1, 1000.0), st.floats(0.0, 1.0), st.integers(0, 10**15))
def test_a_tick_is_the_first_that_is_due_after_a_moment(rate_hz, phase, moment_ns):
    camera = Camera(rate_hz, phase)
    tick = camera.tick_after(moment_ns)
    # To the resolution of floating point at 10^15 ns.
    assert camera.due_ns(tick) >= moment_ns - 2
    assert camera.due_ns(tick - 1) <= moment_ns + 2


def test_a_window_holds_what_is_due_in_it():
    window = Window(10, 20)
    assert [moment for moment in range(30) if window.holds(moment)] == list(range(10, 20))


async def test_the_first_error_ends_what_runs_beside_it():
    ended = asyncio.Event()

    async def patient():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def broken():
        await asyncio.sleep(0)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await together([patient(), broken()])
    assert ended.is_set()
