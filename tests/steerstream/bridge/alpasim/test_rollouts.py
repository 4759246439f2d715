from __future__ import annotations

import argparse
import json

import pytest

import steerstream.blocking
from steerstream import BadRequest
from steerstream.bridge.alpasim.command import add_options
from steerstream.bridge.alpasim.rollouts import Rollouts
from steerstream.testing import FakeServer, Reply
from tests.steerstream.bridge.alpasim.test_planner import FRONT
from tests.steerstream.bridge.driving import PICTURE


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(["--target", "fake", *words])


@pytest.fixture
def fake():
    return FakeServer(lambda frame: Reply(0.1))


@pytest.fixture
def client(fake):
    with steerstream.blocking.connect("fake", transport=lambda name: fake.transport()) as client:
        yield client


def test_a_rollout_has_a_session_with_its_camera_and_a_report(fake, client, tmp_path, capsys):
    out = tmp_path / "out.json"
    rollouts = Rollouts(client, options("--json", str(out)))
    rollouts.begin("some-rollout", {"rear": FRONT, "camera_front": FRONT})
    planner, camera = rollouts.planner("some-rollout")
    assert camera == "camera_front"
    planner.plan(PICTURE, 0, 10.0, now_us=0, query_us=100_000)
    rollouts.end("some-rollout")
    opening = fake.received[0].open
    assert opening.vehicle_id.startswith("steerstream-bridge-")
    assert opening.vehicle_id.endswith("-some-rollout")
    assert opening.camera.horizontal_fov_deg == pytest.approx(52.0, abs=0.01)
    assert (json.loads(out.read_text())["source"], planner.tally.commands) == ("alpasim", 1)
    assert "round trip" in capsys.readouterr().out


def test_a_rollout_without_pictures_has_no_report(client, capsys):
    rollouts = Rollouts(client, options("--camera", "rear"))
    rollouts.begin("empty", {"front": FRONT, "rear": FRONT})
    assert rollouts.planner("empty")[1] == "rear"
    rollouts.end("empty")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("cameras", [{}, {"front": FRONT}])
def test_a_camera_that_is_not_there_is_named(client, cameras):
    with pytest.raises(BadRequest, match=r"no camera 'rear'; the simulator declares: (none|front)"):
        Rollouts(client, options("--camera", "rear")).begin("x", cameras)
