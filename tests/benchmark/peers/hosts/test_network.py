from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.peers.hosts.network import Network
from benchmark.peers.hosts.torch_network import TorchNetwork


def test_the_network_in_torch_says_what_the_bundle_says(bundle_path: Path) -> None:
    bundle, eager = Network(bundle_path), TorchNetwork(bundle_path)
    states = [bundle.initial_state(), eager.initial_state()]
    for seed in range(3):
        shape = (1, *bundle.contract.frame.shape)
        frame = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        expected, states[0] = bundle.step(frame, states[0])
        outputs, states[1] = eager.step(frame, states[1])
        np.testing.assert_allclose(outputs, expected, atol=1e-4)
        for ours, theirs in zip(states[1], states[0], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)
