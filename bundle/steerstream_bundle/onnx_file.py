"""Checks ONNX files before ONNX Runtime reads them: a bundle may come from anybody.

A bundle is one file. External weights would be read from the server's working directory, so that
the same file with the same digest would steer differently there.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from steerstream_bundle.errors import BundleError

MAX_BYTES = 2**30
"""Far above every network that steers in time, and below what protobuf can hold."""

_FIELDS = {
    "Model": {
        "graph": (7, "Graph"),
        "training_info": (20, "Training"),
        "functions": (25, "Function"),
    },
    "Training": {"initialization": (1, "Graph"), "algorithm": (2, "Graph")},
    "Function": {"node": (7, "Node"), "attribute_proto": (11, "Attribute")},
    "Graph": {
        "node": (1, "Node"),
        "initializer": (5, "Tensor"),
        "sparse_initializer": (15, "Sparse"),
    },
    "Node": {"attribute": (5, "Attribute")},
    "Attribute": {
        "t": (5, "Tensor"),
        "g": (6, "Graph"),
        "tensors": (10, "Tensor"),
        "graphs": (11, "Graph"),
        "sparse_tensor": (22, "Sparse"),
        "sparse_tensors": (23, "Sparse"),
    },
    "Sparse": {"values": (1, "Tensor"), "indices": (2, "Tensor")},
    "Tensor": {
        "data_type": (2, "int32"),
        "float_data": (4, "float"),
        "int32_data": (5, "int32"),
        "name": (8, "bytes"),
        "raw_data": (9, "bytes"),
        "double_data": (10, "double"),
        "external_data": (13, "bytes"),
        "data_location": (14, "int32"),
    },
}
"""The parts of ONNX's messages in which tensors lie, with their numbers from `onnx.proto`. Every
part is read as a list, which protobuf allows, and all others are passed over."""

_EXTERNAL = 1
_FLOATS = {1: np.float32, 10: np.float16, 11: np.float64, 16: np.uint16}
"""NumPy's types of ONNX's floats; bfloat16, which NumPy lacks, by its bits."""
_BFLOAT16, _BFLOAT16_EXPONENT = 16, 0x7F80
_INITIALIZERS = {"initializer", "sparse_initializer", "values"}


def read(path: Path) -> bytes:
    """Read a file of bounded size, and nothing else than a file: a device may have no end.

    Raises:
        BundleError: it is missing, no regular file, empty, or too large. The message has no path.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise BundleError("not a regular file")
        if about.st_size > MAX_BYTES:
            raise BundleError(f"the file is larger than {MAX_BYTES} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(error.strerror or str(error)) from None
    if not data:
        raise BundleError("the file is empty")
    return data


def check(data: bytes) -> None:
    """Check what ONNX Runtime does not: that all weights lie in the file, and are numbers.

    Raises:
        BundleError: they do not, or the file is no ONNX model or nested too deeply.
    """
    try:
        model = _Model.FromString(data)
    except DecodeError:
        raise BundleError("not an ONNX model, or a damaged or too deeply nested one") from None
    for part, tensor in _tensors(model):
        if _EXTERNAL in tensor.data_location or tensor.external_data:
            raise BundleError(
                f"the weights {_name(tensor)} lie in another file; export them into this one"
            )
        if part in _INITIALIZERS and not _is_finite(tensor):
            raise BundleError(f"the weights {_name(tensor)} are not all finite")


def _tensors(model: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - made at run time
    """Yield all tensors, each with the name of the field that it lies in."""
    left = [("model", model)]
    while left:
        part, message = left.pop()
        kind = message.DESCRIPTOR.name
        if kind == "Tensor":
            yield part, message
        else:
            left += [(name, item) for name in _FIELDS[kind] for item in getattr(message, name)]


def _is_finite(tensor: Any) -> bool:  # noqa: ANN401 - as above
    kind = tensor.data_type[0] if tensor.data_type else 0
    if kind not in _FLOATS:
        return True
    dtype = np.dtype(_FLOATS[kind])
    raw = b"".join(tensor.raw_data)
    values = np.frombuffer(raw, dtype, count=len(raw) // dtype.itemsize)
    bits = np.asarray(tensor.int32_data, np.uint32).astype(np.uint16)
    if kind == _BFLOAT16:
        exponents = np.concatenate([values, bits]) & _BFLOAT16_EXPONENT
        finite = exponents != _BFLOAT16_EXPONENT
    else:
        parts = (values, tensor.float_data, tensor.double_data, bits.view(np.float16))
        finite = np.concatenate([np.isfinite(np.asarray(part)) for part in parts])
    # A single number is a constant of the network's formula, where infinity has its place.
    return finite.size == 1 or bool(finite.all())


def _name(tensor: Any) -> str:  # noqa: ANN401 - as above
    return repr(b"".join(tensor.name)[:80].decode(errors="replace"))


def _message_class() -> Any:  # noqa: ANN401 - as above
    file = descriptor_pb2.FileDescriptorProto(name="steerstream_onnx_parts.proto", syntax="proto2")
    file.package = "steerstream_onnx_parts"
    scalar = descriptor_pb2.FieldDescriptorProto.Type
    for kind, fields in _FIELDS.items():
        message = file.message_type.add(name=kind)
        for name, (number, content) in fields.items():
            field = message.field.add(name=name, number=number)
            field.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
            if content in _FIELDS:
                field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
                field.type_name = f".{file.package}.{content}"
            else:
                field.type = scalar.Value(f"TYPE_{content.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.Model"))


_Model = _message_class()
