from __future__ import annotations

import contextlib
from typing import cast

import numpy as np
import pytest

import steerstream.blocking
from steerstream import Action, BadRequest, FramePolicy, SessionLost, Skipped
from steerstream.blocking import Session
from steerstream.bridge.gymnasium import Adapter, Policy
from steerstream.testing import Fail, FakeServer, Reply, Skip
from tests.steerstream.bridge.gymnasium.cars import Car, adapter

INFO = {"speed": 3.0}


@contextlib.contextmanager
def opened(server, frame_policy=FramePolicy.EVERY):
    with (
        steerstream.blocking.connect("fake", transport=server.transport()) as client,
        client.open_session(vehicle_id="gym", frame_policy=frame_policy, live=False) as session,
    ):
        yield session


def frames(server):
    return [request.frame for request in server.received if request.HasField("frame")]


def test_an_observation_becomes_the_action_of_its_command():
    server = FakeServer([Reply(0.25, 7.0)])
    environment = Car()
    observation, info = environment.reset(seed=0)
    with opened(server) as session:
        action = Policy(session, adapter(environment))(observation, info)
    assert action.tolist() == [0.25]
    assert environment.action_space.contains(action)
    (frame,) = frames(server)
    assert (frame.rgb8.width_px, frame.rgb8.height_px) == (64, 48)
    assert frame.rgb8.pixels == observation.tobytes()
    assert frame.vehicle_speed_mps == 3.0


def test_pictures_are_as_far_apart_as_the_environments_steps_and_episodes_further():
    server = FakeServer()
    picture = np.zeros((48, 64, 3), np.uint8)
    with opened(server) as session:
        policy = Policy(session, adapter(None))
        for _episode in range(2):
            policy.reset()
            for _ in range(2):
                policy(picture, INFO)
    kinds = [request.WhichOneof("message") for request in server.received]
    assert kinds == ["open", *2 * ["reset", "frame", "frame"]]
    times_ms = [frame.capture_time_ns // 1_000_000 for frame in frames(server)]
    assert times_ms == [1000, 1100, 2200, 2300]


def test_a_skip_holds_the_command_before_it():
    server = FakeServer([Reply(0.25), Skip()])
    picture = np.zeros((48, 64, 3), np.uint8)
    with opened(server) as session:
        policy = Policy(session, adapter(None))
        policy(picture, INFO)
        action, command, answer = policy.decide(picture, INFO)
    assert isinstance(answer, Skipped)
    assert command.action is Action.HOLD
    assert action.tolist() == [0.25]


def test_a_vehicle_without_a_command_takes_the_action_for_release():
    server = FakeServer([Skip()])
    with opened(server) as session:
        policy = Policy(session, adapter(None))
        action, command, _ = policy.decide(np.zeros((48, 64, 3), np.uint8), INFO)
        assert policy.nothing_yet().tolist() == action.tolist() == [-1.0]
    assert command.action is Action.RELEASE


def test_a_lost_session_is_an_error():
    with opened(FakeServer([Fail()])) as session, pytest.raises(SessionLost):
        Policy(session, adapter(None))(np.zeros((48, 64, 3), np.uint8), INFO)


def test_what_cannot_drive_an_environment_is_refused():
    with opened(FakeServer(), FramePolicy.LATEST) as session:
        with pytest.raises(BadRequest, match=r"frame_policy=FramePolicy\.EVERY"):
            Policy(session, adapter(None))
        with pytest.raises(BadRequest, match="adapter must be Adapter"):
            Policy(session, cast(Adapter, "CarRacing-v3"))
    with pytest.raises(BadRequest, match="session must be Session"):
        Policy(cast(Session, None), adapter(None))
