"""One step of learning, wherever the network is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from model_export import config as configs
from model_export.networks import build
from model_export.training.learner import Learner
from tests.model_export.builders import CASES, configured, random_frames, uneven_batch

MOVES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices, as a GPU does; single numbers are free."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        devices = {str(one.device) for one in given if one.dim()}
        assert len(devices) <= 1 or function in MOVES, f"{function} of {devices}"
        return function(*args, **kwargs or {})


@pytest.mark.parametrize(("name", "kind", "settings"), CASES)
def test_all_that_a_step_makes_is_on_the_networks_device(
    name: str, kind: str, settings: dict[str, Any], tiny: configs.Config
):
    # Torch's device without numbers stands for a GPU, which tests have not.
    config = configured(tiny, kind, settings)
    network = build(config).to("meta")
    learner = Learner(network, config, config.stage[1], rows=3)
    with OneDevice():
        losses = learner.step(uneven_batch(config, len(network.label_times_s)), 0)
    assert [loss.device.type for loss in losses] == ["meta"] * 2
    if kind == "komanda":
        # Its initial state is trained, and read as numbers, which are not there.
        return
    frames = random_frames(config, 3, 2).to("meta")
    with OneDevice():
        said, state = learner.averaged.unroll(frames, network.initial_state(3))
    assert {tensor.device.type for tensor in (*said, *state)} == {"meta"}
