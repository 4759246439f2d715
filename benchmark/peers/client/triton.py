"""Triton's streaming gRPC protocol, as far as sequences need it.

The messages are a part of `grpc_service.proto` (KServe's predict protocol, version 2, with
Triton's stream), built here with its field numbers: the packages that bring Triton's stubs do not
load beside this protobuf.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from benchmark.peers.client.drive import CHANNEL_OPTIONS
from benchmark.peers.client.links import Answer, EndedError, Terms
from benchmark.peers.frameset import FrameSet

MODEL = "driver"
INPUT, OUTPUT = "IMAGE", "OUTPUTS"
_METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
_GOODBYE_S = 1.0
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
        packed: the frame behind its header.
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
        EndedError: it tells of an error.
    """
    if response.error_message:
        raise EndedError(response.error_message)
    inferred = response.infer_response
    outputs = np.frombuffer(inferred.raw_output_contents[0], np.float32)
    return Answer(int(inferred.id), tuple(outputs.tolist()))


class TritonTransport:
    """Sessions of a Triton server: a sequence each, with a stream and a connection of its own.

    Args:
        target: HOST:PORT.
        frames: what to send.
    """

    def __init__(self, target: str, frames: FrameSet) -> None:
        self._target = target
        self._packed = frames.packed()

    async def open(self, session: int, terms: Terms) -> TritonLink:  # noqa: ARG002
        """Open a session; Triton knows no terms, and answers every frame."""
        channel = grpc.aio.insecure_channel(self._target, options=CHANNEL_OPTIONS)
        method = channel.stream_stream(
            _METHOD,
            request_serializer=Request.SerializeToString,
            response_deserializer=Response.FromString,
        )
        return TritonLink(channel, method(), 1 + session, self._packed)


class TritonLink:
    """One sequence; see `links.Link`."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        call: grpc.aio.StreamStreamCall[Any, Any],
        correlation_id: int,
        packed: list[bytes],
    ) -> None:
        self._channel = channel
        self._call = call
        self._correlation_id = correlation_id
        self._packed = packed
        self._sent = 0

    async def send(self, number: int, frame: int) -> None:
        """Send a frame; see `links.Link.send`."""
        await self._write(request(self._correlation_id, number, self._packed[frame]))
        self._sent = number + 1

    async def receive(self) -> Answer:
        """Return the next answer; see `links.Link.receive`."""
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise EndedError(f"{error.code()}: {error.details()}") from None
        if not isinstance(response, Response):
            raise EndedError("the stream has ended")
        return answer(response)

    async def close(self) -> None:
        """End the sequence with one frame more; see `links.Link.close`."""
        with contextlib.suppress(TimeoutError, EndedError):
            async with asyncio.timeout(_GOODBYE_S):
                last = request(self._correlation_id, self._sent, self._packed[0], end=True)
                await self._write(last)
                while (await self.receive()).number < self._sent:
                    pass
        await self.abort()

    async def abort(self) -> None:
        """Cancel and close; see `links.Link.abort`."""
        self._call.cancel()
        await self._channel.close()

    async def _write(self, message: Any) -> None:  # noqa: ANN401 - made at run time
        try:
            await self._call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise EndedError("the stream has ended") from None
