"""Replays of recordings of the real server, and of a scripted one."""

from __future__ import annotations

import json

import numpy as np
import pytest

import steerstream
from steerstream import FramePolicy, MediaError, SkipReason
from steerstream.recording import FlightRecorder
from steerstream.recording.reader import Recording
from steerstream.recording.replay import Replay, terms
from steerstream.testing import FakeServer, Reply, Skip
from steerstream.testing.server_process import serve
from tests.steerstream.recording.drives import PERIOD_NS, drive, driving

BUDGET_MS = 1000.0


@pytest.fixture(scope="module")
def target(bundle_path):
    with serve(bundle_path, options=("--precision", "f32")) as server:
        yield server.address


def picture(number):
    rng = np.random.default_rng(number)
    return np.kron(rng.integers(0, 256, (24, 32, 3), np.uint8), np.ones((10, 10, 1), np.uint8))


async def record(path, target, *, skips=(), resets=(), gaps=(), count=12):
    """Record a drive with damaged pictures, resets, and breaks after which time has passed."""
    time_ns = 10**9
    async with (
        FlightRecorder(path) as recorder,
        steerstream.connect(target) as client,
        client.open_session(
            vehicle_id="car", frame_policy=FramePolicy.EVERY, budget_ms=BUDGET_MS, observer=recorder
        ) as session,
    ):
        for number in range(count):
            if number in resets:
                await session.reset()
            time_ns += 5 * 10**9 if number in gaps else PERIOD_NS
            image = b"no picture" if number in skips else picture(number)
            await session.request(
                image, capture_time_ns=time_ns, vehicle_speed_mps=float(number), timeout_s=30.0
            )


async def replay(path, target, *, is_same_machine=True, **options):
    async with steerstream.connect(target) as client:
        return await Replay(
            Recording([path]),
            client,
            model=None,
            is_same_machine=is_same_machine,
            **options,
        ).run()


async def test_a_drive_with_all_that_happens_comes_out_to_the_last_bit(target, tmp_path):
    path = tmp_path / "drive.mcap"
    await record(path, target, skips={0, 5}, resets={3, 9}, gaps={7})
    seen = []
    result = await replay(path, target, progress=lambda *step: seen.append(step))
    assert result.first is None
    assert (result.compared, result.bit_equal, result.plan.skipped) == (10, 10, 2)
    assert result.is_exact
    assert result.same_bundle
    assert result.plan.frames[-1].answer.state_epoch == 3
    assert set(result.largest.values()) == {0.0}
    assert seen[-1] == (12, 12)
    json.dumps(result.as_json(), allow_nan=False)


async def test_a_recording_that_was_cut_off_is_replayed_to_its_end(target, tmp_path):
    flushed = tmp_path / "flushed.mcap"
    recorder = FlightRecorder(flushed)
    async with (
        steerstream.connect(target) as client,
        client.open_session(
            vehicle_id="car", frame_policy=FramePolicy.EVERY, budget_ms=BUDGET_MS, observer=recorder
        ) as session,
    ):
        for number in range(4):
            await session.request(picture(number), capture_time_ns=(number + 1) * PERIOD_NS)
        recorder._pump.close()
        recorder._track.flush(at_once=True)
    result = await replay(flushed, target)
    assert (result.compared, result.bit_equal) == (4, 4)
    assert result.cut_off == (str(flushed),)
    recorder.close()


async def test_the_first_frame_that_came_out_otherwise_is_named_with_both_values(tmp_path):
    path = tmp_path / "drive.mcap"
    async with FlightRecorder(path) as recorder, driving(recorder) as session:
        await drive(session, 6)
    other = FakeServer(lambda frame: Reply(0.1 + 0.5 * (frame.sequence_number in {2, 4})))
    async with steerstream.connect("fake:1", transport=other.transport()) as client:
        result = await Replay(Recording([path]), client, model=None, is_same_machine=False).run()
    assert (result.compared, result.bit_equal, result.differing) == (6, 4, 2)
    assert result.first.sequence_number == 2
    assert result.first.after_s >= 0.0
    fields = {field: (one, other) for field, one, other in result.first.fields}
    assert fields["raw.steering_wheel_angle_rad"] == ("0.1", "0.6")
    assert result.largest["steering_wheel_angle_rad"] == pytest.approx(0.5)


async def test_a_frame_that_is_skipped_now_and_was_not_then_is_a_difference(tmp_path):
    path = tmp_path / "drive.mcap"
    async with FlightRecorder(path) as recorder, driving(recorder) as session:
        await drive(session, 2)
    other = FakeServer(lambda frame: Skip(SkipReason.FAILED, "the step failed"))
    async with steerstream.connect("fake:1", transport=other.transport()) as client:
        result = await Replay(Recording([path]), client, model=None, is_same_machine=False).run()
    assert result.differing == 2
    [field] = result.first.fields
    assert field == ("answer", "a command", "skipped: FAILED, the step failed")


async def test_a_session_that_began_afresh_is_stepped_by_a_fresh_one(tmp_path):
    path = tmp_path / "drive.mcap"
    async with FlightRecorder(path) as recorder:
        for _ in range(2):
            async with driving(recorder) as session:
                await drive(session, 3)
    again = FakeServer(lambda frame: Reply(0.1))
    async with steerstream.connect("fake:1", transport=again.transport()) as client:
        result = await Replay(Recording([path]), client, model=None, is_same_machine=False).run()
    assert (result.compared, result.differing) == (6, 0)
    opened = [request for request in again.received if request.HasField("open")]
    assert len(opened) == 2


async def test_the_camera_and_the_frames_are_those_of_the_drive(tmp_path):
    path = tmp_path / "drive.mcap"
    camera = steerstream.Camera(width_px=640, mount_height_m=1.25)
    then, now = FakeServer(lambda frame: Reply(0.1)), FakeServer(lambda frame: Reply(0.1))
    async with FlightRecorder(path) as recorder, driving(recorder, then, camera=camera) as session:
        await session.request(b"a picture", vehicle_speed_mps=3.0, capture_time_ns=1)
        await session.reset()
        await session.request(b"another", capture_time_ns=2)
    async with steerstream.connect("fake:1", transport=now.transport()) as client:
        await Replay(Recording([path]), client, model=None, is_same_machine=False).run()
    assert now.received[0].open.camera == then.received[0].open.camera
    assert list(now.received)[1:] == list(then.received)[1:]


async def test_a_recording_without_a_session_is_refused(tmp_path):
    path = tmp_path / "drive.mcap"
    async with FlightRecorder(path) as recorder:
        recorder.reset()
    with pytest.raises(MediaError, match="has no session"):
        terms(Recording([path]))


async def test_a_recording_that_is_cut_off_before_its_first_session_says_so(tmp_path):
    path = tmp_path / "drive.mcap"
    async with FlightRecorder(path) as recorder:
        recorder.reset()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MediaError, match="is cut off before its first session was written"):
        terms(Recording([path]))
