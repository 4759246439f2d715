"""A vehicle over a link that is late or loses pictures, and what its guard makes of that."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from steerstream import ActingDelay, Command, ControlValues, Horizon, HorizonStep
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import RATE_HZ, Moment
from steerstream_simulation.drivers import Frame, Reply
from steerstream_simulation.guard_count import GuardTimes
from steerstream_simulation.guarded_drive import bounds_for, drive_guarded
from steerstream_simulation.latency import Delay, RecordedLatency, StatedLatency
from steerstream_simulation.world import World
from tests.steerstream.values import COMMAND

SMALL = CameraConfig(width_px=64, height_px=64)
SECONDS = 4.0
FRAMES = round(SECONDS * RATE_HZ)


class Expert:
    """Steers as the expert does, and says the same for the next half second."""

    def __init__(self, world: World, *, has_horizon: bool = False) -> None:
        self._world = world
        self._has_horizon = has_horizon
        self.asked: list[tuple[int, float | None]] = []

    async def __call__(self, frame: Frame, act_in_ms: float | None) -> Command:
        self.asked.append((frame.sequence_number, act_in_ms))
        angle_rad, speed_mps, _ = self._world.expert_label(0.05)
        values = ControlValues(angle_rad, speed_mps, 0.0)
        steps = tuple(HorizonStep(50 * at, values) for at in range(1, 11))
        return dataclasses.replace(
            COMMAND,
            sequence_number=frame.sequence_number,
            capture_time_ns=frame.capture_time_ns,
            alive_counter=frame.sequence_number,
            raw=values,
            limited=values,
            horizon=Horizon(steps, values) if self._has_horizon else None,
        )


class FromTheStart(RecordedLatency):
    """A recorded trace that every drive begins with its first picture."""

    def draw(self, frames: int, rate_hz: float, seed: Sequence[int]) -> list[Delay]:
        return [self.delays[at % len(self.delays)] for at in range(frames)]


class Driven:
    """One drive of the expert over a link."""

    def __init__(self, *, has_horizon: bool = False, max_act_in_ms: float = 0.0) -> None:
        self.world = World(3, seconds=SECONDS, camera=SMALL)
        self.expert = Expert(self.world, has_horizon=has_horizon)
        self.times = GuardTimes()
        self.seen: list[tuple[Moment, Reply | None]] = []
        self._max_act_in_ms = max_act_in_ms

    async def over(self, latency: StatedLatency | RecordedLatency) -> Driven:
        await drive_guarded(
            self.world,
            self.expert,
            latency,
            frames=FRAMES,
            seed=[0],
            acting=ActingDelay(),
            max_act_in_ms=self._max_act_in_ms,
            times=self.times,
            observe=lambda moment, reply: self.seen.append((moment, reply)),
        )
        return self

    @property
    def error_m(self) -> float:
        return self.world.score.lateral_error_max_m


async def test_a_link_without_delay_drives_as_the_driver_does():
    driven = await Driven().over(StatedLatency())
    assert driven.error_m < 0.1
    assert driven.times.followed_s == pytest.approx(SECONDS)
    assert [reply.delay_ms for _, reply in driven.seen] == [0.0] * FRAMES


async def test_a_delay_costs_metres_and_the_answers_under_way_at_the_end_are_told_of():
    near, far = Driven(), Driven()
    await near.over(StatedLatency())
    await far.over(StatedLatency(delay_ms=250.0))
    assert far.error_m > near.error_m
    # Five pictures of the last quarter second have no answer yet.
    assert [reply for _, reply in far.seen].count(None) == 5
    assert {moment.frame.sequence_number for moment, _ in far.seen} == set(range(FRAMES))


async def test_a_lost_picture_is_never_asked_about_and_the_guard_holds():
    trace = RecordedLatency(name="burst", delays=(*[10.0] * 10, *[None] * 6))
    driven = await Driven().over(trace)
    lost = {moment.frame.sequence_number for moment, reply in driven.seen if reply is None}
    assert lost
    assert lost.isdisjoint(number for number, _ in driven.expert.asked)
    assert driven.times.held_s > 0
    assert driven.times.predicted_s == 0


async def test_a_horizon_is_played_where_pictures_are_lost():
    trace = RecordedLatency(name="burst", delays=(*[10.0] * 10, *[None] * 6))
    driven = await Driven(has_horizon=True).over(trace)
    assert driven.times.predicted_s > 0.5
    assert driven.times.held_s == 0


async def test_a_link_that_loses_most_is_let_go_of():
    driven = await Driven().over(StatedLatency(delay_ms=20.0, loss=0.6))
    assert driven.times.released_s > 0


@pytest.mark.parametrize("has_horizon", [False, True])
async def test_an_unbroken_stretch_of_release_is_one_intervention(has_horizon: bool):
    driven = await Driven(has_horizon=has_horizon).over(
        FromTheStart(name="gone", delays=(30.0, *[None] * (FRAMES - 1)))
    )
    score = driven.world.score
    assert driven.times.released_s > 2.0
    assert (score.interventions, score.releases) == (1, 1)
    assert score.autonomy_percent == 0.0


async def test_each_stretch_of_release_is_an_intervention():
    lost: list[Delay] = [None] * 22
    delays = [*[10.0] * 5, *lost, *[10.0] * 22, *lost, *[10.0] * 9]
    trace = FromTheStart(name="holes", delays=tuple(delays))
    driven = await Driven().over(trace)
    assert driven.world.score.releases == 2


async def test_a_vehicle_that_never_gets_a_command_is_let_go_of():
    driven = await Driven().over(FromTheStart(name="late", delays=(None, 400.0, 30.0, 20.0)))
    assert driven.times.followed_s == 0.0
    assert driven.times.released_s == pytest.approx(SECONDS - 1.0, abs=0.02)
    assert (driven.world.score.interventions, driven.world.score.releases) == (1, 1)
    assert driven.world.score.autonomy_percent == 0.0


async def test_a_link_that_is_never_let_go_of_has_no_release():
    driven = await Driven().over(StatedLatency(delay_ms=50.0, loss=0.05))
    assert driven.times.released_s == 0.0
    assert (driven.world.score.interventions, driven.world.score.releases) == (0, 0)


async def test_the_network_is_told_the_delay_that_is_measured():
    driven = await Driven(max_act_in_ms=250.0).over(StatedLatency(delay_ms=120.0, jitter_ms=10.0))
    told = [-1.0 if act_in_ms is None else act_in_ms for _, act_in_ms in driven.expert.asked]
    assert told[0] == 0.0
    assert all(110.0 <= act_in_ms <= 130.0 for act_in_ms in told[4:])


async def test_answers_never_overtake_each_other():
    driven = await Driven().over(StatedLatency(delay_ms=60.0, jitter_ms=60.0))
    arrived = [reply.arrived_ns for _, reply in driven.seen if reply is not None]
    numbers = [reply.sequence_number for _, reply in driven.seen if reply is not None]
    assert arrived == sorted(arrived)
    assert numbers == sorted(numbers)


async def test_a_drive_is_the_same_each_time():
    latency = StatedLatency(delay_ms=50.0, jitter_ms=30.0, loss=0.1, burst_ms=200.0)
    once, again = [await Driven(has_horizon=True).over(latency) for _ in range(2)]
    assert once.world.score == again.world.score
    assert once.times == again.times


def test_the_guard_of_a_slow_link_bears_its_delay_and_that_of_a_quick_one_is_as_it_was():
    assert bounds_for(50.0) == bounds_for(0.0)
    assert bounds_for(250.0).max_round_trip_ms == 400.0
    assert bounds_for(250.0).max_age_ms == 350.0
    assert bounds_for(250.0).max_hold_ms == bounds_for(0.0).max_hold_ms


async def test_a_link_of_more_than_a_second_is_driven_over():
    driven = await Driven().over(StatedLatency(delay_ms=1200.0))
    assert driven.times.followed_s > 1.0
    assert driven.times.released_s == 0.0
