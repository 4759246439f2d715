"""What Triton answers after its death, asked of a server inside the process."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from benchmark.commands import failover
from benchmark.errors import BenchmarkError
from benchmark.failover import triton
from benchmark.loadgen.transport import Answer, SessionEndedError

UNKNOWN = "must specify the START flag"


class FakeTriton:
    """Adds up the pictures of a sequence; after a restart it knows no sequence.

    Args:
        knows_all: it takes up a sequence that it does not know from an empty state.
        drift: what is added to the outputs of each sequence more than to the one before.
    """

    def __init__(self, *, knows_all=False, drift=0.0):
        self.knows_all = knows_all
        self.drift = drift
        self.sums = {}
        self.opened = 0
        self.restarts = 0

    @contextlib.asynccontextmanager
    async def connect(self):
        yield self

    async def open(self, vehicle_id, terms):
        self.opened += 1
        return FakeSequence(self, self.opened)

    def resume(self, stream):
        return FakeSequence(self, stream.correlation_id)

    async def restart(self):
        self.sums.clear()
        self.restarts += 1


class FakeSequence:
    def __init__(self, server, correlation_id):
        self._server = server
        self._due = asyncio.Queue()
        self.correlation_id = correlation_id

    async def send(self, number, picture, capture_time_ns):
        sums = self._server.sums
        if number == 0 or (self._server.knows_all and self.correlation_id not in sums):
            sums[self.correlation_id] = self._server.drift * self.correlation_id
        if self.correlation_id not in sums:
            self._due.put_nowait(SessionEndedError("ERROR", UNKNOWN))
            return
        sums[self.correlation_id] += picture
        self._due.put_nowait(Answer(number, (sums[self.correlation_id], 1.0)))

    async def receive(self):
        answer = await self._due.get()
        if isinstance(answer, SessionEndedError):
            raise answer
        return answer

    async def close(self):
        del self._server.sums[self.correlation_id]

    async def abort(self):
        """A sequence of Triton outlives its stream."""


def compared(server):
    return asyncio.run(triton.compare(server, server.restart))


def test_a_sequence_that_is_unknown_after_the_restart_gets_the_servers_error():
    server = FakeTriton()
    found = compared(server)
    assert server.restarts == 1
    assert found["without_start"] == {"error": f"ERROR: {UNKNOWN}"}


def test_a_new_sequence_lacks_what_the_broken_one_had_seen():
    found = compared(FakeTriton())
    seen = sum(range(triton.FRAMES_BEFORE))
    assert found["with_start"]["differences"] == [[seen, 0.0]] * triton.FRAMES_AFTER


def test_a_server_that_goes_on_from_an_empty_state_is_measured_as_well():
    found = compared(FakeTriton(knows_all=True))
    assert found["without_start"] == found["with_start"]


def test_a_server_that_answers_the_same_frames_differently_is_refused():
    with pytest.raises(BenchmarkError, match="differently each time"):
        compared(FakeTriton(drift=0.01))


def test_the_error_and_the_differences_stand_in_the_table():
    about = {"versions": {"nvidia-pytriton": "0.7.0"}, "heads": {"steering": "rad", "speed": "m/s"}}
    shown = failover.table({"triton": about | compared(FakeTriton())})
    assert f"goes on with its sequence is answered with an error: `ERROR: {UNKNOWN}`" in shown
    assert f"| at once | {triton.FRAMES_AFTER - 1} frames later |" in shown
    assert "| starts a new one: steering, rad | 7.8e+02 | 7.8e+02 |" in shown


def test_results_without_triton_do_not_speak_of_it():
    found = {"sessions": 1, "answers": 5, "wrong": 0, "fresh": 0, "changes": 1, "shown": ["broken"]}
    found["without_ms"] = {"p50": 1.0, "p99": 2.0, "max": 3.0}
    shown = failover.table({"faults": {"killed": found}})
    assert "Triton" not in shown
    assert shown.endswith("- broken")
