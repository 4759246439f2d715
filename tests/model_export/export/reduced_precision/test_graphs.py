"""What is changed in a graph: exactly what was meant, and nothing at its border."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from model_export.evaluation.bundle_runner import BundleRunner
from model_export.export.onnx_graph import Graph, attributes, set_contract
from model_export.export.reduced_precision.aligned_channels import align
from model_export.export.reduced_precision.calibration_frames import CalibrationFrames
from model_export.export.reduced_precision.fp16 import to_fp16
from model_export.export.reduced_precision.int8 import to_int8
from model_export.export.reduced_precision.wide_pixels import widen
from tests.model_export.builders import CASES
from tests.model_export.conftest import Exported

STEPS = 4
# Pixels straight into a convolution, and a network most of which is neither layer nor head.
KINDS = ("pilotnet_lstm", "chauffeur")
FIRST = [case for case in CASES if case[0].endswith("_0") and case[1] in KINDS]


@pytest.fixture
def bundles(exported: Callable[[str], Exported]) -> dict[str, Path]:
    return {name: exported(name)[0] for name, *_ in FIRST}


each = pytest.mark.parametrize("name", [name for name, *_ in FIRST])


def frames_for(runner: BundleRunner) -> np.ndarray:
    shape = (STEPS, 2, *runner.contract.frame.shape)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def drive(runner: BundleRunner) -> np.ndarray:
    """Outputs [STEPS, 2, values] with carried state."""
    state, rows = runner.initial_state(2), []
    for frames in frames_for(runner):
        values, state = runner.step(frames, state)
        rows.append(np.stack(values, axis=1))
    return np.stack(rows)


def saved(model: onnx.ModelProto, runner: BundleRunner, path: Path) -> BundleRunner:
    set_contract(model, runner.contract)
    onnx.save(model, path)
    return BundleRunner(path)


def border(model: onnx.ModelProto) -> list[tuple[str, int]]:
    values = (*model.graph.input, *model.graph.output)
    return [(value.name, value.type.tensor_type.elem_type) for value in values]


def calibration(runner: BundleRunner) -> CalibrationFrames:
    contract = runner.contract
    state = runner.initial_state(2)
    feeds: list[Mapping[str, np.ndarray]] = []
    for frames in frames_for(runner):
        feed = {contract.frame.tensor: frames}
        feed |= {pair.input: value for pair, value in zip(contract.state, state, strict=True)}
        if contract.interval_tensor:
            feed[contract.interval_tensor] = np.full(2, 0.05, np.float32)
        feeds.append(feed)
        _, state = runner.step(frames, state)
    return CalibrationFrames(feeds)


def weights(model: onnx.ModelProto, kind: int) -> int:
    return sum(
        int(np.prod(item.dims)) for item in model.graph.initializer if item.data_type == kind
    )


@each
def test_fp16_halves_the_weights_and_keeps_the_border(
    bundles: dict[str, Path], name: str, tmp_path: Path
):
    runner, model = BundleRunner(bundles[name]), onnx.load(bundles[name])
    half = to_fp16(model, runner.contract)
    assert border(half) == border(model)
    assert weights(half, onnx.TensorProto.FLOAT16) > 0
    expected = drive(runner)
    found = drive(saved(half, runner, tmp_path / "half.onnx"))
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02)


@each
def test_int8_quantises_the_layers_and_keeps_the_border(
    bundles: dict[str, Path], name: str, tmp_path: Path
):
    runner, model = BundleRunner(bundles[name]), onnx.load(bundles[name])
    eighth = to_int8(model, runner.contract, calibration(runner))
    assert border(eighth) == border(model)
    assert weights(eighth, onnx.TensorProto.INT8) > 0
    assert np.isfinite(drive(saved(eighth, runner, tmp_path / "eighth.onnx"))).all()


@each
def test_heads_and_cells_stay_exact(bundles: dict[str, Path], name: str):
    runner, model = BundleRunner(bundles[name]), onnx.load(bundles[name])
    exact = Graph(model).exact_nodes(runner.contract)
    eighth = Graph(to_int8(model, runner.contract, calibration(runner)))
    kept = {node.name: node for node in eighth.nodes if node.name in exact}
    layers = [node for node in kept.values() if node.op_type in ("Gemm", "MatMul", "Conv")]
    assert layers
    for node in layers:
        assert eighth.constant(node.input[1]).dtype == np.float32


def test_wide_pixels_change_nothing_but_the_layout(bundles: dict[str, Path], tmp_path: Path):
    path = bundles["pilotnet_lstm_0"]
    runner, model = BundleRunner(path), onnx.load(path)
    assert widen(model, runner.contract.frame)
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    assert Graph(model).constant(first.input[1]).shape == (48, 12, 5, 2)
    assert attributes(first)["strides"] == [2, 1]
    found = drive(saved(model, runner, tmp_path / "wide.onnx"))
    np.testing.assert_allclose(found, drive(runner), rtol=1e-5, atol=1e-5)


def test_channels_are_padded_where_one_convolution_reads_them(
    bundles: dict[str, Path], tmp_path: Path
):
    path = bundles["pilotnet_lstm_0"]
    runner, model = BundleRunner(path), onnx.load(path)
    align(model)
    graph = Graph(model)
    shapes = [
        graph.constant(node.input[1]).shape[:2] for node in graph.nodes if node.op_type == "Conv"
    ]
    assert shapes == [(24, 3), (40, 24), (48, 40), (64, 48), (64, 64)]
    found = drive(saved(model, runner, tmp_path / "aligned.onnx"))
    np.testing.assert_allclose(found, drive(runner), rtol=1e-5, atol=1e-5)


def test_a_picture_that_is_read_otherwise_is_left_alone(bundles: dict[str, Path]):
    path = bundles["chauffeur_0"]
    model = onnx.load(path)
    before = model.SerializeToString()
    assert not widen(model, BundleRunner(path).contract.frame)
    assert model.SerializeToString() == before


def test_pixels_go_into_the_first_layer_as_they_are(bundles: dict[str, Path]):
    path = bundles["pilotnet_lstm_0"]
    runner, model = BundleRunner(path), onnx.load(path)
    graph = Graph(to_int8(model, runner.contract, calibration(runner)))
    assert not [node for node in graph.nodes if node.op_type == "Cast"]
    layer = next(node for node in graph.nodes if node.op_type == "Conv")
    widened = graph.maker(layer.input[0])
    assert widened is not None
    assert widened.op_type == "DequantizeLinear"
    assert graph.constant(widened.input[1]) == 1
    assert graph.constant(widened.input[2]) == 0


def test_calibration_frames_come_again_after_a_rewind():
    feeds: Sequence[dict[str, np.ndarray]] = [{"frame": np.zeros(1)}, {"frame": np.ones(1)}]
    frames = CalibrationFrames(list(feeds))
    assert [frames.get_next(), frames.get_next(), frames.get_next()] == [*feeds, None]
    frames.rewind()
    assert frames.get_next() is feeds[0]


def test_pixels_are_read_wide_where_another_part_of_the_network_reads_them_too(
    bundles: dict[str, Path],
):
    path = bundles["pilotnet_lstm_0"]
    model = onnx.load(path)
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["frame"], ["also"], "also", to=1))
    assert widen(model, BundleRunner(path).contract.frame)
    assert [node.op_type for node in Graph(model).users("frame")] == ["Slice", "Cast"]
