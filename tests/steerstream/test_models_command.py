"""The command `models`: what is served, and the requests that an operator's options make."""

from __future__ import annotations

import dataclasses
import json

import pytest

import steerstream
from steerstream import models_command
from steerstream.command_line import Parser
from steerstream.models import HeldOutScore
from steerstream.testing import FakeServer
from steerstream.v1 import models_service_pb2 as wire
from tests.steerstream.command_lines import command_line


def test_models_are_listed_with_the_default_marked(capsys):
    with command_line(FakeServer(models=("small", "large"))) as run:
        assert run("models") == 0
        assert "* small" in capsys.readouterr().out
        assert run("models", "--json") == 0
        assert json.loads(capsys.readouterr().out)["default_model"] == "small"


SCORE = HeldOutScore("the real drive", "steering_wheel_angle", 964, 0.119345, "")
OTHERS = [
    HeldOutScore("the real drive", "speed", 964, 6.5, ""),
    HeldOutScore("rendered", "steering_wheel_angle", 2000, 0.0558, ""),
]


async def test_a_model_is_one_row_with_the_score_on_the_first_of_its_sources():
    server = FakeServer(models=("small", "a_model_with_a_long_name"))
    async with steerstream.connect("fake", transport=server.transport()) as client:
        served = await client.describe_models()
    first = dataclasses.replace(
        served.models[0], precision="f32", provider="cpu", scores=(OTHERS[0], SCORE, OTHERS[1])
    )
    served = dataclasses.replace(served, models=(first, *served.models[1:]))
    header, small, other, note = models_command.models_table(served).splitlines()
    assert small.split()[:9] == [
        "*", "small", "200x66", "20", "Hz", "f32", "on", "cpu", "0.1193",
    ]  # fmt: skip
    assert small.endswith(" rad steering_wheel_angle, speed, steering_torque")
    assert other.split()[0] == "a_model_with_a_long_name"
    assert " -          steering_wheel_angle" in other
    assert header.index("heads") == small.index("steering_wheel_angle")
    assert "--json has all of them" in note


def test_a_server_without_the_service_is_told_apart(capsys):
    with command_line() as run:
        assert run("models", "--serving") == 2
    assert "name the address of its --admin-listen" in capsys.readouterr().err


def request(*words):
    parser = Parser(prog="models")
    models_command.add_models_options(parser)
    return models_command._request(parser.parse_args(["--target", "host:1", *words]))


def shares(**values):
    return [wire.ModelShare(name=name, share=value) for name, value in values.items()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), None),
        (("--serving",), ("DescribeServing", wire.DescribeServingRequest())),
        (
            ("--load", "b.onnx", "--sha256", "aa", "--sha256", "bb", "--name", "new"),
            ("LoadModel", wire.LoadModelRequest(file="b.onnx", sha256=["aa", "bb"], name="new")),
        ),
        (("--unload", "old"), ("UnloadModel", wire.UnloadModelRequest(name="old"))),
        (
            ("--default", "new"),
            ("RouteVehicles", wire.RouteVehiclesRequest(default_model="new")),
        ),
        (
            ("--share", "a=0.01", "--share", "b=0.5"),
            ("RouteVehicles", wire.RouteVehiclesRequest(shares=shares(a=0.01, b=0.5))),
        ),
        (
            ("--shadow", "new=0.1"),
            ("ShadowModel", wire.ShadowModelRequest(name="new", share=0.1)),
        ),
        (("--shadow", "new=0"), ("ShadowModel", wire.ShadowModelRequest())),
    ],
)
def test_each_option_is_one_request(words, expected):
    assert request(*words) == expected


@pytest.mark.parametrize("word", ["new", "=0.1", "new=", "new=2", "new=x"])
def test_a_share_is_a_name_and_a_number(word, capsys):
    with pytest.raises(SystemExit):
        request("--share", word)
    assert "needs" in capsys.readouterr().err


SERVING = wire.Serving(
    models=[
        wire.ServedModel(name="old", session_count=9),
        wire.ServedModel(name="new", session_count=1),
        wire.ServedModel(name="gone", session_count=2, unloading=True),
    ],
    default_model="old",
    shares=shares(new=0.01),
    shadow=wire.Shadow(
        name="new",
        share=0.5,
        frames=100,
        frames_dropped=3,
        differences=[wire.HeadDifference(head="speed", rms=0.25, largest=1.5)],
    ),
)


def test_the_table_has_sessions_shares_and_the_comparison():
    lines = models_command._as_table(SERVING).splitlines()
    assert lines[1].split() == ["*", "old", "9", "99.00%"]
    assert lines[2].split() == ["new", "1", "1.00%"]
    assert "opens no more sessions" in lines[3]
    assert "100 frames, 3 dropped" in lines[4]
    assert "0.2500 rms, 1.5000 at most" in lines[5]


def test_the_json_has_the_same():
    values = json.loads(models_command._as_json(SERVING))
    assert values["models"]["new"]["share"] == 0.01
    assert values["models"]["old"]["is_default"]
    assert values["models"]["gone"]["unloading"]
    assert values["shadow"]["differences"] == {"speed": {"rms": 0.25, "largest": 1.5}}
    assert json.loads(models_command._as_json(wire.Serving()))["shadow"] is None
