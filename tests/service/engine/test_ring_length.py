"""How many frames decide what rings hold: the network itself shows it."""

from pathlib import Path

import numpy as np
import pytest

from steerstream_bundle import loading
from steerstream_service.engine.accelerator import Host
from steerstream_service.engine.device_stepper import DeviceStepper
from steerstream_service.engine.host_stepper import HostStepper
from steerstream_service.engine.ring_length import ring_length
from tests.service import bundles

ROOT = Path(__file__).resolve().parents[3]


def length_of(path):
    stepper = HostStepper(loading.load(path), sessions=1, buckets=[1])
    found = ring_length(stepper)
    assert stepper.pool.free == 1
    return found


@pytest.mark.parametrize(
    ("write", "length"),
    [
        (bundles.recurrent, 0),
        (bundles.feedback, 0),
        (bundles.stateless, 0),
        (bundles.ring, 4),
        (bundles.remembering, 4),
    ],
)
def test_rings_are_as_long_as_they_remember(tmp_path, write, length):
    assert length_of(write(tmp_path / "a.onnx")) == length


def test_a_device_finds_the_same_length_and_touches_no_session(tmp_path):
    loaded = loading.load(bundles.remembering(tmp_path / "a.onnx"))
    stepper = DeviceStepper(loaded, sessions=1, buckets=[1], accelerator=Host())
    slot, grey = stepper.pool.allocate(), np.full((8, 16, 3), 100, np.uint8)
    before = stepper.step([grey], [slot], [True], save={0: True}).saved
    assert ring_length(stepper) == 4
    after = stepper.step([grey], [slot], [False], save={0: True}).saved
    expected = stepper.step([grey], [slot], [False], load={0: before[0]}, save={0: True}).saved
    assert after == expected


def test_what_never_forgets_is_no_ring_whatever_it_is_called(tmp_path, caplog):
    assert length_of(bundles.endless(tmp_path / "a.onnx")) == 0
    assert [record.message for record in caplog.records] == ["rings_without_end"]


@pytest.mark.parametrize(("name", "length"), [("chauffeur", 1), ("cnn3d", 7), ("komanda", 5)])
def test_the_rings_of_the_bundles_that_ship(name, length):
    assert length_of(ROOT / "models" / f"{name}.onnx") == length
