"""INT8 for CPUs: convolutions in 8 bits, by ONNX Runtime's static quantisation.

Choices, each measured with AVX2 alone and with VNNI (see the README):

- Convolutions alone. They are where the time is; 8-bit projections gain nothing more.
- Activations unsigned, weights signed: as fast as signed activations or faster, and pixels go in
  as they are.
- Weights in 7 bits, a scale a channel: AVX2 without VNNI adds two products in 16 bits, which two
  full 8-bit products can overflow. So a bundle gives the same on every CPU.
- QDQ rather than QOperator: as fast once ONNX Runtime has fused it, and the graph stays standard.
- Pixels are used as they are, and several at a time (`wide_pixels`);
  channels come in multiples of 8 (`model_export.export.reduced_precision.aligned_channels`).
"""

from __future__ import annotations

import copy
import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from model_export.export.onnx_graph import Graph
from model_export.export.reduced_precision.aligned_channels import align
from model_export.export.reduced_precision.calibration_frames import CalibrationFrames
from model_export.export.reduced_precision.wide_pixels import widen
from steerstream_bundle.contract import Contract

_QUANTISED = "Conv"
_CARRIERS = frozenset({"Relu", "Clip", "Reshape", "Transpose", "Add"})
"""Operators between two 8-bit convolutions that take 8-bit values without widening them."""


def to_int8(
    model: onnx.ModelProto, contract: Contract, frames: CalibrationFrames
) -> onnx.ModelProto:
    """Return a copy whose convolutions, but for those of heads and cells, are INT8.

    Args:
        model: an FP32 bundle's.
        contract: its contract.
        frames: what the network meets while it drives.
    """
    prepared = copy.deepcopy(model)
    align(prepared)
    widen(prepared, contract.frame)
    graph = Graph(onnx.shape_inference.infer_shapes(prepared))
    chosen = _chosen(graph, contract)
    quantised = _quantise(graph, chosen, frames, _pixels(graph, chosen))
    _use_pixels_as_they_are(Graph(quantised))
    onnx.checker.check_model(quantised, full_check=True)
    return quantised


def _chosen(graph: Graph, contract: Contract) -> set[str]:
    """Return the names of the nodes to quantise: convolutions, and what lies between them."""
    exact = graph.exact_nodes(contract)
    chosen = {node.name for node in graph.reducible(contract) if node.op_type == _QUANTISED}
    made = {output for node in graph.nodes if node.name in chosen for output in node.output}
    for node in graph.nodes:
        inputs = {tensor for tensor in node.input if not graph.is_constant(tensor)}
        if node.op_type in _CARRIERS and inputs and inputs <= made and node.name not in exact:
            chosen.add(node.name)
            made.update(node.output)
    return chosen


def _pixels(graph: Graph, chosen: set[str]) -> list[str]:
    """Return the tensors that hold pixels 0..255 and go into chosen layers alone."""
    casts = [node.output[0] for node in graph.nodes if node.op_type == "Cast"]
    return [
        tensor
        for tensor in casts
        if graph.users(tensor) and all(user.name in chosen for user in graph.users(tensor))
    ]


def _quantise(
    graph: Graph, chosen: set[str], frames: CalibrationFrames, pixels: list[str]
) -> onnx.ModelProto:
    one_to_one = {"scale": np.array(1, np.float32), "zero_point": np.array(0, np.uint8)}
    frames.rewind()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        # It logs that a model was not prepared by its own optimiser; the exporter's has done that.
        logging.disable(logging.WARNING)
        try:
            quantize_static(
                graph.model,
                path,
                frames,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=sorted({_QUANTISED, *_CARRIERS}),
                nodes_to_quantize=sorted(chosen),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"TensorQuantOverrides": {name: [one_to_one] for name in pixels}},
            )
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(path)


def _use_pixels_as_they_are(graph: Graph) -> None:
    """Drop the way from uint8 to float and back with a scale of one."""
    dropped: list[str] = []
    for quantise in graph.nodes:
        cast = graph.maker(quantise.input[0]) if quantise.op_type == "QuantizeLinear" else None
        if cast is None or cast.op_type != "Cast" or graph.constant(quantise.input[1]) != 1:
            continue
        for user in graph.users(quantise.output[0]):
            places = list(user.input)
            user.input[:] = [
                cast.input[0] if name == quantise.output[0] else name for name in places
            ]
        dropped += [quantise.name, cast.name]
    graph.replace(node for node in graph.nodes if node.name not in dropped)
