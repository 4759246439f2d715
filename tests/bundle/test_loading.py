"""A bundle is what its contract says, or it is refused with a text that says why."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence

import numpy as np
import pytest
from onnx import TensorProto

from steerstream_bundle import loading
from steerstream_bundle.contract import METADATA_KEY
from steerstream_bundle.errors import BundleError, StepError
from steerstream_bundle.runtime import Runtime
from tests.service import bundles

NODES = [*bundles.mean_colour(), *bundles.hidden(), *bundles.heads("h_next")]
FRAMES = ("frames", TensorProto.UINT8, ("N", 8, 16, 3))
H = ("h", TensorProto.FLOAT, ("N", 3))
H_NEXT = ("h_next", TensorProto.FLOAT, ("N", 3))


def test_a_bundle_steps(tmp_path):
    path = bundles.recurrent(tmp_path / "tiny.onnx")
    loaded = loading.load(path)
    film = np.random.default_rng(0).integers(0, 255, (5, 8, 16, 3), dtype=np.uint8)
    state: Sequence[np.ndarray] = [np.zeros((1, 3), np.float32)]
    rows = []
    for picture in film:
        outputs, state = loaded.step(picture[np.newaxis], state)
        rows.append([float(value[0]) for value in outputs])
    np.testing.assert_allclose(rows, bundles.expected(film), atol=1e-5)
    assert loaded.contract == bundles.contract()
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_step_that_fails_is_typed(tmp_path):
    loaded = loading.load(bundles.failing(tmp_path / "failing.onnx"))
    with pytest.raises(StepError, match="out of data bounds"):
        loaded.step(np.full((1, 8, 16, 3), 250, np.uint8), [np.zeros((1, 3), np.float32)])


def test_a_bundle_is_told_when_its_command_acts(tmp_path):
    loaded = loading.load(bundles.acting(tmp_path / "acting.onnx"))
    film, state = np.full((2, 8, 16, 3), 100, np.uint8), [np.zeros((2, 3), np.float32)]
    at_once = bundles.expected(film[:1])[0, 0]
    values, _ = loaded.step(film, state, act_in_s=np.array([0.0, 0.2], np.float32))
    np.testing.assert_allclose(values[0], [at_once, at_once + 0.2], atol=1e-6)
    values, _ = loaded.step(film, state)
    np.testing.assert_allclose(values[0], [at_once + 0.05] * 2, atol=1e-6)


def test_a_bundle_takes_the_interval_and_says_how_sure_it_is(tmp_path):
    loaded = loading.load(bundles.timed(tmp_path / "timed.onnx"))
    film = np.random.default_rng(0).integers(0, 200, (5, 8, 16, 3), dtype=np.uint8)
    known_s = [0.05, 0.1, 0.3, 0.01]
    state: Sequence[np.ndarray] = [np.zeros((1, 3), np.float32)]
    rows = []
    for picture, interval_s in zip(film, [None, *known_s], strict=True):
        interval = None if interval_s is None else np.array([interval_s], np.float32)
        values, state = loaded.step(picture[np.newaxis], state, interval)
        rows.append([float(value[0]) for value in values])
    expected = bundles.expected_timed(film, [0.05, *known_s])
    np.testing.assert_allclose(rows, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("interval", "declared", "text"),
    [
        ("", ("interval_s", TensorProto.FLOAT, ("N",)), "an input 'interval_s' that its contract"),
        ("interval_s", None, "names an input 'interval_s' that the graph does not have"),
        ("interval_s", ("interval_s", TensorProto.FLOAT, ("N", 1)), "must be ['N']"),
        ("interval_s", ("interval_s", TensorProto.DOUBLE, ("N",)), "must be tensor(float)"),
    ],
)
def test_each_time_must_be_as_promised(tmp_path, interval, declared, text):
    promised = bundles.contract(interval_tensor=interval)
    inputs = [bundles.value(*item) for item in (FRAMES, H, declared) if item is not None]
    path = bundles.write(tmp_path / "broken.onnx", promised, NODES, inputs=inputs)
    with pytest.raises(BundleError, match=re.escape(text)):
        loading.load(path)


@pytest.mark.parametrize(
    ("stddev", "declared", "text"),
    [
        ("doubt", [], "names an output 'doubt' that the graph does not have"),
        ("mixed", [("mixed", TensorProto.FLOAT, ("N", 3))], "must be ['N']"),
    ],
)
def test_a_stddev_must_be_as_promised(tmp_path, stddev, declared, text):
    promised = bundles.contract(outputs=(dataclasses.replace(bundles.ANGLE, stddev_tensor=stddev),))
    angle = ("angle", TensorProto.FLOAT, ("N",))
    outputs = [bundles.value(*item) for item in (angle, H_NEXT, *declared)]
    path = bundles.write(tmp_path / "broken.onnx", promised, NODES, outputs=outputs)
    with pytest.raises(BundleError, match=re.escape(text)):
        loading.load(path)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ([H], "names an input 'frames' that the graph does not have"),
        ([FRAMES], "names an input 'h'"),
        ([FRAMES, H, ("extra", TensorProto.FLOAT, ("N",))], "an input 'extra'"),
        ([("frames", TensorProto.FLOAT, ("N", 8, 16, 3)), H], "must be tensor(uint8)"),
        ([("frames", TensorProto.UINT8, ("N", 8, 17, 3)), H], "must be ['N', 8, 16, 3]"),
        ([("frames", TensorProto.UINT8, (1, 8, 16, 3)), H], "must be ['N', 8, 16, 3]"),
        ([FRAMES, ("h", TensorProto.FLOAT, ("N", 1, 3))], "must be ['N', 3]"),
    ],
)
def test_a_graph_that_breaks_its_contract_is_refused(tmp_path, inputs, text):
    path = tmp_path / "broken.onnx"
    declared = [bundles.value(*item) for item in inputs]
    nodes = NODES
    missing = {"frames", "h"} - {item[0] for item in inputs}
    if missing:
        nodes = [bundles.constant_node(name) for name in sorted(missing)] + NODES
    bundles.write(path, bundles.contract(), nodes, inputs=declared)
    with pytest.raises(BundleError) as caught:
        loading.load(path)
    assert text in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_an_output_that_is_missing_is_refused(tmp_path):
    path = tmp_path / "broken.onnx"
    outputs = [
        bundles.value(name, TensorProto.FLOAT, ("N",)) for name in ("angle", "speed", "torque")
    ]
    bundles.write(path, bundles.contract(), NODES, outputs=outputs)
    with pytest.raises(BundleError, match="output 'h_next' that the graph does not have"):
        loading.load(path)


def test_metadata_is_read(tmp_path):
    path = bundles.recurrent(tmp_path / "tiny.onnx")
    runtime = Runtime(path.read_bytes())
    assert runtime.metadata[METADATA_KEY] == bundles.contract().to_json()
    assert runtime.pads_batches is False
