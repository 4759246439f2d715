from __future__ import annotations

import time

from steerstream.testing import RealClock, VirtualClock


async def test_a_virtual_clock_jumps_to_what_is_waited_for_and_never_back():
    clock = VirtualClock(start_ns=1_000)
    assert clock.now_ns() == 1_000
    clock.advance(0.5)
    assert clock.now_ns() == 501_000
    await clock.sleep_until(10**15)
    await clock.sleep_until(5)
    assert clock.now_ns() == 10**15


async def test_a_real_clock_is_the_machines():
    clock, before_ns = RealClock(), time.monotonic_ns()
    await clock.sleep_until(before_ns + 2_000_000)
    await clock.sleep_until(0)
    assert before_ns + 2_000_000 <= clock.now_ns() <= time.monotonic_ns()
