from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
import threading

import pytest
from mcap.reader import make_reader

import steerstream.blocking
from steerstream import (
    Action,
    DriveState,
    FramePolicy,
    MediaError,
    OutputLost,
    SessionLost,
    SkipReason,
)
from steerstream.recording import FlightRecorder, flight_recorder, topics
from steerstream.testing import Fail, FakeServer, Reply, Skip
from tests.steerstream.recording.drives import (
    PERIOD_NS,
    PICTURE,
    drive,
    driving,
    messages,
    records,
    topics_of,
)
from tests.steerstream.test_drive_session import Fleet, dies_at


async def test_a_drive_is_recorded_as_it_was(tmp_path):
    path = tmp_path / "new" / "drive.mcap"
    fake = FakeServer(
        lambda frame: Skip(SkipReason.LATE) if frame.sequence_number == 1 else Reply(0.1)
    )
    async with FlightRecorder(path) as recorder, driving(recorder, fake) as session:
        await drive(session, 2)
        await session.reset()
        await drive(session, 1, first=2)
        told = session.safe_command()
    assert recorder.dropped == 0
    assert topics_of(path) == [
        topics.SESSION,
        *(topics.CAMERA, topics.FRAME, topics.COMMAND, topics.VERDICT),
        *(topics.CAMERA, topics.FRAME, topics.SKIPPED, topics.VERDICT),
        topics.RESET,
        *(topics.CAMERA, topics.FRAME, topics.COMMAND, topics.VERDICT),
        topics.SAFE_COMMAND,
        topics.END,
    ]
    found = {each.topic: each.message for each in messages(path)}
    assert found[topics.CAMERA].data == PICTURE
    assert found[topics.FRAME].capture_time_ns == 3 * PERIOD_NS
    assert found[topics.COMMAND].limited.steering_wheel_angle_rad == 0.1
    assert found[topics.SAFE_COMMAND].steering_wheel_angle_rad == told.steering_wheel_angle_rad
    assert told.action is Action.FOLLOW
    session_found = found[topics.SESSION]
    assert session_found.target == "fake:1"
    assert session_found.open.vehicle_id == "car-7"
    assert session_found.opened.model.bundle_sha256 == session.info.model.bundle_sha256
    assert session_found.settings["max_hold_ms"] == "1000.0"
    times = [each.time_ns for each in messages(path)]
    assert times == sorted(times)


async def test_a_ticket_is_not_recorded(tmp_path):
    path = tmp_path / "drive.mcap"
    async with FlightRecorder(path) as recorder:
        fake = FakeServer(lambda frame: Reply(0.1))
        async with driving(recorder, fake, ticket=b"a sealed state") as session:
            await drive(session, 1)
    assert b"a sealed state" not in path.read_bytes()


async def test_a_lost_session_is_recorded_with_its_reason(tmp_path):
    path = tmp_path / "drive.mcap"
    async with FlightRecorder(path) as recorder:
        with pytest.raises(SessionLost):
            async with driving(recorder, FakeServer([Fail(message="it broke")])) as session:
                await drive(session, 1)
    assert messages(path)[-1].topic == topics.END
    assert "it broke" in messages(path)[-1].message.reason


async def test_sessions_one_after_the_other_are_one_recording(tmp_path):
    path = tmp_path / "drive.mcap"
    async with FlightRecorder(path) as recorder:
        for _ in range(2):
            async with driving(recorder) as session:
                await drive(session, 1)
    assert collections.Counter(topics_of(path))[topics.SESSION] == 2


def test_the_blocking_client_records_too(tmp_path):
    path = tmp_path / "drive.mcap"
    transport = FakeServer(lambda frame: Reply(0.1)).transport()
    with (
        FlightRecorder(path) as recorder,
        steerstream.blocking.connect("fake:1", transport=transport) as client,
        client.open_session(vehicle_id="car", observer=recorder) as session,
    ):
        session.request(PICTURE)
        session.safe_command()
    assert {topics.FRAME, topics.COMMAND, topics.SAFE_COMMAND} <= set(topics_of(path))


async def test_a_drive_session_records_each_frame_once_and_every_server(tmp_path):
    path = tmp_path / "drive.mcap"
    async with FlightRecorder(path) as recorder:
        fleet = Fleet(a=dies_at(2), b=FakeServer())
        async with (
            fleet.connect() as client,
            fleet.session(client, frame_policy=FramePolicy.EVERY, observer=recorder) as session,
        ):
            await drive(session, 3)
            await session.reset()
            await drive(session, 1, first=3)
            assert session.state is DriveState.DRIVING
    found = collections.Counter(topics_of(path))
    assert found[topics.SESSION] == 2
    assert found[topics.FRAME] == found[topics.COMMAND] == 4
    assert found[topics.RESET] == found[topics.END] == 1


