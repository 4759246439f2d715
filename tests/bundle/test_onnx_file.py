"""What is refused before ONNX Runtime sees it. No file here is ever given to ONNX Runtime."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from steerstream_bundle import onnx_file
from steerstream_bundle.errors import BundleError
from tests.service import bundles

WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


def external(name="theirs"):
    tensor = numpy_helper.from_array(WEIGHTS, name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def branch(*nodes, weights=()):
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    return helper.make_graph(list(nodes), "branch", [], [output], list(weights))


def varint(number):
    """A whole number as protobuf writes it."""
    *more, last = [number >> shift & 0x7F for shift in range(0, max(1, number.bit_length()), 7)]
    return bytes([*(part | 0x80 for part in more), last])


def choice(inside):
    return helper.make_node("If", ["condition"], ["out"], then_branch=inside, else_branch=branch())


def model(graph, **parts):
    return helper.make_model(graph, **parts).SerializeToString()


def test_a_bundle_passes(tmp_path):
    path = bundles.recurrent(tmp_path / "tiny.onnx")
    onnx_file.check(onnx_file.read(path))


@pytest.mark.parametrize(
    "file",
    [
        branch(weights=[external()]),
        branch(choice(branch(weights=[external()]))),
        branch(helper.make_node("Constant", [], ["out"], value=external())),
        branch(choice(branch(helper.make_node("Constant", [], ["out"], value=external())))),
    ],
    ids=["initializer", "branch", "constant", "constant in a branch"],
)
def test_weights_in_another_file_are_refused(file):
    with pytest.raises(BundleError, match="the weights 'theirs' lie in another file"):
        onnx_file.check(model(file))


def test_weights_in_another_file_are_refused_in_functions_and_sparse_tensors():
    constant = helper.make_node("Constant", [], ["out"], value=external())
    function = helper.make_function("ours", "f", [], ["out"], [constant], [])
    sparse = onnx.SparseTensorProto(values=external(), dims=[10])
    graph = branch()
    graph.sparse_initializer.append(sparse)
    for file in (model(branch(), functions=[function]), model(graph)):
        with pytest.raises(BundleError, match="the weights 'theirs' lie in another file"):
            onnx_file.check(file)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("listed", [False, True])
def test_weights_that_are_not_finite_are_refused(value, kind, listed):
    weights = WEIGHTS.astype(kind)
    weights[1, 1] = value
    tensor = numpy_helper.from_array(weights, "bad")
    if listed:
        tensor = helper.make_tensor("bad", tensor.data_type, weights.shape, weights.ravel())
    with pytest.raises(BundleError, match="the weights 'bad' are not all finite"):
        onnx_file.check(model(branch(weights=[tensor])))


@pytest.mark.parametrize("listed", [False, True])
def test_weights_in_bfloat16_are_read_by_their_bits(listed):
    def tensor(bits):
        raw = np.array([0x3F80, bits], np.uint16)
        made = TensorProto(name="bad", data_type=TensorProto.BFLOAT16, dims=[2])
        if listed:
            made.int32_data.extend(raw.tolist())
        else:
            made.raw_data = raw.tobytes()
        return made

    for finite in (0x0000, 0x7F7F, 0xBF80):
        onnx_file.check(model(branch(weights=[tensor(finite)])))
    for infinite in (0x7F80, 0xFF80, 0x7FC0):
        with pytest.raises(BundleError, match="'bad' are not all finite"):
            onnx_file.check(model(branch(weights=[tensor(infinite)])))


def test_a_single_number_may_be_infinite():
    onnx_file.check(
        model(branch(weights=[numpy_helper.from_array(np.array(-np.inf, np.float32), "low")]))
    )


def test_a_graph_that_is_nested_deeply_is_refused():
    def nested(depth):
        """Written by hand: even `onnx` does not write such a file."""
        message = b""
        for _ in range(depth):
            for number in (6, 5, 1):  # a graph in an attribute of a node of a graph
                message = varint(number << 3 | 2) + varint(len(message)) + message
        return b"\x3a" + varint(len(message)) + message

    onnx_file.check(nested(20))
    with pytest.raises(BundleError, match="too deeply nested"):
        onnx_file.check(nested(60))


@pytest.mark.parametrize("data", [b"x", b"these are not the weights", b"\x3a\x05ab"])
def test_bytes_that_are_no_model_are_refused(data):
    with pytest.raises(BundleError, match="not an ONNX model"):
        onnx_file.check(data)


def test_only_a_file_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(BundleError, match="not a regular file"):
            onnx_file.read(path)


def test_a_file_of_any_size_is_not_read_whole(tmp_path):
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(onnx_file.MAX_BYTES + 1)  # takes no space: nothing is written
    with pytest.raises(BundleError, match="the file is larger than 1073741824 bytes"):
        onnx_file.read(path)


@pytest.mark.parametrize(("content", "text"), [(None, "No such file"), (b"", "the file is empty")])
def test_a_missing_or_empty_file_is_named(tmp_path, content, text):
    path = tmp_path / "none.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=text):
        onnx_file.read(path)
