"""Every kind of network as a bundle: what PyTorch says, ONNX Runtime says, and the server says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch

from model_export.evaluation.bundle_runner import BundleDriver, BundleRunner
from tests.model_export.builders import CASES, random_frames
from tests.model_export.conftest import Exported
from tests.service.vehicle import pictures, running

# Of each kind the first; settings change nothing in how they are served.
SERVED = [case for case in CASES if case[0].endswith("_0") or "window" in case[2]]
STEPS = 6


each = pytest.mark.parametrize("name", [name for name, *_ in SERVED])


@each
@torch.no_grad()
def test_steps_of_a_bundle_equal_the_networks_window(
    exported: Callable[[str], Exported], name: str
):
    path, config, network = exported(name)
    runner, frames = BundleRunner(path), random_frames(config, 2, STEPS)
    expected, last = network.unroll(frames, network.initial_state(2))
    state, rows = runner.initial_state(2), []
    for step in range(STEPS):
        outputs, state = runner.step(frames[:, step].numpy(), state)
        rows.append(np.stack(outputs, axis=1))
    said = np.concatenate([part.numpy() for part in expected], axis=2)
    np.testing.assert_allclose(np.stack(rows, axis=1), said, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(state, last, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@each
def test_a_graph_has_no_control_flow(exported: Callable[[str], Exported], name: str):
    operators = {node.op_type for node in onnx.load(exported(name)[0]).graph.node}
    assert not operators & {"If", "Loop", "Scan"}


async def test_one_server_streams_them_all(exported: Callable[[str], Exported]):
    """At once, two vehicles a bundle, from pictures of the camera's size."""
    paths = {name: exported(name)[0] for name, *_ in SERVED}
    films = {name: pictures(STEPS, seed, (240, 320, 3)) for seed, name in enumerate(paths)}
    # What they answer is looked at here, not whether this machine carries them all at 20 Hz.
    async with running(*paths.values(), max_load=100.0, shed_after_s=3600.0) as run:
        cars = [
            (name, await run.vehicle(vehicle_id=f"{name}-{twin}", model=name))
            for name in paths
            for twin in range(2)
        ]
        answers = await asyncio.gather(*(car.replay(films[name]) for name, car in cars))
    for (name, _), rows in zip(cars, answers, strict=True):
        driver = BundleDriver(BundleRunner(paths[name]))
        expected = [list(driver.outputs(picture).values()) for picture in films[name]]
        np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-4)
