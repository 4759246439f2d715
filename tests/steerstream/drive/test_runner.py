from __future__ import annotations

import asyncio
import contextlib
import io

import pytest

import steerstream
from steerstream import ControlValues, FramePolicy, Pace, SessionLost, ViewUse
from steerstream.drive.runner import Drive
from steerstream.drive.sources import Source, SourceFrame
from steerstream.drive.tally import Tally
from steerstream.progress import ProgressLine
from steerstream.testing import Drop, Fail, FakeServer, Reply, Skip

JPEG = b"\xff\xd8 a picture"
MS = 1_000_000
WAYS = ["in_real_time", "in_lock_step"]


def frames(count: int, *, broken_at: int | None = None) -> list[SourceFrame]:
    truth = ControlValues(steering_wheel_angle_rad=0.3)
    return [
        SourceFrame(JPEG, number * MS, 7 + number * 50 * MS, number == broken_at, truth)
        for number in range(count)
    ]


@contextlib.asynccontextmanager
async def driving(server: FakeServer, pictures: list[SourceFrame], *, is_live: bool = False):
    tally, stop = Tally(1000.0), asyncio.Event()
    source = Source("film", 20.0, len(pictures), iter(pictures), is_live=is_live)
    async with (
        steerstream.connect("fake", transport=server.transport()) as client,
        client.open_session(vehicle_id="car", frame_policy=FramePolicy.EVERY) as session,
    ):
        progress = ProgressLine(io.StringIO())
        drive = Drive(
            session,
            source,
            view=ViewUse.PIXELS,
            tally=tally,
            progress=progress,
            recorder=None,
            stop=stop,
        )
        yield drive, tally, stop


@pytest.mark.parametrize("way", WAYS)
async def test_every_picture_is_sent_with_its_time_and_counted(way):
    server = FakeServer(lambda frame: Reply(0.1) if frame.sequence_number else Skip())
    async with driving(server, frames(5)) as (drive, tally, _):
        await getattr(drive, way)()
    times_ns = [request.frame.capture_time_ns for request in list(server.received)[1:]]
    assert times_ns == [7 + number * 50 * MS for number in range(5)]
    assert (tally.frames, tally.commands, tally.unanswered) == (5, 4, 0)
    assert tally.heads["steering_wheel_angle"].rmse == pytest.approx(0.2)


@pytest.mark.parametrize("way", WAYS)
async def test_where_pictures_are_missing_the_state_is_reset(way):
    server = FakeServer()
    async with driving(server, frames(4, broken_at=2)) as (drive, _, _):
        await getattr(drive, way)()
    kinds = [request.WhichOneof("message") for request in server.received]
    assert kinds == ["open", "frame", "frame", "reset", "frame", "frame"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_drive_that_is_stopped_takes_the_answers_under_way(way):
    stops: list[asyncio.Event] = []

    def script(frame):
        if frame.sequence_number == 3:
            stops[0].set()
        return Reply()

    async with driving(FakeServer(script), frames(1000)) as (drive, tally, stop):
        stops.append(stop)
        await getattr(drive, way)()
    assert (tally.frames, tally.unanswered) == (4, 0)


@pytest.mark.parametrize("way", WAYS)
async def test_a_session_that_is_lost_is_one_error(way):
    async with driving(FakeServer([Reply(), Fail()]), frames(5)) as (drive, tally, _):
        with pytest.raises(SessionLost, match="the fake server died"):
            await getattr(drive, way)()
    assert tally.commands == 1


async def test_a_drive_in_real_time_ends_where_the_server_answers_nothing(monkeypatch):
    monkeypatch.setattr(steerstream.session, "max_silence_s", lambda info, bounds: 0.05)
    async with driving(FakeServer(lambda frame: Drop()), frames(1000)) as (drive, tally, _):
        with pytest.raises(SessionLost, match="answered none of"):
            async with asyncio.timeout(60):
                await drive.in_real_time()
    assert tally.commands == 0


async def test_pictures_for_which_a_full_server_has_no_time_are_passed_over():
    """Each would be sent later than the one before: the drive would fall behind for ever."""
    hour_ms = 3_600_000
    server = FakeServer(
        lambda frame: [Pace(hour_ms, hour_ms), Reply()] if frame.sequence_number == 0 else Reply(),
        idle_timeout_ms=hour_ms,
    )
    async with driving(server, frames(500, broken_at=400)) as (drive, tally, _):
        async with asyncio.timeout(60):
            await drive.in_real_time()
    assert tally.frames + tally.passed_over == 500
    assert tally.passed_over > 100
    assert tally.unanswered == 0
    kinds = [request.WhichOneof("message") for request in server.received]
    assert kinds == ["open", *(tally.frames * ["frame"]), "reset"], "the break is not lost"


async def test_a_cameras_picture_is_due_when_it_is_there():
    """However late it was read, only its answer counts."""
    late = [SourceFrame(JPEG, 0) for _ in range(3)]
    async with driving(FakeServer(), late, is_live=True) as (drive, tally, _):
        await drive.in_real_time()
    assert (tally.commands, tally.over_budget) == (3, 0)
