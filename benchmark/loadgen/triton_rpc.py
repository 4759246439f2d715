"""Triton's streaming gRPC protocol, as far as sequences need it.

The messages are a part of `grpc_service.proto` (KServe's predict protocol, version 2, with
Triton's stream), built here with its field numbers: the packages that bring Triton's stubs do not
load beside this protobuf.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from benchmark.loadgen.drive_rpc import CHANNEL_OPTIONS, GOODBYE_S
from benchmark.loadgen.picture_set import PictureSet
from benchmark.loadgen.transport import (
    Answer,
    Connection,
    SessionEndedError,
    Stream,
    Terms,
    Transport,
)

MODEL = "driver"
INPUT, OUTPUT = "IMAGE", "OUTPUTS"
_METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
_FIELD = descriptor_pb2.FieldDescriptorProto
_FIELDS = {
    "InferParameter": [
        ("bool_param", 1, _FIELD.TYPE_BOOL, ""),
        ("int64_param", 2, _FIELD.TYPE_INT64, ""),
    ],
    "ParameterEntry": [
        ("key", 1, _FIELD.TYPE_STRING, ""),
        ("value", 2, _FIELD.TYPE_MESSAGE, "InferParameter"),
    ],
    "InferTensor": [
        ("name", 1, _FIELD.TYPE_STRING, ""),
        ("datatype", 2, _FIELD.TYPE_STRING, ""),
        ("shape", 3, _FIELD.TYPE_INT64, "repeated"),
    ],
    "ModelInferRequest": [
        ("model_name", 1, _FIELD.TYPE_STRING, ""),
        ("id", 3, _FIELD.TYPE_STRING, ""),
        ("parameters", 4, _FIELD.TYPE_MESSAGE, "repeated ParameterEntry"),
        ("inputs", 5, _FIELD.TYPE_MESSAGE, "repeated InferTensor"),
        ("raw_input_contents", 7, _FIELD.TYPE_BYTES, "repeated"),
    ],
    "ModelInferResponse": [
        ("id", 3, _FIELD.TYPE_STRING, ""),
        ("raw_output_contents", 6, _FIELD.TYPE_BYTES, "repeated"),
    ],
    "ModelStreamInferResponse": [
        ("error_message", 1, _FIELD.TYPE_STRING, ""),
        ("infer_response", 2, _FIELD.TYPE_MESSAGE, "ModelInferResponse"),
    ],
}
"""Fields by message: name, number, type, and whether it repeats and of which message it is.

A map is on the wire a repeated message of key and value.
"""


def _messages() -> dict[str, Any]:
    package = "benchmark.peers.triton"
    file = descriptor_pb2.FileDescriptorProto(
        name="benchmark/peers/triton.proto", package=package, syntax="proto3"
    )
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, about in fields:
            repeated, _, of_type = about.rpartition(" ")
            repeats = "repeated" in (repeated, of_type)
            message.field.add(
                name=field,
                number=number,
                type=kind,
                label=_FIELD.LABEL_REPEATED if repeats else _FIELD.LABEL_OPTIONAL,
                type_name=f".{package}.{of_type}" if kind == _FIELD.TYPE_MESSAGE else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = message_factory.GetMessageClassesForFiles([file.name], pool)
    return {name.rpartition(".")[2]: kind for name, kind in classes.items()}


_MESSAGES = _messages()
Request, Response = _MESSAGES["ModelInferRequest"], _MESSAGES["ModelStreamInferResponse"]


def request(session: int, number: int, packed: bytes, *, end: bool = False) -> Any:  # noqa: ANN401
    """Return the message for one frame of a sequence.

    Args:
        session: Triton's correlation id, above 0.
        number: of the frame; 0 starts the sequence.
        packed: the picture behind its header.
        end: the sequence ends with this request.
    """
    message = Request(model_name=MODEL, id=str(number), raw_input_contents=[packed])
    message.inputs.add(name=INPUT, datatype="UINT8", shape=[1, len(packed)])
    message.parameters.add(key="sequence_id").value.int64_param = session
    # A flag that is false is left out: outside a oneof it would not be written.
    for name, value in (("sequence_start", number == 0), ("sequence_end", end)):
        if value:
            message.parameters.add(key=name).value.bool_param = True
    return message


def answer(response: Any) -> Answer:  # noqa: ANN401 - a message made at run time
    """Read one response.

    Raises:
        SessionEndedError: it tells of an error.
    """
    if response.error_message:
        raise SessionEndedError("ERROR", response.error_message)
    inferred = response.infer_response
    outputs = np.frombuffer(inferred.raw_output_contents[0], np.float32)
    return Answer(int(inferred.id), tuple(outputs.tolist()))


class TritonTransport(Transport):
    """Connects to a Triton server; a session is one of its sequences.

    Args:
        address: HOST:PORT.
        pictures: what vehicles see.
    """

    def __init__(self, address: str, pictures: PictureSet) -> None:
        self._address = address
        self._packed = pictures.packed()

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[TritonConnection]:
        """Open a channel; Triton's first answer shows whether a server is there."""
        async with grpc.aio.insecure_channel(self._address, options=CHANNEL_OPTIONS) as channel:
            yield TritonConnection(channel, self._packed)


