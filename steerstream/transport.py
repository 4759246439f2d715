"""How messages travel: the seam between the client and gRPC.

A test passes `steerstream.testing.FakeTransport` in place of `GrpcTransport`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import ssl
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import grpc

from steerstream.arguments import finite_number, instance, shown
from steerstream.errors import BadRequest, ConnectionFailed
from steerstream.failures import RpcFailed
from steerstream.reachability import is_local, why_impossible, why_unreachable
from steerstream.v1 import drive_service_pb2, drive_service_pb2_grpc

_T = TypeVar("_T")

Metadata = Sequence[tuple[str, str | bytes]]
Token = str | Callable[[], str]
"""A bearer token, or a function that returns the present one, called for each call."""

_METADATA_KEY = re.compile(r"[0-9a-z_.-]+")
_METADATA_TEXT = re.compile(r"[ -~]*")
_TOKEN = re.compile(r"[!-~]+")

_CHANNEL_OPTIONS = (
    # A dead network is noticed within 15 s even where no frame is under way; the guard of the
    # client notices a missing answer far sooner.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Pings only while a session is open: an idle client costs the server nothing.
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # A vehicle comes back within a second of the server's return, not within gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # The server bounds what it takes; the client checks against what the server said at open.
    ("grpc.max_send_message_length", -1),
    # Each client has its own connection, so that closing it closes the connection.
    ("grpc.use_local_subchannel_pool", 1),
)

_ATTEMPT_MARGIN_S = 1.0
"""How much longer than `connect` gRPC waits for a silent server, so that `connect` ends first."""

_MAX_OPTION = 2**31 - 1


MAX_TIMEOUT_S = 31_536_000.0
"""A year; gRPC takes a far longer time for none at all."""


def check_address(target: str, timeout_s: float) -> None:
    """Check where to connect, and for how many seconds to try.

    Raises:
        BadRequest: the target is no name of gRPC, or the time is out of its range.
    """
    instance("target", target, str)
    if not (target and target.isprintable()):
        raise BadRequest(f"target must be HOST:PORT or another name of gRPC, not {target!r:.80}")
    finite_number("timeout_s", timeout_s, low=0.0, high=MAX_TIMEOUT_S)


def checked_metadata(metadata: Metadata) -> Metadata:
    """Return metadata that gRPC does not refuse at the first call.

    Raises:
        BadRequest: an item is no pair, or a key or a value is none that gRPC takes.
    """
    try:
        items = tuple(metadata)
    except TypeError as error:
        raise BadRequest(
            f"metadata must be pairs of a key and a text, not {shown(metadata)}"
        ) from error
    for item in items:
        if not (
            isinstance(item, tuple)
            and len(item) == 2
            and isinstance(item[0], str)
            and isinstance(item[1], str | bytes)
        ):
            raise BadRequest(f"metadata must be pairs of a key and a text, not {shown(item)}")
        # A value is not shown, for it may be a token.
        key, value = item
        if not _METADATA_KEY.fullmatch(key):
            raise BadRequest(
                f"a key of metadata has lower-case letters, digits, '_', '.' and '-', not {key!r}"
            )
        if key.endswith("-bin"):
            if not isinstance(value, bytes):
                raise BadRequest(f"the value of metadata {key!r} must be bytes")
        elif not (isinstance(value, str) and _METADATA_TEXT.fullmatch(value)):
            raise BadRequest(f"the value of metadata {key!r} must be printable ASCII text")
    return items


def check_token(token: Token | None, targets: Sequence[str], *, is_encrypted: bool) -> None:
    """Check that a token is one, and that nobody on the way can read it.

    Args:
        token: as it was given; its text is never shown.
        targets: where it is sent to.
        is_encrypted: whether the connections speak TLS.

    Raises:
        BadRequest: it is none, or would be sent in plain text to another machine.
    """
    if not callable(token):
        bearer(token)
    if token is not None and not is_encrypted and not all(map(is_local, targets)):
        raise BadRequest(
            "a token in plain text could be read on its way; pass tls=steerstream.Tls(...)"
        )


def bearer(token: Token | None) -> Metadata:
    """Return the metadata of the present token; none without one.

    Raises:
        BadRequest: the token is none, or its function failed.
    """
    if token is None:
        return ()
    try:
        text = token() if callable(token) else token
    except BadRequest:
        raise
    except Exception as error:
        # Its text might show a secret.
        raise BadRequest(f"the function for the token raised {type(error).__name__}") from error
    if not (isinstance(text, str) and _TOKEN.fullmatch(text)):
        raise BadRequest("token must be printable ASCII text without spaces, or return such a text")
    return (("authorization", f"Bearer {text}"),)


class Stream(Protocol):
    """One bidirectional stream."""

    async def send(self, request: drive_service_pb2.DriveRequest) -> None:
        """Send a message; returns when the transport took it.

        Cancelling the caller leaves the stream usable, and the message is sent all the same.

        Raises:
            RpcFailed: the stream has ended; `receive` knows why.
        """

    async def receive(self) -> drive_service_pb2.DriveResponse | None:
        """Return the next message, or None at the end of a stream that ended well.

        Raises:
            RpcFailed: the stream ended with an error.
        """

    async def finish(self) -> None:
        """Say that no more messages follow."""

    async def abort(self) -> None:
        """End the stream at once. Calling it after the end does nothing."""


@runtime_checkable
class Transport(Protocol):
    """A connection to one server."""

    async def connect(self, *, timeout_s: float, wait_for_server: bool) -> None:
        """Connect.

        Args:
            timeout_s: how long to try, in seconds; finding out why it failed may take 3 s more.
            wait_for_server: keep trying where the server refuses the connection.

        Raises:
            ConnectionFailed: no server was reached; the text says why and what to do.
        """

    async def describe_models(self, timeout_s: float) -> drive_service_pb2.DescribeModelsResponse:
        """Call DescribeModels.

        Raises:
            RpcFailed: the call failed.
        """

    async def drive(self) -> Stream:
        """Begin a stream of Drive."""

    async def close(self) -> None:
        """Close the connection and every stream on it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tls:
    """How to encrypt the connection.

    Attributes:
        ca_file: certificates of the authorities to trust, PEM; None for gRPC's own.
        certificate_file: the client's certificate chain, PEM, where the server asks for one.
        key_file: the client's private key, PEM; goes with `certificate_file`.
    """

    ca_file: Path | str | None = None
    certificate_file: Path | str | None = None
    key_file: Path | str | None = None

    def context(self) -> ssl.SSLContext:
        """Read and check the files.

        Raises:
            BadRequest: a file cannot be read, or does not hold what it should.
        """
        for field in dataclasses.fields(self):
            path = getattr(self, field.name)
            if path is not None:
                instance(f"tls: {field.name}", path, str, Path)
        if self.key_file is not None and self.certificate_file is None:
            raise BadRequest("tls: key_file goes with certificate_file, which is missing")
        try:
            context = ssl.create_default_context(cafile=_name(self.ca_file))
        except (OSError, ValueError) as error:
            raise BadRequest(
                f"tls: ca_file {self.ca_file} holds no readable certificate: {error}"
            ) from error
        if self.certificate_file is not None:
            try:
                # Without a password given here, OpenSSL would ask the terminal for one.
                context.load_cert_chain(
                    str(self.certificate_file), _name(self.key_file), password=""
                )
            except (OSError, ValueError) as error:
                if self.key_file is None and _has_no_key(self.certificate_file):
                    raise BadRequest(
                        f"tls: {self.certificate_file} has no key; give key_file, or --tls-key"
                    ) from error
                raise BadRequest(
                    f"tls: certificate_file {self.certificate_file} and key_file {self.key_file} "
                    f"hold no readable certificate with its key: {error}"
                ) from error
        return context

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files, for gRPC.

        Raises:
            OSError: a file cannot be read.
        """
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.ca_file),
            private_key=_read(self.key_file or self.certificate_file),
            certificate_chain=_read(self.certificate_file),
        )


def _name(path: Path | str | None) -> str | None:
    return None if path is None else str(path)


def _has_no_key(path: Path | str) -> bool:
    try:
        return b"PRIVATE KEY-----" not in Path(path).read_bytes()
    except (OSError, ValueError):
        return False


def _read(path: Path | str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


def open_channel(target: str, *, tls: Tls | None, timeout_s: float) -> grpc.aio.Channel:
    """Make a channel, inside the event loop that uses it; it connects with its first call.

    Args:
        target: `HOST:PORT`, or any name that gRPC resolves.
        tls: how to encrypt; None for plain text.
        timeout_s: how long a server that takes the connection may be silent, in seconds.
    """
    # Despite its name, this bounds one attempt to connect, not the pause between two.
    attempt_ms = min(round((timeout_s + _ATTEMPT_MARGIN_S) * 1e3), _MAX_OPTION)
    options = (
        *_CHANNEL_OPTIONS,
        ("grpc.min_reconnect_backoff_ms", attempt_ms),
        ("grpc.enable_http_proxy", int(not is_local(target))),
    )
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, tls.credentials(), options=options)


class GrpcTransport:
    """A gRPC channel. It is made inside the event loop that uses it.

    Args:
        target: `HOST:PORT`, or any name that gRPC resolves, such as `unix:/path`.
        tls: how to encrypt; None for plain text.
        metadata: sent with every call.
        token: a bearer token, sent with every call; None for none.
        timeout_s: how long a server that takes the connection may be silent, in seconds.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: Tls | None = None,
        metadata: Metadata = (),
        token: Token | None = None,
        timeout_s: float,
    ) -> None:
        check_address(target, timeout_s)
        check_token(token, [target], is_encrypted=tls is not None)
        self._target = target
        self._context = None if tls is None else tls.context()
        self._given = tuple(checked_metadata(metadata))
        self._token = token
        self._channel = open_channel(target, tls=tls, timeout_s=timeout_s)
        self._stub = drive_service_pb2_grpc.DriveServiceStub(self._channel)

    async def connect(self, *, timeout_s: float, wait_for_server: bool) -> None:
        """Wait until the channel is ready; see `Transport.connect`."""
        if (why := why_impossible(self._target)) is not None:
            raise ConnectionFailed(f"{self._target} {why}", code=grpc.StatusCode.UNAVAILABLE)
        try:
            async with asyncio.timeout(timeout_s):
                if await self._is_ready(wait_for_server=wait_for_server):
                    return
        except TimeoutError:
            waited = f" did not answer within {timeout_s:g} s; it"
        else:
            waited = ""
        why = await why_unreachable(self._target, self._context)
        raise ConnectionFailed(f"{self._target}{waited} {why}", code=grpc.StatusCode.UNAVAILABLE)

    async def describe_models(self, timeout_s: float) -> drive_service_pb2.DescribeModelsResponse:
        """Call DescribeModels; see `Transport.describe_models`."""
        request = drive_service_pb2.DescribeModelsRequest()
        with _rpc_errors():
            return await self._stub.DescribeModels(
                request, timeout=timeout_s, metadata=self._metadata
            )

    async def drive(self) -> GrpcStream:
        """Begin a stream; see `Transport.drive`."""
        return GrpcStream(self._stub.Drive(metadata=self._metadata), self._is_connected)

    async def close(self) -> None:
        """Close the channel; see `Transport.close`."""
        await self._channel.close()

    @property
    def _metadata(self) -> Metadata:
        """What goes with the next call, with the token of this moment."""
        return (*self._given, *bearer(self._token))

    def _is_connected(self) -> bool:
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def _is_ready(self, *, wait_for_server: bool) -> bool:
        """Return whether the server was reached; waits as long as it may yet be."""
        state = self._channel.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE and not wait_for_server:
                return False
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)
        return True