async def test_a_folder_holds_files_within_its_bound(tmp_path):
    most = 8 * (1 << 18)
    async with (
        FlightRecorder(tmp_path / "ring", max_bytes=most) as recorder,
        driving(recorder) as session,
    ):
        for first in range(0, 400, 20):
            await drive(session, 20, first, picture=os.urandom(20_000))
    files = sorted((tmp_path / "ring").glob("*.mcap"))
    assert sum(path.stat().st_size for path in files) <= most
    assert len(files) > 2
    assert messages(files[-1])[-1].topic == topics.END
    for path in files:
        with path.open("rb") as file:
            assert make_reader(file).get_summary().statistics.message_count > 0


async def test_a_slow_disk_drops_and_says_so_and_delays_no_frame(tmp_path, monkeypatch):
    path = tmp_path / "drive.mcap"
    begun, blocked = threading.Event(), threading.Event()
    async with FlightRecorder(path) as recorder:
        write = recorder._track.write

        def slow(entries, time_ns):
            begun.set()
            blocked.wait()
            write(entries, time_ns)

        monkeypatch.setattr(recorder._track, "write", slow)
        monkeypatch.setattr(recorder._pump, "_max_items", 10)
        async with driving(recorder) as session:
            await drive(session, 1)
            assert begun.wait(30)
            # Answers come though nothing is written.
            await drive(session, 50, first=1)
            dropped = recorder.dropped
            assert dropped > 40
            blocked.set()
    lost = [each.message.messages for each in messages(path) if each.topic == topics.LOSS]
    assert sum(lost) <= recorder.dropped
    assert recorder.dropped >= dropped


async def test_a_full_disk_costs_the_recording_and_not_the_drive(tmp_path, full_disk):
    path = tmp_path / "drive.mcap"
    with full_disk, pytest.raises(OutputLost, match=r"drive\.mcap is not whole: File too large"):
        async with FlightRecorder(path) as recorder, driving(recorder) as session:
            await drive(session, 50, picture=bytes(4000))
    assert recorder.dropped > 50
    recorder.close()


async def test_a_disk_that_hangs_does_not_keep_the_vehicle_s_program(tmp_path, monkeypatch):
    monkeypatch.setattr(flight_recorder, "CLOSE_S", 0.05)
    begun, hangs = threading.Event(), threading.Event()
    recorder = FlightRecorder(tmp_path / "drive.mcap")
    written = recorder._track.write

    def hang(entries, time_ns):
        begun.set()
        hangs.wait()
        written(entries, time_ns)

    monkeypatch.setattr(recorder._track, "write", hang)
    async with driving(recorder) as session:
        await drive(session, 2)
        assert begun.wait(30)
    with pytest.raises(OutputLost, match=r"could not be ended within 0\.05 s"):
        recorder.close()
    hangs.set()
    assert recorder._pump.close()


async def test_the_error_of_a_drive_matters_more_than_that_of_its_recording(tmp_path, full_disk):
    path = tmp_path / "drive.mcap"
    with full_disk, pytest.raises(ValueError, match="the drive") as caught:
        await _broken_drive(path)
    assert "is not whole" in caught.value.__notes__[0]


async def _broken_drive(path):
    async with FlightRecorder(path) as recorder, driving(recorder) as session:
        await drive(session, 50, picture=bytes(4000))
        raise ValueError("the drive")


def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot record to"):
        FlightRecorder(tmp_path / "file" / "ring")
    with FlightRecorder(tmp_path / "a.mcap"), pytest.raises(MediaError, match="another recorder"):
        FlightRecorder(tmp_path / "a.mcap")


KILLED = """
import asyncio, sys
from steerstream.recording import FlightRecorder
from tests.steerstream.recording.drives import drive, driving

async def main():
    async with FlightRecorder(sys.argv[1]) as recorder, driving(recorder) as session:
        for number in range(1_000_000):
            await drive(session, 1, first=number, picture=bytes(1000))
            print(number, flush=True)
            await asyncio.sleep(0.005)

asyncio.run(main())
"""


@pytest.mark.parametrize("name", ["drive.mcap", "ring"])
def test_a_recording_whose_writer_is_killed_is_read_up_to_its_last_second(tmp_path, name):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path / name], stdout=subprocess.PIPE, text=True
    )
    try:
        last = 0
        for line in process.stdout:
            last = int(line)
            if last >= 400:
                break
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    path = tmp_path / name
    [path] = [path] if path.is_file() else path.glob("*.mcap")
    _, is_cut_off = records(path)
    assert is_cut_off
    numbers = [
        each.message.sequence_number for each in messages(path) if each.topic == topics.FRAME
    ]
    assert numbers == list(range(len(numbers)))
    # How many depends on when the last second began, which is not decided here.
    assert 0 < len(numbers) <= last + 2
    with path.open("rb") as file, pytest.raises(Exception):  # noqa: B017 - whatever it is
        list(make_reader(file).iter_messages())
    # The next recorder is not kept out by the one that died.
    FlightRecorder(tmp_path / name).close()
