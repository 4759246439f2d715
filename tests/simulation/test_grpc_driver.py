import itertools

import pytest

import steerstream
from steerstream import FramePolicy, SkipReason
from steerstream.testing import FakeServer, Reply, Skip
from steerstream.testing.script import Reaction
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import LockStepClock, drive_lock_step
from steerstream_simulation.grpc_driver import describe, open_driver
from steerstream_simulation.report import DriveLog, summarise, table
from steerstream_simulation.world import World

SMALL = CameraConfig(width_px=128, height_px=96)


async def drive(server: FakeServer, frames: int = 40) -> tuple[World, DriveLog]:
    clock = LockStepClock()
    world, log = World(5, seconds=frames / 20, camera=SMALL), DriveLog(50.0)
    async with (
        steerstream.connect("fake", transport=server.transport(), clock=clock.now_ns) as client,
        open_driver(client, SMALL, frame_policy=FramePolicy.EVERY) as driver,
    ):
        await drive_lock_step(world, driver, frames=frames, clock=clock, delay_ms=20.0, observe=log)
    return world, log


async def test_the_vehicle_follows_the_servers_commands():
    world, log = await drive(
        FakeServer(lambda _frame: Reply(steering_wheel_angle_rad=0.02, speed_mps=18.0))
    )
    assert log.commands == log.frames == 40
    assert world.command.steering_wheel_angle_rad == 0.02
    assert world.command.speed_mps == 18.0


async def test_a_drive_with_a_stated_delay_can_be_repeated():
    def steer(frame):
        return Reply(steering_wheel_angle_rad=0.002 * (frame.sequence_number % 7), speed_mps=15.0)

    (first, _), (second, _) = await drive(FakeServer(steer)), await drive(FakeServer(steer))
    assert first.vehicle.pose == second.vehicle.pose


async def test_simulated_time_reaches_the_server():
    server = FakeServer()
    await drive(server, frames=10)
    frames = [request.frame for request in server.received if request.HasField("frame")]
    steps = {
        after.capture_time_ns - before.capture_time_ns
        for before, after in itertools.pairwise(frames)
    }
    assert steps == {50_000_000}
    assert all(frame.HasField("vehicle_speed_mps") for frame in frames)


async def test_a_model_without_a_speed_head_keeps_the_speed():
    world, _ = await drive(FakeServer(lambda _frame: Reply(speed_mps=None)), frames=10)
    assert world.command.speed_mps > 0.0


async def test_skipped_frames_count_as_over_budget():
    actions: list[Reaction] = [Reply(), Reply(), Skip(SkipReason.LATE), *[Reply()] * 5]
    _, log = await drive(FakeServer(actions), frames=8)
    assert log.commands == 7
    assert log.over_budget >= 1


async def test_the_report_has_every_figure():
    world, log = await drive(FakeServer(), frames=10)
    report = summarise({"sent_bytes": 60_000, "rate_hz": 20.0}, world.score, log)
    assert {"lateral_error_rms_m", "lane_departures", "interventions", "autonomy_percent"} <= set(
        report
    )
    assert report["latency_ms"]["round_trip"]["p99_9"] > 0
    assert "autonomy" in table(report)
    assert "6.0 kB a frame, 120 kB/s" in table(report)


def test_the_camera_is_described_as_it_is():
    camera = describe(CameraConfig(width_px=640, height_px=480))
    assert (camera.width_px, camera.height_px) == (640, 480)
    assert camera.horizontal_fov_deg == pytest.approx(18.0, abs=1e-6)
