"""A bundle says what it is, the server can read it, and it computes what the network does."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from model_export.errors import BundleError, RunError
from model_export.evaluation.bundle_runner import BundleRunner
from model_export.export.exporter import export
from model_export.export.tolerances import TOLERANCE
from model_export.export.verify import verify
from model_export.networks import build
from model_export.run import Result, RunFolder
from steerstream_bundle.contract import METADATA_KEY


def test_the_contract_says_what_the_run_was(bundle: Path, tiny_run: RunFolder):
    contract = BundleRunner(bundle).contract
    result = tiny_run.load_result()
    assert contract.name == "tiny"
    assert contract.frame.shape == (66, 200, 3)
    assert [(pair.input, pair.output, pair.shape) for pair in contract.state] == [
        ("h", "h_next", (6,)),
        ("c", "c_next", (6,)),
    ]
    assert [output.stddev_tensor for output in contract.outputs] == [
        f"{output.head}_stddev" for output in contract.outputs
    ]
    assert contract.provenance.sources == result.sources
    assert contract.provenance.scores == result.scores
    assert tuple(output.training_mean for output in contract.outputs) == result.training_mean


def test_the_graph_has_no_control_flow_and_no_trace_of_the_machine(bundle: Path):
    model = onnx.load(bundle)
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"If", "Loop", "Scan", "BatchNormalization"}
    assert model.opset_import[0].version >= 17
    assert str(Path(__file__).parents[2]).encode() not in bundle.read_bytes()


def test_onnx_runtime_and_pytorch_agree_over_carried_state(bundle: Path, tiny_run: RunFolder):
    result = verify(bundle, tiny_run, frames=40)
    assert result.passed
    assert result.frames >= 40
    assert set(result.worst) == {
        "steering_wheel_angle", "speed", "steering_torque",
        "steering_wheel_angle_stddev", "speed_stddev", "steering_torque_stddev",
        "h_next", "c_next",
    }  # fmt: skip
    assert max(result.worst.values()) <= TOLERANCE


def test_verification_fails_for_other_weights(bundle: Path, tiny_run: RunFolder, tmp_path: Path):
    model = onnx.load(bundle)
    bias = next(item for item in model.graph.initializer if item.name == "heads.mean.bias")
    values = onnx.numpy_helper.to_array(bias) + 1e-3
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(model, tmp_path / "other.onnx")
    result = verify(tmp_path / "other.onnx", tiny_run, frames=5)
    assert not result.passed
    assert any("more than" in line for line in result.lines())


def test_a_run_without_weights_is_refused(tmp_path: Path, tiny_config: Path):
    with pytest.raises(RunError, match="no training run"):
        export(RunFolder(tmp_path / "none"), tmp_path / "x.onnx")
    run = RunFolder(tmp_path / "begun")
    run.begin(tiny_config)
    with pytest.raises(RunError, match="no trained weights yet"):
        export(run, tmp_path / "x.onnx")


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_broken_bundle_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"broken\.onnx: not an ONNX model"):
        BundleRunner(path)


def test_a_bundle_without_a_valid_contract_is_named(bundle: Path, tmp_path: Path):
    model = onnx.load(bundle)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(BundleError, match="no contract"):
        BundleRunner(tmp_path / "bare.onnx")
    onnx.helper.set_model_props(model, {METADATA_KEY: "{}"})
    onnx.save(model, tmp_path / "empty.onnx")
    with pytest.raises(BundleError, match="is missing"):
        BundleRunner(tmp_path / "empty.onnx")


@pytest.fixture
def interval_run(tmp_path: Path, tiny_config: Path) -> RunFolder:
    """Fresh weights of a network that takes the interval."""
    config = tmp_path / "interval.toml"
    text = tiny_config.read_text().replace("pilotnet_lstm", "chauffeur")
    settings = "{ blocks = 1, hidden = 6, interval = true }"
    config.write_text(
        text.replace("{ features = 8, hidden = 6 }", settings).replace(
            "[training]", "[frame]\nheight_px = 180\nwidth_px = 320\n\n[training]"
        )
    )
    run = RunFolder(tmp_path / "run")
    weights = build(run.begin(config)).state_dict()
    run.save_result(Result(weights=weights, sources=(), scores=(), training_mean=(0.0, 0.0, 0.0)))
    return run


def test_a_network_that_takes_the_interval_says_so(interval_run: RunFolder, tmp_path: Path):
    path = tmp_path / "interval.onnx"
    about = export(interval_run, path)
    assert about.interval_tensor == "interval_s"
    assert BundleRunner(path).contract.input_tensors[:2] == ("frame", "interval_s")
    assert verify(path, interval_run, frames=5).passed