class TritonConnection(Connection):
    """One vehicle's channel."""

    def __init__(self, channel: grpc.aio.Channel, packed: list[bytes]) -> None:
        self._call = channel.stream_stream(
            _METHOD,
            request_serializer=Request.SerializeToString,
            response_deserializer=Response.FromString,
        )
        self._packed = packed

    async def open(self, vehicle_id: str, terms: Terms) -> TritonStream:  # noqa: ARG002
        """Begin a sequence; Triton knows no names and no terms, and answers every frame."""
        return TritonStream(self._call(), 1 + random.getrandbits(62), self._packed)

    def resume(self, stream: TritonStream) -> TritonStream:
        """Go on with a sequence whose connection was lost; its next frame is not numbered 0."""
        return TritonStream(self._call(), stream.correlation_id, self._packed)


class TritonStream(Stream):
    """One sequence.

    Args:
        call: the open stream.
        correlation_id: Triton's name of the sequence, above 0.
        packed: what the vehicle sees, each picture behind its header.
    """

    def __init__(
        self, call: grpc.aio.StreamStreamCall[Any, Any], correlation_id: int, packed: list[bytes]
    ) -> None:
        self._call = call
        self.correlation_id = correlation_id
        self._packed = packed
        self._sent = 0

    async def send(self, number: int, picture: int, capture_time_ns: int) -> None:  # noqa: ARG002
        """Send a frame; see `transport.Stream`."""
        packed = self._packed[picture % len(self._packed)]
        await self._write(request(self.correlation_id, number, packed))
        self._sent = number + 1

    async def receive(self) -> Answer:
        """Return the next answer; see `transport.Stream`."""
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise SessionEndedError(error.code().name, error.details() or "") from None
        if not isinstance(response, Response):
            raise SessionEndedError("OK", "the stream has ended")
        return answer(response)

    async def close(self) -> None:
        """End the sequence, which takes one more frame; see `transport.Stream`."""
        with contextlib.suppress(TimeoutError, SessionEndedError):
            async with asyncio.timeout(GOODBYE_S):
                last = request(self.correlation_id, self._sent, self._packed[0], end=True)
                await self._write(last)
                while (await self.receive()).number < self._sent:
                    pass
        await self.abort()

    async def abort(self) -> None:
        """Cancel the call; see `transport.Stream`."""
        self._call.cancel()

    async def _write(self, message: Any) -> None:  # noqa: ANN401 - made at run time
        try:
            await self._call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise SessionEndedError("CANCELLED", "the stream has ended") from None
