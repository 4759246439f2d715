"""The wire contract of steerstream: its own server, and every peer that serves its stubs.

The vehicle client of this project checks, guards and converts every answer. Here that would put
the client's cost into the server's figures, so this speaks to gRPC itself, and joins each request
from bytes that were encoded once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from benchmark.loadgen.picture_set import PictureSet
from benchmark.loadgen.transport import (
    Answer,
    Connection,
    SessionEndedError,
    Stream,
    Terms,
    Transport,
)
from steerstream import wire
from steerstream.answers import Pace
from steerstream.errors import ErrorReason
from steerstream.failures import RpcFailed
from steerstream.frame_pace import FramePace
from steerstream.v1 import command_pb2, drive_service_pb2, frame_pb2, session_pb2

_SERVICE = drive_service_pb2.DESCRIPTOR.services_by_name["DriveService"].full_name
METHOD = f"/{_SERVICE}/Drive"
CHANNEL_OPTIONS = (
    # One connection for each vehicle, as on the road.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy in the environment would be measured as well.
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)
GOODBYE_S = 1.0
_FRAME_TAG = bytes([drive_service_pb2.DriveRequest.FRAME_FIELD_NUMBER << 3 | 2])
_US_PER_MS = 1e3

Response = drive_service_pb2.DriveResponse
Metadata = tuple[tuple[str, str], ...]


def image_fields(pictures: PictureSet) -> list[bytes]:
    """Return pictures, each as the image field of a `Frame` in its wire format."""
    if pictures.are_frames:
        return list(pictures.pictures)
    if pictures.is_jpeg:
        frames = [frame_pb2.Frame(jpeg=picture) for picture in pictures.pictures]
    else:
        size = {"width_px": pictures.width_px, "height_px": pictures.height_px}
        images = [frame_pb2.Rgb8Image(**size, pixels=picture) for picture in pictures.pictures]
        frames = [frame_pb2.Frame(rgb8=image) for image in images]
    return [frame.SerializeToString() for frame in frames]


def frame_request(image: bytes, sequence_number: int, capture_time_ns: int) -> bytes:
    """Return the request that carries a frame.

    Args:
        image: an item of `image_fields`.
        sequence_number: greater than the one before.
        capture_time_ns: the vehicle's clock, in nanoseconds.
    """
    head = frame_pb2.Frame(
        sequence_number=sequence_number, capture_time_ns=capture_time_ns
    ).SerializeToString()
    return b"".join((_FRAME_TAG, _varint(len(head) + len(image)), head, image))


class DriveTransport(Transport):
    """Connects to a server of DriveService.

    Args:
        address: HOST:PORT.
        pictures: what vehicles see.
        metadata: sent with each call.
        ca_file: the authority of the server's certificate; None for plain text.
    """

    def __init__(
        self,
        address: str,
        pictures: PictureSet,
        metadata: Metadata = (),
        ca_file: str | None = None,
    ) -> None:
        self.address = address
        self._images = image_fields(pictures)
        self._metadata = metadata
        self._authority = None if ca_file is None else Path(ca_file).read_bytes()

    def connect(self) -> DriveConnection:
        """Return a connection of one vehicle."""
        return DriveConnection(self.address, self._images, self._metadata, self._authority)


class DriveConnection(Connection):
    """One vehicle's channel.

    Args:
        address: HOST:PORT.
        images: what the vehicle sees, items of `image_fields`.
        metadata: sent with each call.
        authority: of the server's certificate, PEM; None for plain text.
    """

    def __init__(
        self,
        address: str,
        images: list[bytes],
        metadata: Metadata = (),
        authority: bytes | None = None,
    ) -> None:
        self._address = address
        self._images = images
        self._metadata = metadata
        if authority is None:
            self._channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        else:
            credentials = grpc.ssl_channel_credentials(authority)
            self._channel = grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)

    async def __aenter__(self) -> Self:
        """Wait until the connection stands, so that opening a session measures the server alone.

        Raises:
            ConnectionError: no server was reached.
        """
        state = self._channel.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                raise ConnectionError(f"no server at {self._address}")
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._channel.close()

    async def open(self, vehicle_id: str, terms: Terms) -> DriveStream:
        """Open a session; see `transport.Connection`."""
        every, latest = session_pb2.FRAME_POLICY_EVERY, session_pb2.FRAME_POLICY_LATEST
        opening = session_pb2.OpenSession(
            vehicle_id=vehicle_id,
            budget_ms=terms.budget_ms,
            frame_rate_hz=terms.rate_hz,
            frame_policy=every if terms.every else latest,
        )
        call = self._channel.stream_stream(
            METHOD, request_serializer=_as_it_is, response_deserializer=Response.FromString
        )(metadata=self._metadata)
        stream = DriveStream(call, self._images)
        with contextlib.suppress(SessionEndedError):  # Reading tells why.
            await stream.write(drive_service_pb2.DriveRequest(open=opening).SerializeToString())
        await stream.read()
        return stream


class DriveStream(Stream):
    """One open session; see `transport.Stream`."""

    def __init__(
        self, call: grpc.aio.StreamStreamCall[bytes, Response], images: list[bytes]
    ) -> None:
        self._call = call
        self._images = images
        self._pace = FramePace()

    def takes(self, due_ns: int) -> bool:
        """Return whether the pace that the server asks for leaves a frame; `transport.Stream`."""
        if self._pace.wait_ns(due_ns):
            return False
        self._pace.sent(due_ns)
        return True

    async def send(self, number: int, picture: int, capture_time_ns: int) -> None:
        """Send a frame; see `transport.Stream`."""
        image = self._images[picture % len(self._images)]
        await self.write(frame_request(image, number, capture_time_ns))

    async def receive(self) -> Answer:
        """Return the next answer; notices answer no frame."""
        while True:
            response = await self.read()
            match response.WhichOneof("message"):
                case "command":
                    return _command(response.command)
                case "skipped":
                    return _skipped(response.skipped)
                case "notice":
                    self._note(response.notice)

    def _note(self, message: session_pb2.Notice) -> None:
        notice = wire.notice(message)
        if isinstance(notice, Pace):
            self._pace.keep(notice, time.monotonic_ns())

    async def close(self) -> None:
        """Say that no more frames follow, and wait for the end; see `transport.Stream`."""
        with contextlib.suppress(TimeoutError, SessionEndedError, asyncio.InvalidStateError):
            async with asyncio.timeout(GOODBYE_S):
                await self._call.done_writing()
                while True:
                    await self.read()
        await self.abort()

    async def abort(self) -> None:
        """Cancel the call; see `transport.Stream`."""
        self._call.cancel()

    async def write(self, request: bytes) -> None:
        """Send a request.

        Raises:
            SessionEndedError: the stream has ended; reading tells why.
        """
        try:
            await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise SessionEndedError("CANCELLED", "the stream has ended") from None

    async def read(self) -> Response:
        """Return the next response.

        Raises:
            SessionEndedError: the stream has ended.
        """
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise _ended(RpcFailed.from_rpc_error(error)) from None
        if not isinstance(response, Response):
            raise SessionEndedError("OK", "the stream has ended")
        return response


def _as_it_is(request: bytes) -> bytes:
    return request


def _ended(failure: RpcFailed) -> SessionEndedError:
    known = failure.reason is not ErrorReason.UNSPECIFIED
    name = failure.reason.name if known else failure.code.name
    return SessionEndedError(name, str(failure), failure.retry_after_s)


def _command(command: command_pb2.Command) -> Answer:
    raw, times = command.raw, command.timings
    is_fallback = command.validity == command_pb2.VALIDITY_FALLBACK
    outputs = (raw.steering_wheel_angle_rad, raw.speed_mps, raw.steering_torque_nm)
    stages_us = (times.total_us, times.queue_us, times.decode_us, times.infer_us)
    return Answer(
        command.sequence_number,
        None if is_fallback else outputs,
        stages_ms=tuple(microseconds / _US_PER_MS for microseconds in stages_us),
    )


def _skipped(skipped: command_pb2.FrameSkipped) -> Answer:
    name = command_pb2.SkipReason.Name(skipped.reason).removeprefix("SKIP_REASON_")
    return Answer(skipped.sequence_number, None, skipped=name)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
