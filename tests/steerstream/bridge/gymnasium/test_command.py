from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from steerstream.testing import FakeServer, Reply
from tests.steerstream.bridge.gymnasium import cars
from tests.steerstream.command_lines import command_line

CAR = "tests.steerstream.bridge.gymnasium.cars:tests/Car-v0"
ADAPTER = ("--adapter", "tests.steerstream.bridge.gymnasium.cars:adapter")


@pytest.fixture(autouse=True)
def _no_moves():
    cars.MOVES.clear()


def test_episodes_are_driven_and_reported(tmp_path, capsys):
    out, fake = tmp_path / "out.json", FakeServer(lambda frame: Reply(0.1))
    with command_line(fake) as run:
        code = run(
            "bridge", "gymnasium", CAR, *ADAPTER, "--episodes", 2, "--seed", 3, "--json", out
        )
    assert code == 0
    result = json.loads(out.read_text())
    assert [(item["seed"], item["steps"], item["terminated"]) for item in result["episodes"]] == [
        (3, 5, True),
        (4, 5, False),
    ]
    assert result["reward_mean"] == pytest.approx(0.5)
    assert (result["frames"], result["commands"], result["frame_policy"]) == (10, 10, "EVERY")
    opening = fake.received[0].open
    assert opening.frame_rate_hz == 10.0
    assert opening.vehicle_id.startswith("steerstream-bridge-")
    text = capsys.readouterr().out
    assert "seed      3  reward      0.50  in      5 steps, terminated" in text
    assert "reward 0.50 a mean of 2" in text


def test_a_stated_delay_takes_the_place_of_what_answers_took():
    with command_line() as run:
        assert run("bridge", "gymnasium", CAR, *ADAPTER, "--delay-ms", 200) == 0
    assert [round(move, 1) for move in cars.MOVES] == [-1.0, -1.0, 0.1, 0.1, 0.1]


def test_a_signal_ends_the_drive_with_what_was_measured(tmp_path):
    def interrupt(frame):
        if frame.sequence_number == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return Reply(0.1)

    out = tmp_path / "out.json"
    with command_line(FakeServer(interrupt)) as run:
        code = run("bridge", "gymnasium", CAR, *ADAPTER, "--episodes", 1000, "--json", out)
    assert code == 130
    assert 3 <= json.loads(out.read_text())["frames"] < 5000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([CAR], "has no adapter that ships; give --adapter"),
        ([CAR, "--adapter", "nosuch:adapter"], "--adapter needs MODULE:FUNCTION, not"),
        ([CAR, "--adapter", "json:nosuch"], "--adapter needs MODULE:FUNCTION, not 'json:nosuch'"),
        ([CAR, "--adapter", "json"], "--adapter needs MODULE:FUNCTION, not 'json'"),
        (["NoSuch-v0", *ADAPTER], "cannot make NoSuch-v0: "),
        (["nosuch:steerstream/Road-v0"], "cannot make nosuch:steerstream/Road-v0: "),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(words, message, capsys):
    with command_line() as run:
        assert run("bridge", "gymnasium", *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("steerstream: ")
    assert message in error
    assert error.count("\n") == 1


# Box2D's own, when it is imported; as an error it would end the interpreter.
@pytest.mark.filterwarnings("ignore:builtin type .wig:DeprecationWarning")
@pytest.mark.parametrize("name", ["gymnasium", "Box2D", "pygame"])
def test_what_is_missing_is_named_with_its_extra(name, monkeypatch, capsys):
    for module in [each for each in sys.modules if each.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with command_line() as run, pytest.raises(SystemExit) as stop:
        run("bridge", "gymnasium", "CarRacing-v3")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f"{name} is not installed; install it with: pip install" in error
    assert "[rl]" in error
    assert error.count("\n") == 1
