"""A server that is killed in a bend: the place, the gap and the picture."""

from __future__ import annotations

import functools
import itertools

import cv2
import pytest

import steerstream
from steerstream import DriveState, FramePolicy
from steerstream.testing import Fail, FakeServer, Reply
from steerstream_simulation import server_kill
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import LockStepClock, drive_lock_step
from steerstream_simulation.grpc_driver import open_driver
from steerstream_simulation.kill_plot import KillPlot
from steerstream_simulation.server_kill import ServerKill, sharpest_bend_m
from steerstream_simulation.world import World

SMALL = CameraConfig(width_px=128, height_px=96)
SECONDS = 3.0
_MS, _SECOND_NS = 1_000_000, 1_000_000_000


def test_the_place_is_the_sharpest_of_the_drives_middle():
    world = World(7, seconds=16.0, camera=SMALL)
    place_m = sharpest_bend_m(world, 16.0)
    around = [abs(world.road.curvature_at(place_m + step)) for step in range(-60, 61)]
    assert abs(world.road.curvature_at(place_m)) == max(around)
    assert abs(world.road.curvature_at(place_m)) > 0.004


@pytest.fixture
def servers():
    """Two servers, of which the first dies when something is in the list."""
    killed: list[bool] = []

    def react(_frame):
        return Fail() if killed else Reply(0.0, speed_mps=15.0)

    return {"a": FakeServer(react), "b": FakeServer(lambda _: Reply(0.0, speed_mps=15.0))}, killed


async def drive(servers, strikes):
    clock, world = LockStepClock(), World(7, seconds=SECONDS, camera=SMALL)
    transports = {name: server.transport for name, server in servers.items()}
    async with (
        steerstream.connect(
            ["a", "b"], transport=lambda name: transports[name](), clock=clock.now_ns
        ) as client,
        open_driver(client, SMALL, frame_policy=FramePolicy.EVERY, hands_over=True) as driver,
    ):
        assert isinstance(driver.session, steerstream.DriveSession)
        kill = ServerKill(
            strikes,
            driver.session,
            world,
            SECONDS,
            itertools.count(_SECOND_NS, 7 * _MS).__next__,
        )
        plot = KillPlot(kill, world.score.departure_offset_m)

        def observe(moment, reply):
            kill(moment, reply)
            plot(moment, reply)
            plot.told(driver.session.safe_command())

        frames = round(SECONDS * 20)
        await drive_lock_step(world, driver, frames=frames, clock=clock, observe=observe)
        assert driver.session.state is DriveState.DRIVING
    return kill, plot


async def test_the_gap_ends_with_the_other_servers_first_command(servers, tmp_path):
    fakes, killed = servers
    kill, plot = await drive(fakes, {"a": lambda: killed.append(True)})
    assert killed == [True]
    found = kill.summary()
    assert found is not None
    assert found["went_on_at"] == "b"
    assert found["with_state"]
    assert kill.gap is not None
    assert found["gap_ms"] == 7.0
    said = server_kill.table(found)
    assert "ms later, from b, with its state" in said
    # The line of the guard says what it did then; mostly it holds nothing.
    assert "frame(s) without a fresh command" in said
    assert "held" not in said
    assert "left alive" not in said
    assert "the guard" in {line.get_label() for axes in plot.draw().axes for line in axes.lines}
    plot.save(tmp_path / "kill.png")
    assert cv2.imread(str(tmp_path / "kill.png")).shape == (825, 1200, 3)


async def test_the_server_that_drives_is_killed_where_the_vehicle_left_the_first_one_before(
    monkeypatch,
):
    monkeypatch.setattr(server_kill, "sharpest_bend_m", lambda *_: 15.0)
    killed: list[str] = []
    first_answers = itertools.count()

    def first(_frame):
        return Fail() if next(first_answers) == 3 else Reply(0.0, speed_mps=15.0)

    def second(_frame):
        return Fail() if killed else Reply(0.0, speed_mps=15.0)

    fakes = {"a": FakeServer(first), "b": FakeServer(second)}
    strikes = {name: functools.partial(killed.append, name) for name in fakes}
    kill, _ = await drive(fakes, strikes)
    assert killed == ["b"]
    assert kill.gap is not None
    assert kill.gap.target == "a"
    found = kill.summary()
    assert found is not None
    assert found["left_alive"] == ["a"]
    assert server_kill.table(found).splitlines()[-1].startswith("left alive      a: ")


def test_a_drive_that_nobody_takes_over_says_so():
    found = {"killed_at_s": 3.0, "lateral_error_max_after_m": 0.1, "gap_ms": None, "left_alive": []}
    assert server_kill.table(found) == "server killed   at 3.0 s; no other one answered"


def test_a_drive_that_ends_before_the_bend_says_that_no_server_was_killed():
    assert server_kill.table(None).startswith("server killed   none: ")
