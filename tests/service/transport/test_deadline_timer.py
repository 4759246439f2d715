"""One timer for all streams: who is called back, when, and how often the timer rings."""

from __future__ import annotations

import asyncio
import time

from steerstream_service.domain import NEVER_NS
from steerstream_service.transport.deadline_timer import Alarm

MS = 1_000_000


class Frame:
    """A frame that waits until its time is over or it has its answer."""

    def __init__(self, alarm, due_ns):
        self.due_ns = due_ns
        self.looks = 0
        self.over = asyncio.Event()
        self.watch = alarm.watch(self.look)

    def look(self, now_ns):
        self.looks += 1
        if now_ns < self.due_ns:
            return self.due_ns
        self.due_ns = NEVER_NS
        self.over.set()
        return NEVER_NS


async def test_it_rings_when_the_time_has_come_and_not_before():
    alarm = Alarm()
    due_ns = time.monotonic_ns() + 30 * MS
    frame = Frame(alarm, due_ns)
    frame.watch.by(due_ns - 20 * MS)
    await frame.over.wait()
    assert time.monotonic_ns() >= due_ns
    assert frame.looks <= 3


async def test_frames_that_have_their_answer_do_not_ring():
    alarm = Alarm()
    now_ns = time.monotonic_ns()
    answered = [Frame(alarm, NEVER_NS) for _ in range(50)]
    for index, frame in enumerate(answered):
        frame.watch.by(now_ns + (10 + index) * MS // 2)
    last_ns = now_ns + 60 * MS
    last = Frame(alarm, last_ns)
    last.watch.by(last_ns)
    timers = []
    set_timer = alarm._set
    alarm._set = lambda when_ns: timers.append(when_ns) or set_timer(when_ns)
    await last.over.wait()
    assert [frame.looks for frame in answered] == [1] * 50
    assert timers == [last_ns, NEVER_NS]
    assert alarm._heap == []


async def test_an_earlier_time_takes_the_place_of_a_later_one():
    alarm = Alarm()
    now_ns = time.monotonic_ns()
    frame = Frame(alarm, now_ns + 5 * MS)
    frame.watch.by(now_ns + 20 * MS)
    frame.watch.by(now_ns + 5 * MS)
    frame.watch.by(now_ns + 10 * MS)
    await frame.over.wait()
    looks = frame.looks
    other = Frame(alarm, now_ns + 40 * MS)
    other.watch.by(other.due_ns)
    await other.over.wait()
    assert frame.looks == looks
    assert alarm._heap == []


async def test_a_watch_that_has_stopped_is_called_no_more():
    alarm = Alarm()
    now_ns = time.monotonic_ns()
    gone, other = Frame(alarm, now_ns), Frame(alarm, now_ns + 10 * MS)
    gone.watch.by(now_ns + 5 * MS)
    gone.watch.stop()
    other.watch.by(other.due_ns)
    await other.over.wait()
    assert gone.looks == 0


async def test_every_watch_rings_whatever_the_order_of_their_times():
    alarm = Alarm()
    now_ns = time.monotonic_ns()
    frames = [Frame(alarm, now_ns + (7 * index % 20) * MS) for index in range(20)]
    for frame in frames:
        frame.watch.by(frame.due_ns)
    await asyncio.gather(*(frame.over.wait() for frame in frames))
    assert max(frame.looks for frame in frames) <= 2
