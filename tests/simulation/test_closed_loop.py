import asyncio

import pytest

from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import (
    CommandQueue,
    DriverStoppedError,
    LockStepClock,
    drive_lock_step,
    drive_real_time,
)
from steerstream_simulation.dagger import drive_and_relabel
from steerstream_simulation.drivers import LocalDriver, expert_policy
from steerstream_simulation.vehicle import Command
from steerstream_simulation.world import World

SMALL = CameraConfig(width_px=128, height_px=96)


def world(seed: int = 0, seconds: float = 10.0) -> World:
    return World(seed, seconds=seconds, camera=SMALL)


async def driven(seed: int, seconds: float, latency_ms: float) -> World:
    road = world(seed, seconds)
    driver = LocalDriver(expert_policy(road), latency_ms=latency_ms)
    await drive_lock_step(road, driver, frames=round(seconds * 20))
    return road


@pytest.mark.parametrize("seed", range(10))
async def test_the_expert_keeps_its_lane(seed):
    score = (await driven(seed, 20.0, 30.0)).score
    assert score.autonomy_percent == 100.0
    assert score.lane_departures == 0
    assert score.lateral_error_max_m < 0.3
    assert score.elapsed_s == pytest.approx(20.0)


async def test_the_same_drive_is_the_same_to_the_last_bit():
    first, second = await driven(3, 5.0, 40.0), await driven(3, 5.0, 40.0)
    assert first.vehicle.pose == second.vehicle.pose
    assert first.score == second.score


async def test_a_slower_driver_drives_worse():
    errors = []
    for latency_ms in (30.0, 250.0, 600.0):
        summary = (await driven(0, 25.0, latency_ms)).score.summary()
        errors.append(summary["lateral_error_rms_m"] + summary["interventions"])
    assert errors[0] < errors[1] < errors[2]


def test_a_command_acts_when_it_arrives_and_not_before():
    here = world()
    queue = CommandQueue()
    queue.put(0.120, 0, Command(0.5, 10.0))
    queue.advance(here, 0.115)
    assert here.command.steering_wheel_angle_rad == 0.0
    queue.advance(here, 0.150)
    assert here.command.steering_wheel_angle_rad == 0.5
    assert here.time_s == pytest.approx(0.150)


def test_arrivals_are_rounded_up_to_the_vehicles_step():
    here = world()
    here.advance_to(0.0101)
    assert here.time_s == pytest.approx(0.015)


def test_a_command_overtaken_by_a_newer_frames_is_dropped():
    here = world()
    queue = CommandQueue()
    queue.put(0.080, 0, Command(0.1, 10.0))
    queue.put(0.060, 1, Command(0.2, 10.0))
    queue.advance(here, 0.1)
    assert here.command.steering_wheel_angle_rad == 0.2


async def test_a_stated_delay_is_charged_in_place_of_the_measured_one():
    here, there = world(1), world(1)
    slow = LocalDriver(expert_policy(there), latency_ms=900.0)
    await drive_lock_step(here, LocalDriver(expert_policy(here), latency_ms=50.0), frames=60)
    await drive_lock_step(there, slow, frames=60, delay_ms=50.0)
    assert here.vehicle.pose == there.vehicle.pose


@pytest.mark.parametrize(("delay_ms", "behind"), [(40.0, 1), (140.0, 3)])
async def test_a_command_acts_so_long_after_its_picture(delay_ms, behind):
    """Each picture asks for another angle; the one of a delay ago is followed."""
    here = world()
    angles = iter(range(100))
    followed = []
    await drive_lock_step(
        here,
        LocalDriver(lambda _image: (next(angles) / 1e3, 15.0)),
        frames=12,
        delay_ms=delay_ms,
        observe=lambda *_: followed.append(here.command.steering_wheel_angle_rad),
    )
    assert followed[behind:] == [number / 1e3 for number in range(12 - behind)]


def test_leaving_the_lane_puts_the_vehicle_back_on_its_centre():
    here = world(seconds=30.0)
    here.command = Command(1.0, 15.0)
    while here.score.interventions == 0:
        here.advance_to(here.time_s + 0.005)
    assert here.position.lateral_offset_m == pytest.approx(0.0, abs=1e-3)
    assert here.position.heading_error_rad == pytest.approx(0.0, abs=1e-3)
    assert here.score.lateral_error_max_m > 1.5


class Stopped:
    async def send(self, frame):
        pass

    async def receive(self):
        return None

    def follow(self):
        return None


async def test_a_driver_that_stops_is_an_error_in_lock_step():
    with pytest.raises(DriverStoppedError):
        await drive_lock_step(world(), Stopped(), frames=5)


async def test_a_driver_that_stops_is_an_error_in_real_time():
    with pytest.raises(DriverStoppedError):
        await drive_real_time(world(), Stopped(), frames=5)


class Paced(LocalDriver):
    """Answers by the wall clock, as a server does."""

    def __init__(self, policy, delay_s):
        super().__init__(policy, latency_ms=delay_s * 1e3)
        self._delay_s = delay_s

    async def receive(self):
        reply = await super().receive()
        await asyncio.sleep(self._delay_s)
        return reply


async def test_real_time_observes_every_frame_once():
    here = world(2)
    seen = []
    await drive_real_time(
        here,
        Paced(lambda _image: (0.01, 15.0), 0.01),
        frames=20,
        observe=lambda moment, reply: seen.append((moment.frame.sequence_number, reply)),
    )
    assert sorted(number for number, _ in seen) == list(range(20))
    assert all(reply is not None for _, reply in seen)
    assert here.time_s == pytest.approx(1.0)
    assert here.command == Command(0.01, 15.0)


class Silent(LocalDriver):
    async def receive(self):
        await asyncio.sleep(3600)


async def test_frames_without_an_answer_are_reported_too():
    here = world(2)
    seen = []
    await drive_real_time(
        here,
        Silent(expert_policy(here)),
        frames=3,
        observe=lambda _moment, reply: seen.append(reply),
    )
    assert seen == [None, None, None]


class Guarded(Silent):
    """Has the vehicle follow something though no answer comes."""

    def follow(self):
        return Command(0.02, 12.0)


async def test_between_answers_the_vehicle_follows_what_the_guard_says():
    here = world(2)
    await drive_real_time(here, Guarded(expert_policy(here)), frames=10)
    assert here.command == Command(0.02, 12.0)


def test_the_lock_step_clock_never_goes_back():
    clock = LockStepClock()
    clock.begin(2_000_000_000)
    first = clock.now_ns()
    clock.begin(1_500_000_000)
    assert clock.now_ns() >= first >= 2_000_000_000


def test_a_standing_clock_says_when_the_picture_was_taken_and_no_more():
    clock = LockStepClock(stands=True)
    for capture_time_ns in (2_000_000_000, 2_050_000_000):
        clock.begin(capture_time_ns)
        assert clock.now_ns() == clock.now_ns() == capture_time_ns


def test_relabelled_frames_show_where_the_network_went():
    frames = list(drive_and_relabel(lambda _image: (0.6, 15.0), 1000, frames=60, camera=SMALL))
    assert len(frames) == 60
    assert frames[-1].segment >= 1
    drifted = next(frame for frame in frames if frame.lateral_offset_m > 0.5)
    assert drifted.steering_wheel_angle_rad < 0.0


def test_relabelling_with_the_expert_alone_stays_in_the_lane():
    frames = drive_and_relabel(
        lambda _image: (9.0, 0.0), 1000, frames=60, camera=SMALL, expert_share=1.0
    )
    assert max(abs(frame.lateral_offset_m) for frame in frames) < 0.3
