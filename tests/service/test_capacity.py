"""Who is admitted, what the refused are told, and how a load is followed."""

from __future__ import annotations

from service.capacity import Capacity
from service.errors import TooManySessionsError
from service.load import Demand
from service.pace import Conduct
from service.shedding import Shedding
from service.usage import Reading
from tests.service.costs import table

MS, S = 1_000_000, 1_000_000_000
CAR = Demand("m", 20.0, 50 * MS)


def capacity(*, cores=8.0, max_load=0.85, step_ms=1.0):
    steps = {"m": table(lambda size: step_ms * size)}
    return Capacity(steps, cores, max_load, Shedding(3 * S, 1 * S))


def fill(server, demand=CAR):
    """How many sessions get in, and the refusal of the next."""
    for count in range(10_000):
        try:
            server.take(demand)
        except TooManySessionsError as error:
            return count, error
    raise AssertionError


def test_sessions_get_in_until_the_fullest_resource_is_full():
    count, error = fill(capacity())
    assert count == 41, "0.85 of an engine that takes 2.1 % of its time a session"
    assert "20 Hz within 50 ms asks for 2.1% of the engine, of which 0." in str(error)


def test_on_one_core_the_cpu_is_full_first():
    count, error = fill(capacity(cores=1.0))
    assert count == 12
    assert "of the CPU" in str(error)


def test_a_refusal_takes_nothing_and_room_that_is_given_back_is_room():
    server = capacity()
    count, _ = fill(server)
    full = server.load
    assert fill(server)[0] == 0
    server.give_back(CAR)
    assert server.load < full
    assert fill(server)[0] == 1
    for _ in range(count):
        server.give_back(CAR)
    assert server.load == 0


def test_a_session_that_asks_for_less_gets_in_where_another_does_not():
    server = capacity()
    fill(server)
    server.give_back(CAR)
    assert fill(server, Demand("m", 60.0, 20 * MS))[0] == 0
    assert fill(server, Demand("m", 1.0, 1000 * MS))[0] == 1


def test_the_first_session_is_late_for_nobody():
    server = capacity(step_ms=40)
    assert fill(server)[0] == 1


def test_a_load_that_may_be_large_leaves_it_to_the_count():
    server = capacity(max_load=100)
    for _ in range(1000):
        server.take(CAR)


class Drive:
    """A server whose sessions all do the same, half a second at a time."""

    def __init__(self, server, sessions):
        self.server, self.sessions = server, sessions
        self.reading = Reading(0, 0, 0, 0, 0, 0)

    def go(self, *, cpu_ms=1.0, within=10, surplus=0, late=0, seconds=0.5):
        frames = self.sessions * (within + surplus)
        was = self.reading
        self.reading = Reading(
            was.at_ns + round(seconds * S),
            was.cpu_ns + round(frames * cpu_ms * MS),
            was.loop_ns + round(frames * 0.1 * MS),
            was.frames + frames,
            0,
            0,
        )
        return self.server.review(self.reading, [Conduct(within, surplus, late)] * self.sessions)


def test_a_neighbour_that_takes_the_cpu_lets_sessions_go_after_a_while():
    server = capacity(cores=2.0)
    count, _ = fill(server)
    drive = Drive(server, count)
    assert [drive.go() for _ in range(20)] == [None] * 20
    goals = [goal for _ in range(12) if (goal := drive.go(cpu_ms=4.0)) is not None]
    assert goals == [1.0]


def test_many_late_sessions_keep_others_out():
    server = capacity()
    for _ in range(20):
        server.take(CAR)
    drive = Drive(server, 20)
    goals = [goal for _ in range(9) if (goal := drive.go(late=3)) is not None]
    assert len(goals) == 1
    assert goals[0] < server.load
    assert fill(server)[0] == 0


def test_a_server_is_busy_while_it_has_no_room_and_somebody_keeps_to_the_rate():
    server = capacity(cores=1.0)
    drive = Drive(server, 40)
    drive.go()
    drive.go(cpu_ms=1.2)
    assert server.is_busy
    for _ in range(5):
        drive.go(cpu_ms=0.1)
    assert not server.is_busy
    drive.go(cpu_ms=1.2, surplus=1)
    assert not server.is_busy, "all are beyond their rates: nobody is in the way of anybody"
