"""A graph is opened once and run over arrays, or over memory that is bound once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from steerstream_bundle.contract import METADATA_KEY
from steerstream_bundle.errors import BundleError, StepError
from steerstream_bundle.runtime import Memory, Runtime
from tests.service import bundles

FRAMES = np.full((2, 8, 16, 3), 100, np.uint8)
HIDDEN = np.zeros((2, 3), np.float32)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    path = bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")
    return Runtime(path.read_bytes())


def test_inputs_and_outputs_have_their_shapes(graph):
    shapes = {info.name: (info.type, info.shape) for info in graph.inputs}
    assert shapes["frames"] == ("tensor(uint8)", (None, 8, 16, 3))
    assert shapes["h"] == ("tensor(float)", (None, 3))
    assert {info.name for info in graph.outputs} >= {"angle", "h_next"}
    assert METADATA_KEY in graph.metadata


def test_named_outputs_come_in_the_order_asked_for(graph):
    feed = {"frames": FRAMES, "h": HIDDEN}
    angle, hidden = graph.run(["angle", "h_next"], feed)
    assert (angle.shape, hidden.shape) == ((2,), (2, 3))
    again = graph.run(["h_next", "angle"], feed)
    np.testing.assert_array_equal(again[0], hidden)
    np.testing.assert_array_equal(again[1], angle)


def test_bound_memory_is_read_and_written_at_every_run(graph):
    frames, hidden, angle = FRAMES.copy(), HIDDEN.copy(), np.zeros(2, np.float32)
    bound = graph.bind(
        {"frames": Memory.of(frames), "h": Memory.of(hidden)},
        {"angle": Memory.of(angle), "h_next": Memory.of(hidden)},
        {"disable_synchronize_execution_providers": "0"},
    )
    expected = HIDDEN
    for _ in range(3):
        (wanted, expected) = graph.run(["angle", "h_next"], {"frames": frames, "h": expected})
        bound.run()
        np.testing.assert_allclose(angle, wanted, atol=1e-6)
        np.testing.assert_allclose(hidden, expected, atol=1e-6)


class _Recorder:
    """Stands in for ONNX Runtime's session, and keeps the options that each run is given."""

    def __init__(self, session):
        self._session = session
        self.options = []

    def io_binding(self):
        return self._session.io_binding()

    def run_with_iobinding(self, binding, options):
        self.options.append(options)
        self._session.run_with_iobinding(binding, options)


@pytest.mark.parametrize(
    ("given", "entries"),
    [
        (None, None),
        ({}, None),
        ({"gpu_graph_id": "-1"}, {"gpu_graph_id": "-1"}),
    ],
)
def test_a_run_is_given_options_only_where_there_are_any(graph, monkeypatch, given, entries):
    recorder = _Recorder(graph._session)
    monkeypatch.setattr(graph, "_session", recorder)
    bound = graph.bind(
        {"frames": Memory.of(FRAMES), "h": Memory.of(HIDDEN)},
        {"angle": Memory.of(np.zeros(2, np.float32))},
        given,
    )
    bound.run()
    (passed,) = recorder.options
    found = passed and {name: passed.get_run_config_entry(name) for name in given}
    assert found == entries


def test_a_part_of_memory_is_some_of_its_rows():
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    part = Memory.of(rows).part(1, 2)
    assert part == Memory.of(rows[1:3])


@pytest.mark.parametrize("content", [b"", b"no graph at all"])
def test_bytes_that_are_no_graph_are_refused_in_one_line(content):
    with pytest.raises(BundleError, match="not an ONNX model that runs here") as caught:
        Runtime(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["h_next", METADATA_KEY, "speed"])
def test_a_graph_with_a_name_that_is_no_text_is_refused(tmp_path, name):
    """A damaged file, of which ONNX Runtime's bindings cannot even tell what is wrong."""
    data = bundles.recurrent(tmp_path / "tiny.onnx").read_bytes()
    damaged = data.replace(name.encode(), b"\xff" + name.encode()[1:])
    assert damaged != data
    with pytest.raises(BundleError, match="a text in it is no UTF-8"):
        Runtime(damaged)


def _with_node_names_that_are_no_text(path):
    model = onnx.load(path)
    for index, node in enumerate(model.graph.node):
        node.name = f"NODE{index}"
    return model.SerializeToString().replace(b"NODE", b"\xff\xff\xff\xff")


@pytest.mark.parametrize("read", [Path.read_bytes, _with_node_names_that_are_no_text])
def test_a_graph_that_fails_is_a_step_error_either_way(tmp_path, read):
    graph = Runtime(read(bundles.failing(tmp_path / "failing.onnx")))
    frames, hidden = np.full((1, 8, 16, 3), 250, np.uint8), np.zeros((1, 3), np.float32)
    with pytest.raises(StepError):
        graph.run(["h_next"], {"frames": frames, "h": hidden})
    after = np.zeros((1, 3), np.float32)
    bound = graph.bind(
        {"frames": Memory.of(frames), "h": Memory.of(hidden)}, {"h_next": Memory.of(after)}
    )
    with pytest.raises(StepError):
        bound.run()
