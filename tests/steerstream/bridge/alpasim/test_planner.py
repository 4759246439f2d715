from __future__ import annotations

import math

import pytest

import steerstream.blocking
from steerstream import BadRequest, FramePolicy
from steerstream.bridge.alpasim.planner import Optics, Planner
from steerstream.drive.tally import Tally
from steerstream.testing import FakeServer, Reply, Skip
from tests.steerstream.bridge.driving import PICTURE

FRONT = Optics(640, 360, 656.1, 656.1, 320.0, 180.0, 1.5, 0.0)
"""As FakeLoop declares its camera: 52 degrees across, level."""


@pytest.fixture
def planner_of():
    """A function that opens a session with a script and returns its planner."""
    clients = []

    def make(script, delay_ms=None) -> Planner:
        fake = FakeServer(script)
        client = steerstream.blocking.connect("fake", transport=lambda name: fake.transport())
        clients.append(client)
        session = client.open_session(vehicle_id="car", frame_policy=FramePolicy.EVERY, live=False)
        return Planner(session, Tally(50.0), delay_ms=delay_ms)

    yield make
    for client in clients:
        client.close()


def test_a_camera_is_described_by_its_optics():
    camera = FRONT.describe()
    assert (camera.width_px, camera.height_px, camera.mount_height_m) == (640, 360, 1.5)
    assert camera.horizontal_fov_deg == pytest.approx(52.0, abs=0.01)
    assert camera.horizon_fraction == pytest.approx(0.5)


def test_a_camera_that_looks_down_has_its_horizon_higher():
    down = Optics(640, 360, 656.1, 656.1, 320.0, 180.0, 1.5, -math.sin(0.1))
    assert down.describe().horizon_fraction == pytest.approx(0.5 - math.tan(0.1) * 656.1 / 360)


@pytest.mark.parametrize(
    "optics",
    [
        Optics(640, 360, 0.0, 0.0, 320.0, 180.0, 1.5, 0.0),
        Optics(640, 360, math.nan, 1.0, 320.0, 180.0, 1.5, 0.0),
        Optics(640, 360, 656.1, 656.1, 320.0, 180.0, 1.5, 0.9),
        Optics(640, 360, 656.1, 656.1, 320.0, 180.0, 1.5, math.nan),
    ],
)
def test_a_camera_that_cannot_be_is_refused(optics):
    with pytest.raises(BadRequest, match="does not look ahead"):
        optics.describe()


def test_a_command_acts_after_its_delay_and_until_then_the_one_before(planner_of):
    planner = planner_of(lambda frame: Reply(0.148, 10.0), delay_ms=100.0)
    for now_us, straight_until_us in ((0, 100_000), (50_000, 100_000), (100_000, 100_000)):
        plan = planner.plan(PICTURE, now_us, 10.0, now_us=now_us, query_us=now_us + 50_000)
        assert [point.time_us for point in plan if point.yaw_rad == 0.0][-1] == straight_until_us


def test_a_picture_is_sent_once(planner_of):
    planner = planner_of(lambda frame: Reply(0.148, 10.0), delay_ms=0.0)
    for now_us in (0, 100_000):
        planner.plan(PICTURE, 0, 10.0, now_us=now_us, query_us=now_us)
    assert planner.tally.frames == 1


@pytest.mark.parametrize("reaction", [Skip(), Reply(is_damaged=True)])
def test_a_plan_is_a_stop_where_there_is_nothing_to_follow(planner_of, reaction):
    plan = planner_of(lambda frame: reaction).plan(PICTURE, 0, 4.0, now_us=0, query_us=100_000)
    assert plan[-1].x_m == plan[-2].x_m


def test_a_picture_that_cannot_be_sent_is_said_and_stops(planner_of, capsys):
    planner = planner_of(lambda frame: Reply())
    plan = planner.plan(PICTURE, 0, 1e6, now_us=0, query_us=100_000)
    assert plan[1].x_m == pytest.approx(1e6 * 0.05, rel=1e-3)
    assert "vehicle_speed_mps" in capsys.readouterr().err


@pytest.mark.parametrize("speed_mps", [math.nan, math.inf])
def test_without_a_speed_there_is_no_plan_and_the_vehicle_stands(planner_of, speed_mps, capsys):
    planner = planner_of(lambda frame: Reply(0.148, 10.0))
    assert planner.plan(PICTURE, 0, speed_mps, now_us=0, query_us=100_000) == []
    assert "no speed" in capsys.readouterr().err
    plan = planner.plan(PICTURE, 50_000, 10.0, now_us=50_000, query_us=100_000)
    assert all(math.isfinite(point.x_m) for point in plan)


def test_a_camera_without_rows_is_refused():
    with pytest.raises(BadRequest, match="does not look ahead"):
        Optics(640, 0, 656.1, 656.1, 320.0, 180.0, 1.5, 0.0).describe()
