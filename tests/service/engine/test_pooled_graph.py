"""A bundle's graph with the pool inside: what goes in and out of it, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from steerstream_bundle import loading
from steerstream_bundle.errors import BundleError
from steerstream_bundle.runtime import Runtime
from steerstream_service.engine import pooled_graph
from tests.service import bundles


@pytest.fixture
def recurrent(tmp_path):
    return loading.load(bundles.recurrent(tmp_path / "a.onnx"))


def test_the_pool_goes_in_and_out_and_no_state_beside_it(recurrent):
    graph = Runtime(pooled_graph.build(recurrent.runtime.model, recurrent.contract, 4))
    assert {tensor.name for tensor in graph.inputs} == {
        "frames",
        "pool.sources",
        "pool.targets",
        "pool.h",
    }
    assert {tensor.name: tensor.shape for tensor in graph.outputs} == {
        "pool.answers": (None, 4),
        "pool.h.next": (6, 3),
    }


def test_each_row_is_read_from_its_source_and_written_to_its_target(recurrent):
    graph = Runtime(pooled_graph.build(recurrent.runtime.model, recurrent.contract, 4))
    pool = np.arange(18, dtype=np.float32).reshape(6, 3) / 100
    frames = np.full((2, 8, 16, 3), 100, np.uint8)
    feed: dict[str, Any] = {
        "frames": frames,
        "pool.sources": np.array([1, 3], np.int64),
        "pool.targets": np.array([3, 0], np.int64),
        "pool.h": pool,
    }
    answers, after = graph.run(["pool.answers", "pool.h.next"], feed)
    stepped = [np.tanh(0.8 * pool[row] + 100 / 255) for row in (1, 3)]
    np.testing.assert_allclose(after[[3, 0]], stepped, atol=1e-6)
    np.testing.assert_array_equal(after[[1, 2, 4, 5]], pool[[1, 2, 4, 5]])
    np.testing.assert_array_equal(answers[:, -1], [1, 1])


def test_a_graph_of_an_old_opset_is_refused(recurrent):
    proto = onnx.load_from_string(recurrent.runtime.model)
    proto.opset_import[0].version = 12
    with pytest.raises(BundleError, match="opset 12 is too old"):
        pooled_graph.build(proto.SerializeToString(), recurrent.contract, 4)
