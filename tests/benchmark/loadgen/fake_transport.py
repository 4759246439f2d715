"""A server inside the process, which answers, stops or ends sessions as a test says."""

from __future__ import annotations

import asyncio
import contextlib

from benchmark.loadgen.transport import Answer, SessionEndedError


class FakeTransport:
    """Connects to a server that answers every frame at once.

    Args:
        takes: frames of a session that are taken; the next one is never.
        answers: frames of a session that are answered.
        ends_after: frames after which the server ends the session; None for never.
        refusals: sessions that are refused before the first one is opened.
        wants_each: 2 asks for every second frame only.
    """

    def __init__(self, *, takes=10**9, answers=10**9, ends_after=None, refusals=0, wants_each=1):
        self.takes = takes
        self.answers = answers
        self.ends_after = ends_after
        self.refusals = refusals
        self.wants_each = wants_each
        self.names = []
        self.terms = []
        self.streams = []

    @contextlib.asynccontextmanager
    async def connect(self):
        yield self

    async def open(self, vehicle_id, terms):
        self.names.append(vehicle_id)
        self.terms.append(terms)
        if len(self.names) <= self.refusals:
            raise SessionEndedError("TOO_MANY_SESSIONS", retry_after_s=0.01)
        self.streams.append(FakeStream(self))
        return self.streams[-1]


class FakeStream:
    def __init__(self, server):
        self._server = server
        self._due = asyncio.Queue()
        self.sent = []
        self.asked = 0
        self.end = None

    def takes(self, due_ns):
        self.asked += 1
        return self.asked % self._server.wants_each == 0

    async def send(self, number, picture, capture_time_ns):
        if len(self.sent) >= self._server.takes:
            await asyncio.Event().wait()
        self.sent.append((number, picture, capture_time_ns))
        if len(self.sent) == self._server.ends_after:
            self._due.put_nowait(None)
        elif len(self.sent) <= self._server.answers:
            self._due.put_nowait(Answer(number, (0.1, 10.0, 0.5)))

    async def receive(self):
        answer = await self._due.get()
        if answer is None:
            raise SessionEndedError("SHED")
        return answer

    async def close(self):
        self.end = "closed"

    async def abort(self):
        self.end = "aborted"
