"""The event loop's own lateness, as its timers show it."""

from __future__ import annotations

import asyncio
import time

from steerstream_service.telemetry.observer import Observer
from steerstream_service.transport.loop_lag import LoopLag


class Lags(Observer):
    """Remembers what it is told."""

    def __init__(self):
        self.lags_ns = []

    def lagged(self, lag_ns):
        self.lags_ns.append(lag_ns)


async def test_a_loop_that_stands_still_is_seen_and_told():
    observer = Lags()
    lag = LoopLag(observer)
    lag.start()
    time.sleep(0.3)  # noqa: ASYNC251 - the stall
    async with asyncio.timeout(60):
        while not observer.lags_ns:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.005)
    taken = lag.take()
    lag.stop()
    assert taken == observer.lags_ns
    assert taken[0] >= 0.3e9 - 26e6, "the timer was due after 25 ms"
    assert lag.take() == []


async def test_nothing_is_measured_after_the_stop():
    lag = LoopLag(Observer())
    lag.stop()
    lag.start()
    lag.stop()
    await asyncio.sleep(0.1)
    assert lag.take() == []
