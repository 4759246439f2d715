"""One timer for all streams: who is called back, when, and how often the timer is set."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from steerstream_service.domain import NEVER_NS
from steerstream_service.transport import deadline_timer
from steerstream_service.transport.deadline_timer import DeadlineTimer

MS = 1_000_000


class Clock:
    """An event loop's clock and its timers; time goes on only when a test says so."""

    def __init__(self):
        self.now_ns = 0
        self.set_for_ns = []
        self._timers = []

    def call_at(self, when_s, call):
        when_ns = round(when_s * 1e9)
        self.set_for_ns.append(when_ns)
        timer = SimpleNamespace(when_ns=when_ns, call=call)
        timer.cancel = lambda: self._timers.remove(timer) if timer in self._timers else None
        self._timers.append(timer)
        return timer

    def go_to(self, when_ns):
        while due := [timer for timer in self._timers if timer.when_ns <= when_ns]:
            first = min(due, key=lambda timer: timer.when_ns)
            self._timers.remove(first)
            self.now_ns = first.when_ns
            first.call()
        self.now_ns = when_ns


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(deadline_timer, "time", SimpleNamespace(monotonic_ns=lambda: clock.now_ns))
    monkeypatch.setattr(deadline_timer, "asyncio", SimpleNamespace(get_running_loop=lambda: clock))
    return clock


class Stream:
    """A stream with one frame, which waits until its time is over or it has its answer."""

    def __init__(self, timer, clock, due_ns):
        self.due_ns = due_ns
        self.checks = 0
        self.over_at_ns: Any = None
        self._clock = clock
        self.deadline = timer.deadline(self.check)

    def check(self, now_ns):
        self.checks += 1
        if now_ns < self.due_ns:
            return self.due_ns
        self.due_ns = NEVER_NS
        self.over_at_ns = self._clock.now_ns
        return NEVER_NS


def test_a_deadline_is_checked_when_its_time_has_come_and_not_before(clock):
    timer = DeadlineTimer()
    stream = Stream(timer, clock, 30 * MS)
    stream.deadline.set(10 * MS)
    clock.go_to(29 * MS)
    assert stream.over_at_ns is None
    clock.go_to(31 * MS)
    assert stream.over_at_ns is not None
    assert 30 * MS <= stream.over_at_ns <= 31 * MS
    assert stream.checks <= 3


def test_frames_that_have_their_answer_set_no_timer(clock):
    timer = DeadlineTimer()
    answered = [Stream(timer, clock, NEVER_NS) for _ in range(50)]
    for index, stream in enumerate(answered):
        stream.deadline.set((10 + index) * MS // 2)
    last = Stream(timer, clock, 60 * MS)
    last.deadline.set(60 * MS)
    set_before = len(clock.set_for_ns)
    clock.go_to(59 * MS)
    assert [stream.checks for stream in answered] == [1] * 50
    clock.go_to(61 * MS)
    assert last.over_at_ns is not None
    assert [ns // MS for ns in clock.set_for_ns[set_before:]] == [60]
    assert timer._heap == []


def test_an_earlier_deadline_replaces_a_later_one(clock):
    timer = DeadlineTimer()
    stream = Stream(timer, clock, 5 * MS)
    for ms in (20, 5, 10):
        stream.deadline.set(ms * MS)
    clock.go_to(6 * MS)
    assert stream.over_at_ns is not None
    checks = stream.checks
    clock.go_to(50 * MS)
    assert stream.checks == checks
    assert timer._heap == []


def test_a_deadline_that_was_cancelled_is_never_checked(clock):
    timer = DeadlineTimer()
    gone, other = Stream(timer, clock, 0), Stream(timer, clock, 10 * MS)
    gone.deadline.set(5 * MS)
    gone.deadline.cancel()
    other.deadline.set(10 * MS)
    clock.go_to(20 * MS)
    assert other.over_at_ns is not None
    assert gone.checks == 0


def test_every_deadline_is_checked_whatever_their_order(clock):
    timer = DeadlineTimer()
    due_ns = [(7 * index % 20) * MS + MS for index in range(20)]
    streams = [Stream(timer, clock, due) for due in due_ns]
    for stream, due in zip(streams, due_ns, strict=True):
        stream.deadline.set(due)
    clock.go_to(30 * MS)
    for stream, due in zip(streams, due_ns, strict=True):
        assert due <= stream.over_at_ns <= due + MS
    assert max(stream.checks for stream in streams) <= 2


async def test_it_works_on_a_real_event_loop():
    timer = DeadlineTimer()
    over = asyncio.Event()

    def check(now_ns):
        over.set()
        return NEVER_NS

    timer.deadline(check).set(0)
    async with asyncio.timeout(60):
        await over.wait()