_Call = grpc.aio.StreamStreamCall[drive_service_pb2.DriveRequest, drive_service_pb2.DriveResponse]


_OWN_STATUS = "Internal error from Core"
"""What gRPC itself says, with the status INTERNAL, of a write into a stream that has ended."""
_STATUS_GRACE_S, _STATUS_POLL_S = 0.2, 0.01
"""How long a status that the server sent already may take through gRPC's threads; none comes where
the connection is gone."""


class GrpcStream:
    """One call of Drive.

    Args:
        call: of gRPC.
        is_connected: whether the connection is there, as far as gRPC knows.
    """

    def __init__(self, call: _Call, is_connected: Callable[[], bool]) -> None:
        self._call = call
        self._is_connected = is_connected
        self._writing: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[None]] = set()
        self._said: RpcFailed | None = None
        call.add_done_callback(self._note_status)

    async def send(self, request: drive_service_pb2.DriveRequest) -> None:
        """Send a message; see `Stream.send`.

        gRPC takes one write at a time, and cancels the whole call when a write is cancelled. So
        each write is a task that begins when the one before has ended, and that goes on where the
        caller is cancelled.
        """
        self._writing = asyncio.create_task(self._write(request, after=self._writing))
        self._writes.add(self._writing)
        self._writing.add_done_callback(self._writes.discard)
        self._writing.add_done_callback(_retrieve)
        with _rpc_errors():
            await asyncio.shield(self._writing)

    async def receive(self) -> drive_service_pb2.DriveResponse | None:
        """Return the next message; see `Stream.receive`."""
        try:
            with _rpc_errors():
                response = await self._call.read()
        except RpcFailed as failure:
            raise await self._true_failure(failure) from failure.__cause__
        return response if isinstance(response, drive_service_pb2.DriveResponse) else None

    async def finish(self) -> None:
        """Close the sending half; see `Stream.finish`."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        # The last one is what gRPC raises on a call that its deadline ended.
        with contextlib.suppress(
            grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.InternalError
        ):
            await self._call.done_writing()

    async def abort(self) -> None:
        """Cancel the call; see `Stream.abort`."""
        self._call.cancel()
        # gRPC never ends the write of a call that was cancelled before it had begun.
        for writing in self._writes:
            writing.cancel()
        if self._writes:
            await asyncio.wait(self._writes)

    async def _true_failure(self, failure: RpcFailed) -> RpcFailed:
        """Return why the stream ended, by the server's word.

        A write into a stream that the server has just ended makes gRPC set the status INTERNAL, in
        place of the server's, which comes shortly before or after. INTERNAL that came over the wire
        is how proxies tell of a server that died: nothing else follows it.
        """
        if not _is_own_status(failure.code, failure.message):
            return failure
        for _ in range(round(_STATUS_GRACE_S / _STATUS_POLL_S)):
            if self._said is not None or not self._is_connected():
                break
            await asyncio.sleep(_STATUS_POLL_S)
        return self._said or failure

    def _note_status(self, call: _Call) -> None:
        """Keep the status that the server sent; gRPC calls this for each that is set."""
        code, message = _finished(call.code()), _finished(call.details())
        if code is grpc.StatusCode.OK or _is_own_status(code, message) or self._said is not None:
            return
        self._said = RpcFailed.from_status(code, message, _finished(call.trailing_metadata()))

    async def _write(
        self, request: drive_service_pb2.DriveRequest, *, after: asyncio.Task[None] | None
    ) -> None:
        if after is not None:
            await asyncio.wait([after])
        with _rpc_errors():
            await self._call.write(request)


def _is_own_status(code: grpc.StatusCode, message: str | None) -> bool:
    return code is grpc.StatusCode.INTERNAL and message == _OWN_STATUS


def _finished(coroutine: Coroutine[object, None, _T]) -> _T:
    """Return the result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    raise RuntimeError("a call without a status said that it was done")


def _retrieve(writing: asyncio.Task[None]) -> None:
    """Read the error of a write whose caller was cancelled, so that asyncio does not report it."""
    if not writing.cancelled():
        writing.exception()


@contextlib.contextmanager
def _rpc_errors() -> Iterator[None]:
    """Turn what gRPC raises into RpcFailed.

    gRPC raises CancelledError in a task that waits for a call which another one cancelled. The task
    itself was not cancelled and must not look as if it were.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise RpcFailed.from_rpc_error(error) from error
    except asyncio.InvalidStateError as error:
        raise RpcFailed(grpc.StatusCode.CANCELLED, "the stream has ended") from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RpcFailed(grpc.StatusCode.CANCELLED, "the call was ended on this side") from None
