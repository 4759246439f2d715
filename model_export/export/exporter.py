"""From trained weights to a bundle: one ONNX file, one step, explicit state, contract inside."""

from __future__ import annotations

import logging
import math
import subprocess
import warnings
from datetime import UTC, datetime
from pathlib import Path

import onnx
import torch

from model_export.config import HEADS, Config
from model_export.export.simplify import simplify
from model_export.networks import DrivingNetwork, build
from model_export.networks.parts.trajectory import MAX_ACT_IN_S, SPACING_S, STEPS
from model_export.run import Result, RunFolder, load_weights
from steerstream import whole_file
from steerstream_bundle.contract import (
    METADATA_KEY,
    UNITS,
    Contract,
    GapRule,
    Horizon,
    HorizonOutput,
    Output,
    Provenance,
    TrainedCamera,
)
from steerstream_simulation.camera import CameraConfig

OPSET = 18
_INTERVAL, _ACT_IN = "interval_s", "act_in_s"
_EXAMPLE_BATCH = 2
"""Not 1: an exporter takes a size of one for a constant."""


def export(run: RunFolder, path: Path) -> Contract:
    """Write a run's best weights as a bundle, and return its contract.

    Args:
        run: a finished or unfinished training run.
        path: the ONNX file to write; the bundle is named after it.

    Raises:
        RunError: the run has no weights yet.
    """
    config, result = run.load_config(), run.load_result()
    network = build(config)
    load_weights(network, result)
    about = contract(network, config, result, name=path.stem)
    write(network, about, path)
    return about


def contract(network: DrivingNetwork, config: Config, result: Result, *, name: str) -> Contract:
    """Return what a server must know of a trained network.

    Args:
        network: the network, as its training left it.
        config: of its run.
        result: sources, scores and mean labels of its training.
        name: of the bundle.
    """
    heads = zip(HEADS, config.heads.ordered(), result.training_mean, strict=True)
    serving = config.serving
    return Contract(
        name=name,
        frame=config.frame.contract(),
        interval_tensor=_INTERVAL if network.takes_interval else "",
        act_in_tensor=_ACT_IN if network.takes_act_in else "",
        max_act_in_s=MAX_ACT_IN_S if network.takes_act_in else 0.0,
        camera=_camera(),
        state=network.state_tensors,
        outputs=tuple(
            Output(
                head=head,
                tensor=head,
                unit=UNITS[head],
                minimum=bounds.minimum,
                maximum=bounds.maximum,
                training_mean=mean,
                stddev_tensor=f"{head}_stddev",
            )
            for head, bounds, mean in heads
        ),
        horizon=_horizon() if network.takes_act_in else Horizon(),
        rate_hz=serving.rate_hz,
        gap=GapRule(reset_after_ms=serving.reset_after_ms),
        warm_up_steps=serving.warm_up_steps,
        limits_profile=serving.limits_profile,
        provenance=Provenance(
            sources=result.sources,
            scores=result.scores,
            git_revision=_git_revision(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )


def _horizon() -> Horizon:
    """Return what follows a command; a step is so many milliseconds after the command acts."""
    return Horizon(
        steps=STEPS,
        spacing_ms=round(SPACING_S * 1e3),
        outputs=tuple(
            HorizonOutput(
                head=head,
                tensor=f"{head}_horizon",
                stddev_tensor=f"{head}_horizon_stddev",
            )
            for head in HEADS
        ),
    )


def _camera() -> TrainedCamera:
    """Return the camera of all training pictures, recorded and rendered."""
    camera = CameraConfig()
    return TrainedCamera(
        horizontal_fov_deg=math.degrees(camera.field_of_view_rad),
        aspect_ratio=camera.width_px / camera.height_px,
        mount_height_m=camera.mount_height_m,
        horizon_fraction=camera.horizon,
    )


def write(network: DrivingNetwork, about: Contract, path: Path) -> None:
    """Write a network and its contract as one ONNX file, whole or not at all.

    Args:
        network: the network, for inference.
        about: its contract.
        path: the ONNX file.
    """
    model = _to_onnx(network, about)
    onnx.helper.set_model_props(model, {METADATA_KEY: about.to_json()})
    onnx.checker.check_model(model, full_check=True)
    whole_file.write_bytes(path, model.SerializeToString())


def _to_onnx(network: DrivingNetwork, about: Contract) -> onnx.ModelProto:
    frames = torch.zeros(_EXAMPLE_BATCH, *about.frame.shape, dtype=torch.uint8)
    times = (torch.ones(_EXAMPLE_BATCH) for _ in about.time_inputs)
    example = (frames, *times, *network.initial_state(_EXAMPLE_BATCH))
    values = (value.name for value in about.values)
    outputs = [*values, *(pair.output for pair in about.state)]
    batch = torch.export.Dim("N", min=1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # The exporter warns of its own inner workings; the checker and `verify` judge its result.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.fused(),
            example,
            input_names=about.input_tensors,
            output_names=outputs,
            dynamic_shapes=_batched(batch, len(example) - 1),
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    assert program is not None, "the dynamo exporter returns a program"  # noqa: S101
    model = _without_traces(program.model_proto)
    simplify(model)
    return model


def _batched(batch: torch.export.Dim, others: int) -> dict[str, object]:
    """Name the batch in every input; the exporter knows no empty `inputs`."""
    shapes: dict[str, object] = {"frame": {0: batch}}
    if others:
        shapes["inputs"] = tuple({0: batch} for _ in range(others))
    return shapes


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's notes on Python source lines: they name files of this machine."""
    for node in model.graph.node:
        _forget(node)
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        _forget(value)
    del model.graph.metadata_props[:]
    return model


def _forget(item: onnx.NodeProto | onnx.ValueInfoProto) -> None:
    del item.metadata_props[:]
    item.doc_string = ""


def _git_revision() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    folder = Path(__file__).parent
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
