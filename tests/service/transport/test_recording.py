"""The server's recorder by itself, and in a server process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import threading
import time

import numpy as np
import pytest

import steerstream
from steerstream import FramePolicy
from steerstream.errors import MediaError
from steerstream.recording import topics, track
from steerstream.recording.files import least_bytes
from steerstream.recording.reader import recordings
from steerstream.recording.track import Track
from steerstream.testing.server_process import ServerFailedError, serve
from steerstream.v1 import command_pb2, drive_service_pb2, frame_pb2, session_pb2
from steerstream_service.domain import RecordingPlan
from steerstream_service.errors import ConfigError
from steerstream_service.transport import recording
from steerstream_service.transport.recording import MOST_RECORDED, ServerRecorder
from tests.service import bundles
from tests.service.vehicle import running

BYTES = 134 * (1 << 18)
OPENED = drive_service_pb2.DriveResponse(opened=session_pb2.SessionOpened(session_id="s"))
COMMAND = drive_service_pb2.DriveResponse(command=command_pb2.Command(sequence_number=1))
SKIPPED = drive_service_pb2.DriveResponse(skipped=command_pb2.FrameSkipped(sequence_number=2))
RESET = drive_service_pb2.DriveRequest(reset=session_pb2.Reset())
FRAME = drive_service_pb2.DriveRequest(
    frame=frame_pb2.Frame(sequence_number=1, jpeg=b"a picture", act_in_ms=50.0)
)
LARGE = drive_service_pb2.DriveRequest(frame=frame_pb2.Frame(sequence_number=1, jpeg=bytes(30_000)))
TICKET = drive_service_pb2.DriveResponse()
TICKET.notice.ticket.ticket = b"a sealed state"


def opening(vehicle_id="car"):
    return session_pb2.OpenSession(vehicle_id=vehicle_id, ticket=b"a sealed state")


@pytest.fixture
def recorder(tmp_path, monkeypatch):
    # However slow this machine is just now, what waits is written and its thread ends.
    monkeypatch.setattr(recording, "_CLOSE_S", 60.0)
    return ServerRecorder(RecordingPlan(tmp_path, BYTES, 1.0), {"max_sessions": "64"})


def read(folder):
    return [list(each.messages()) for each in recordings([folder])]


def test_a_session_is_recorded_as_its_vehicle_would(recorder, tmp_path):
    session = recorder.begin("s", opening())
    session.sent(OPENED)
    for message in (FRAME, RESET):
        session.received(message)
    for answer in (COMMAND, SKIPPED, TICKET):
        session.sent(answer)
    session.end("client")
    recorder.close()
    [found] = read(tmp_path)
    assert [each.topic for each in found] == [
        topics.SESSION, topics.CAMERA, topics.FRAME, topics.RESET, topics.COMMAND, topics.SKIPPED,
        topics.NOTICE, topics.END,
    ]  # fmt: skip
    terms = found[0].message
    assert (terms.open.vehicle_id, terms.opened.session_id) == ("car", "s")
    assert terms.settings["max_sessions"] == "64"
    assert found[1].message.data == b"a picture"
    assert found[2].message.act_in_ms == 50.0
    assert found[-1].message.reason == "client"
    assert all(b"sealed" not in path.read_bytes() for path in tmp_path.iterdir())
    assert TICKET.notice.ticket.ticket == b"a sealed state"


@pytest.mark.parametrize("image", ["rgb8", "nv12"])
def test_a_frame_that_states_a_size_beyond_reason_does_not_end_the_recording(
    recorder, tmp_path, image
):
    odd = drive_service_pb2.DriveRequest()
    getattr(odd.frame, image).width_px = 2**32 - 1
    first, second = recorder.begin("s", opening()), recorder.begin("t", opening())
    for session in (first, second):
        session.sent(OPENED)
    first.received(odd)
    second.received(FRAME)
    for session in (first, second):
        session.end("client")
    recorder.close()
    assert all(each[-1].topic == topics.END for each in read(tmp_path))
    assert recorder.dropped == 0


def test_a_fault_in_one_message_costs_that_message(recorder, tmp_path, caplog):
    def broken(time_ns):
        raise ValueError("a fault")

    session = recorder.begin("s", opening())
    session.sent(OPENED)
    recorder.put(session._track, broken)
    session.end("client")
    recorder.close()
    assert [each.topic for each in read(tmp_path)[0]] == [topics.SESSION, topics.END]
    assert recorder.dropped == 1
    assert "recording_fault" in caplog.messages


def test_a_share_of_the_sessions_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "_CLOSE_S", 60.0)
    for share, least, most in ((0.0, 0, 0), (0.25, 30, 70), (1.0, 200, 200)):
        made = ServerRecorder(RecordingPlan(tmp_path, BYTES, share), {})
        chosen = 0
        for number in range(200):
            session = made.begin(f"{number:016x}", opening())
            if session is not None:
                chosen += 1
                # Without a message, and so without a file, which would take seconds.
                made.end(session._track)
        made.close()
        assert least <= chosen <= most


def test_no_more_than_a_number_of_sessions_are_recorded_at_once(recorder, caplog):
    sessions = [recorder.begin(str(number), opening()) for number in range(MOST_RECORDED)]
    assert recorder.begin("one more", opening()) is None
    sessions[0].end("client")
    assert recorder.begin("another", opening()) is not None
    with caplog.at_level(logging.WARNING):
        recorder.close()
    [warning] = caplog.records
    assert warning.message == "recording_incomplete"
    assert recorder.passed_over == 1


def test_what_the_disk_has_no_time_for_is_dropped_and_files_end_all_the_same(
    recorder, tmp_path, monkeypatch
):
    begun, may_go_on = threading.Event(), threading.Event()
    written = Track.write

    def slow(track, entries, time_ns):
        # The thread of an earlier test's recorder may still write.
        if track is session._track:
            begun.set()
        may_go_on.wait()
        written(track, entries, time_ns)

    monkeypatch.setattr(recorder._pump, "_max_items", 5)
    session = recorder.begin("s", opening())
    monkeypatch.setattr(Track, "write", slow)
    session.sent(OPENED)
    assert begun.wait(30)
    for _ in range(20):
        session.received(FRAME)
    session.end("client")
    # More than are taken, and an end that always is.
    assert recorder.dropped == 16
    other = recorder.begin("t", opening())
    other.sent(OPENED)
    other.end("client")
    may_go_on.set()
    recorder.close()
    assert len(read(tmp_path)) == 2


def test_a_full_disk_is_logged_once(recorder, tmp_path, full_disk, caplog):
    session = recorder.begin("s", opening())
    with full_disk, caplog.at_level(logging.ERROR):
        session.sent(OPENED)
        for _ in range(300):
            session.received(FRAME)
            session.sent(COMMAND)
        session.end("client")
        recorder.close()
    assert [record.message for record in caplog.records] == ["recording_lost"]


def test_sessions_that_come_and_go_on_a_full_disk_are_no_news(
    recorder, full_disk, monkeypatch, caplog
):
    monkeypatch.setattr(recording, "_FLUSH_LOOK_S", 0.0)
    recorder._look_s = 0.0
    with full_disk, caplog.at_level(logging.WARNING):
        for name in ("a", "b", "c"):
            session = recorder.begin(name, opening())
            session.sent(OPENED)
            session.received(LARGE)
            session.end("client")
        recorder.close()
    assert [record.message for record in caplog.records] == [
        "recording_lost",
        "recording_incomplete",
    ]


def test_what_waits_is_handed_over_after_a_second(recorder, tmp_path):
    session = recorder.begin("s", opening())
    session.sent(OPENED)
    until_s = time.monotonic() + 60
    found = []
    while not found:
        assert time.monotonic() < until_s
        time.sleep(0.05)
        # Until its first bytes are written, a file is none.
        with contextlib.suppress(MediaError):
            found = [*filter(None, read(tmp_path))] if list(tmp_path.glob("*.mcap")) else []
    session.end("client")
    recorder.close()


@pytest.mark.parametrize(
    ("folder", "max_bytes", "says"),
    [
        ("a", 1000, "^--record-bytes must be at least .*, is 1,000$"),
        ("file/a", BYTES, "--record: cannot record to"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused(tmp_path, folder, max_bytes, says):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=says):
        ServerRecorder(RecordingPlan(tmp_path / folder, max_bytes, 1.0), {})


def test_of_several_workers_each_has_a_part_of_the_bound_and_the_whole_is_named(tmp_path):
    least = least_bytes(MOST_RECORDED)
    many = RecordingPlan(tmp_path / "a", 4 * least, 1.0, workers=4)
    recorders = [
        ServerRecorder(plan, {}) for plan in (many, RecordingPlan(tmp_path / "b", least, 1.0))
    ]
    assert len({recorder._files.segment_bytes for recorder in recorders}) == 1
    for recorder in recorders:
        recorder.close()
    few = dataclasses.replace(many, max_bytes=4 * least - 1)
    with pytest.raises(ConfigError) as refused:
        ServerRecorder(few, {})
    assert str(refused.value) == (
        f"--record-bytes must be at least {4 * least:,} with 4 workers, is {4 * least - 1:,}"
    )


async def drive(target, vehicle_id, count=8):
    async with (
        steerstream.connect(target) as client,
        client.open_session(
            vehicle_id=vehicle_id, frame_policy=FramePolicy.EVERY, budget_ms=1000.0
        ) as session,
    ):
        for number in range(count):
            if number == count // 2:
                await session.reset()
            pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3), np.uint8)
            await session.request(pixels, capture_time_ns=(number + 1) * 50_000_000)


async def test_a_server_records_its_sessions_and_a_second_one_is_kept_out(bundle_path, tmp_path):
    options = ("--record", str(tmp_path), "--record-bytes", str(BYTES), "--precision", "f32")
    with serve(bundle_path, options=options) as server:
        with pytest.raises(ServerFailedError, match="another recorder writes to"):
            serve(bundle_path, options=options).__enter__()
        for vehicle_id in ("car/1", "car-2"):
            await drive(server.address, vehicle_id)
    found = read(tmp_path)
    assert [each[0].message.open.vehicle_id for each in found] == ["car/1", "car-2"]
    for each in found:
        commands = [message.message for message in each if message.topic == topics.COMMAND]
        assert [command.state_epoch for command in commands] == [0] * 4 + [1] * 4
        assert sum(message.topic == topics.CAMERA for message in each) == 8
        assert each[-1].message.reason == "client"


async def driven(run, done):
    """The steering of each frame that a vehicle sends until `done`; each has its command."""
    vehicle = await run.vehicle()
    angles = []
    async with asyncio.timeout(60):
        while not done(len(angles)):
            await vehicle.frame(np.full((60, 80, 3), len(angles) % 200, np.uint8))
            angles.append((await vehicle.answer()).limited.steering_wheel_angle_rad)
    await vehicle.call.done_writing()
    return angles


async def test_a_full_disk_is_told_once_and_costs_no_vehicle_a_frame(
    tmp_path, full_disk, monkeypatch, caplog
):
    """`full_disk` is a bound on the size of files, which fails as a disk without room does."""
    monkeypatch.setattr(track, "FLUSH_S", 0.0)
    monkeypatch.setattr(track, "_RETRY_S", 0.05)
    monkeypatch.setattr(recording, "_FLUSH_LOOK_S", 0.0)
    monkeypatch.setattr(recording, "_GOES_ON_S", 0.5)
    path = bundles.recurrent(tmp_path / "tiny.onnx")
    caplog.set_level(logging.WARNING)

    def told(event):
        return [record for record in caplog.records if record.message == event]

    plan = RecordingPlan(tmp_path / "sessions", BYTES, 1.0)
    async with running(path, recording=plan) as run:
        assert run.server.state().recording_lost == 0
        with full_disk:
            full = await driven(run, lambda count: count >= 40 and told("recording_lost"))
            lost = run.server.state().recording_lost or 0
            assert lost > 0
        after = await driven(run, lambda count: count >= 40 and told("recording_goes_on"))
        assert (run.server.state().recording_lost or 0) >= lost
    assert len(told("recording_lost")) == 1
    async with running(path) as run:
        assert run.server.state().recording_lost is None
        longest = max(len(full), len(after))
        without = await driven(run, lambda count: count == longest)
    assert full == without[: len(full)]
    assert after == without[: len(after)]
