from __future__ import annotations

import threading
from functools import partial

from steerstream.recording.pump import Pump


def nothing():
    pass


class Blocked:
    """Work that does not end before it may."""

    def __init__(self):
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        self.may_end.wait()


def test_work_is_done_in_order_and_all_of_it_before_the_end():
    done = []
    pump = Pump("test", nothing, max_items=1000, max_bytes=1000)
    for number in range(500):
        assert pump.put(partial(done.append, number), 1)
    pump.close()
    assert done == list(range(500))
    assert pump.dropped == 0


def test_work_that_fails_is_counted_and_the_rest_is_done(caplog):
    def fail():
        raise ValueError("a fault")

    done = []
    pump = Pump("test", fail, max_items=1000, max_bytes=1000)
    for work in (fail, partial(done.append, 1), fail, partial(done.append, 2)):
        pump.put(work, 1)
    pump.close()
    assert done == [1, 2]
    assert pump.failed == 2
    assert caplog.messages == ["recording_fault"]


def test_what_does_not_fit_is_dropped_and_counted_and_nobody_waits():
    blocked = Blocked()
    pump = Pump("test", nothing, max_items=3, max_bytes=1000)
    pump.put(blocked, 0)
    blocked.begun.wait()
    taken = [pump.put(nothing, 0) for _ in range(5)]
    assert taken == [True, True, True, False, False]
    assert pump.dropped == 2
    blocked.may_end.set()
    pump.close()


def test_bytes_are_bounded_too_and_come_back():
    blocked = Blocked()
    pump = Pump("test", nothing, max_items=100, max_bytes=10)
    pump.put(blocked, 6)
    blocked.begun.wait()
    assert pump.put(nothing, 6)
    assert not pump.put(nothing, 6)
    blocked.may_end.set()
    done = threading.Event()
    while not pump.put(done.set, 6):
        pass
    assert done.wait(30)
    pump.close()


def test_the_thread_looks_in_between_also_where_there_is_no_work():
    looked = threading.Event()
    pump = Pump("test", looked.set, max_items=1, max_bytes=1)
    assert looked.wait(30)
    pump.close()


def test_after_the_end_nothing_is_taken():
    pump = Pump("test", nothing, max_items=1, max_bytes=1)
    pump.close()
    assert not pump.put(nothing, 0)


def test_the_end_waits_no_longer_than_it_may():
    blocked = Blocked()
    pump = Pump("test", nothing, max_items=1, max_bytes=1)
    pump.put(blocked, 0)
    blocked.begun.wait()
    assert not pump.close(0.01)
    blocked.may_end.set()
    assert pump.close()
