"""gRPC's poller and the event loop: one wake-up for all events, and none is missed."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from functools import partial

import pytest

from steerstream_service.process.event_loop import EventLoop


class PollerCompletionQueue:
    """Handles events as gRPC's class of this name does: a byte is read, then all events."""

    def __init__(self):
        self.reads, self.writes = socket.socketpair()
        self.reads.setblocking(False)
        self.writes.setblocking(False)
        self.events, self.handled, self.calls = [], [], 0
        self.between = None

    def event(self, number):
        self.events.append(number)
        self.writes.send(b"1")

    def handle(self, loop):
        assert loop is asyncio.get_running_loop()
        self.calls += 1
        assert len(self.reads.recv(1)) == 1
        self.handled += self.events
        self.events.clear()
        if self.between is not None:
            between, self.between = self.between, None
            between()


@pytest.fixture
def poller():
    poller = PollerCompletionQueue()
    yield poller
    poller.reads.close()
    poller.writes.close()


def run(main):
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(main)


async def passes(count=10):
    for _ in range(count):
        await asyncio.sleep(0)


def test_events_of_one_pass_take_one_pass(poller):
    async def main():
        loop = asyncio.get_running_loop()
        loop.add_reader(poller.reads, partial(poller.handle, loop))
        for number in range(200):
            poller.event(number)
        await passes()
        loop.remove_reader(poller.reads)

    run(main())
    assert poller.handled == list(range(200))
    assert poller.calls == 1


def test_an_event_that_comes_while_others_are_handled_is_not_missed(poller):
    async def main():
        loop = asyncio.get_running_loop()
        loop.add_reader(poller.reads, partial(poller.handle, loop))
        poller.between = lambda: poller.event(2)
        poller.event(0)
        poller.event(1)
        await passes()
        loop.remove_reader(poller.reads)

    run(main())
    assert poller.handled == [0, 1, 2]
    assert poller.calls == 2


def test_other_readers_are_left_alone():
    reads, writes = socket.socketpair()
    found = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.add_reader(reads, lambda: found.append(reads.recv(1)))
        writes.send(b"abc")
        await passes()
        loop.remove_reader(reads)

    run(main())
    assert found == [b"a", b"b", b"c"]
    reads.close()
    writes.close()


_PROGRAM = """
import asyncio, grpc
from steerstream_service.process.event_loop import EventLoop

class Loop(EventLoop):
    def add_reader(self, fd, callback, *args):
        print(type(callback.func.__self__).__name__)
        return super().add_reader(fd, callback, *args)

async def main():
    await grpc.aio.server().stop(None)

with asyncio.Runner(loop_factory=Loop) as runner:
    runner.run(main())
"""


def test_grpc_still_has_the_class_that_is_looked_for():
    """If gRPC renames it, servers work as before, but fall behind under load."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [PollerCompletionQueue.__name__]
