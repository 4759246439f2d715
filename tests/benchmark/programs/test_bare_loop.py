"""What is measured without a server runs every network that the contract can name."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.peers.hosts.network import Network
from benchmark.programs.bare_loop import BareLoop
from steerstream_bundle import loading
from steerstream_bundle.pictures import RawImage
from tests.service import bundles
from tests.service.vehicle import pictures


@pytest.mark.parametrize("write", [bundles.recurrent, bundles.timed, bundles.stateless])
def test_it_steps_whatever_the_contract_names(tmp_path, write):
    loaded = loading.load(write(tmp_path / "a.onnx"))
    images = [RawImage(16, 8, picture.tobytes()) for picture in pictures(3, 0)]
    done, elapsed_s = BareLoop(loaded, images, sessions=4, batch=2).run(0.01)
    assert done >= 2
    assert done % 2 == 0
    assert elapsed_s >= 0.01


def test_a_peers_network_takes_one_period_for_the_interval(tmp_path):
    network, film = Network(bundles.timed(tmp_path / "a.onnx")), pictures(4, 0)
    state, rows = network.initial_state(), []
    for picture in film:
        outputs, state = network.step(picture[np.newaxis], state)
        rows.append(outputs[0])
    np.testing.assert_allclose(rows, bundles.expected_timed(film, [0.05] * 4)[:, :3], atol=1e-5)
