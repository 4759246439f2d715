"""A first convolution that reads several pixels as one: the same sums, in fewer, longer runs.

ONNX Runtime's 8-bit kernels want channels in multiples of 4 and long runs of them; a picture has 3.
A row of W pixels lies in memory as W / 4 groups of 12 numbers. A convolution over groups gives what
one over pixels gives if its weights are laid out accordingly: a group holds the starting points of
two outputs at stride 2, so that it computes both, as twice the channels, which lie in memory as the
two outputs would. Zeros fill the pixels that an output does not see.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from model_export.export.onnx_graph import Graph, attributes, set_attribute
from steerstream_bundle.contract import FrameInput

_ALIGNED = 4
"""Channels that the 8-bit kernels of AVX2 take at a time."""
_SHARED = 2
"""Outputs that a group computes."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The numbers of one rewriting: the picture, its groups, and the output."""

    height: int
    colours: int
    pixels: int
    groups: int
    kernel: int
    rows: int
    columns: int
    channels: int


def widen(model: onnx.ModelProto, frame: FrameInput) -> bool:
    """Rewrite the first convolution in place, where it reads whole rows of the frame, unpadded.

    Returns:
        Whether the graph begins so that it could be done; the results are the same to the last
        bits.
    """
    graph = Graph(model)
    chain = _chain(graph, frame.tensor)
    if chain is None:
        return False
    *cut, transpose, cast, convolution, activation = chain
    height = _height(model, transpose.input[0], frame)
    layout = _layout(graph, convolution, height, frame.width_px)
    if layout is None:
        return False
    _spread(graph, convolution, layout)
    ends = transpose.input[0], cast.output[0], activation.output[0]
    before, after = _border(graph, layout, *ends)
    activation.output[0] = "wide_outputs"
    rest = [node for node in graph.nodes if node not in chain]
    graph.replace([*cut, *before, convolution, activation, *after, *rest])
    onnx.checker.check_model(model, full_check=True)
    return True


def _chain(graph: Graph, frame: str) -> list[onnx.NodeProto] | None:
    """Return the nodes that turn the frame into the first features, if they do nothing else."""
    plain = ["Transpose", "Cast", "Conv", "Relu"]
    for first in graph.users(frame):
        for kinds in (plain, ["Slice", *plain]):
            found = list(itertools.islice(graph.line(first), len(kinds)))
            if [node.op_type for node in found] == kinds:
                return found
    return None


def _height(model: onnx.ModelProto, picture: str, frame: FrameInput) -> int:
    """Return the rows of what the network sees: some of the frame's, if it is cut first."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    for value in inferred.value_info:
        if value.name == picture:
            return int(value.type.tensor_type.shape.dim[1].dim_value)
    return frame.height_px


def _layout(
    graph: Graph, convolution: onnx.NodeProto, picture_height: int, picture_width: int
) -> _Layout | None:
    about = attributes(convolution)
    channels, colours, height, width = graph.constant(convolution.input[1]).shape
    strides, plain = about.get("strides", [1, 1]), {"pads": 0, "dilations": 1, "group": 1}
    ordinary = all(np.all(np.array(about.get(key, is_)) == is_) for key, is_ in plain.items())
    pixels = _SHARED * strides[1]
    columns = (picture_width - width) // strides[1] + 1
    groups, kernel = picture_width // pixels, -(-(strides[1] + width) // pixels)
    ordinary &= len(convolution.input) == 3 and graph.is_weighted(convolution)
    fits = picture_width % pixels == 0 and columns == _SHARED * (groups - kernel + 1)
    if not (ordinary and fits and pixels * colours % _ALIGNED == 0):
        return None
    rows = (picture_height - height) // strides[0] + 1
    return _Layout(picture_height, colours, pixels, groups, kernel, rows, columns, channels)


def _spread(graph: Graph, convolution: onnx.NodeProto, layout: _Layout) -> None:
    """Lay out the weights over groups, once for each of the outputs that share one."""
    weights, bias = convolution.input[1:]
    narrow = graph.constant(weights).transpose(0, 2, 3, 1)
    channels, height, width, colours = narrow.shape
    stride = attributes(convolution)["strides"]
    span = layout.kernel * layout.pixels
    wide: npt.NDArray[np.float32] = np.zeros((_SHARED, channels, height, span, colours), np.float32)
    for place in range(_SHARED):
        first = place * stride[1]
        wide[place, :, :, first : first + width] = narrow
    grouped = wide.reshape(_SHARED * channels, height, layout.kernel, layout.pixels * colours)
    graph.store(weights, np.ascontiguousarray(grouped.transpose(0, 3, 1, 2)))
    graph.store(bias, np.tile(graph.constant(bias), _SHARED))
    set_attribute(convolution, "strides", [stride[0], 1])
    set_attribute(convolution, "kernel_shape", [height, layout.kernel])


def _border(
    graph: Graph, layout: _Layout, picture: str, pixels: str, features: str
) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Return what stands before and after the convolution: views, which move nothing in NHWC."""
    wide_in = [0, layout.height, layout.groups, layout.pixels * layout.colours]
    graph.store("wide_shape", np.array(wide_in, np.int64))
    narrow_out = [0, layout.rows, layout.columns, layout.channels]
    graph.store("narrow_shape", np.array(narrow_out, np.int64))
    last_to_first, first_to_last = [0, 3, 1, 2], [0, 2, 3, 1]
    before = [
        _node("Reshape", [picture, "wide_shape"], "wide_frame"),
        _node("Transpose", ["wide_frame"], "wide_channels", perm=last_to_first),
        _node("Cast", ["wide_channels"], pixels, to=onnx.TensorProto.FLOAT),
    ]
    after = [
        _node("Transpose", ["wide_outputs"], "wide_last", perm=first_to_last),
        _node("Reshape", ["wide_last", "narrow_shape"], "narrow_last"),
        _node("Transpose", ["narrow_last"], features, perm=last_to_first),
    ]
    return before, after


def _node(kind: str, inputs: list[str], output: str, **about: Any) -> onnx.NodeProto:  # noqa: ANN401
    return helper.make_node(kind, inputs, [output], name=f"make_{output}", **about)
