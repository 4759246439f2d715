"""The double of the simulator before the newest gym-donkeycar, which listens for a simulator."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from steerstream.bridge.donkey.messages import Splitter, control, read_message
from steerstream.bridge.driver import Order
from tests.steerstream.bridge.driving import PICTURE

PYTHON = os.environ.get("STEERSTREAM_GYM_DONKEYCAR")
SCRIPT = Path(__file__).with_name("gym_donkeycar_side.py")


@pytest.mark.skipif(not PYTHON, reason="needs gym-donkeycar: make bridge-test")
def test_gym_donkeycar_takes_the_double_for_the_simulator(tmp_path):
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(PICTURE)
    run = subprocess.run([str(PYTHON), SCRIPT, picture], capture_output=True, text=True, check=True)
    result = json.loads(run.stdout.splitlines()[-1])
    names, scene, driving = result["said"]
    assert json.loads(names) == {"msg_type": "get_scene_names"}
    assert json.loads(scene) == {"msg_type": "load_scene", "scene_name": "warehouse"}
    assert result["understood"] == 2 * [[7.25, 0.0123, [48, 64, 3]]]
    first, second = (
        read_message(found)
        for found in Splitter().feed(driving.encode())
        if isinstance(found, bytes)
    )
    assert first.keys() == control(Order(0.0, 0.0)).keys()
    assert (first["steering"], second) == ("-1.0", {"msg_type": "reset_car"})
