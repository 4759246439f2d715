"""The attacks by name. Each runs for a given time and returns how many times it acted."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import numpy as np
from grpc_reflection.v1alpha import reflection_pb2

from benchmark.attacks import raw_http2
from benchmark.attacks.raw_http2 import RawConnection
from benchmark.loadgen.drive_rpc import CHANNEL_OPTIONS, METHOD, frame_request
from benchmark.loadgen.synthetic_road import Picture, jpegs
from benchmark.loadgen.timing import NS_PER_S, seconds_until, together
from steerstream.v1 import drive_service_pb2, frame_pb2, session_pb2

DESCRIBE = METHOD.replace("/Drive", "/DescribeModels")
HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
WATCH = "/grpc.health.v1.Health/Watch"
_AT_ONCE = 12
_BURST = 32
"""Pings, settings, or cancelled calls, that are sent at once."""
_CONTROL_BURSTS = 1_000_000
"""Of each connection; more than are sent in the time of a whole attack."""
_CANCELLING = 2
"""Connections: docs/threat-model.md says what more of them do."""
_CANCELLED_BURSTS = 20_000
"""Of each connection, as above."""
_ANSWER_TIMEOUT_S = 2.0
_LARGEST_MESSAGE = 4 * 1024 * 1024
_EXTREMES = (math.nan, math.inf, -math.inf, -1.0, -0.0, 5e-324, 1e-305, 1e-3, 1e305, 1.7e308)

Call = grpc.aio.StreamStreamCall[bytes, bytes]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Siege:
    """The target of an attack, its end, and its size.

    Attributes:
        address: the server, HOST:PORT.
        end_ns: when it ends, by the monotonic clock.
        scale: share of an attack's connections, streams and tries; 1 is all of them.
    """

    address: str
    end_ns: int
    scale: float = 1.0

    def many(self, count: int) -> int:
        """Return a count at this siege's scale, at least 1."""
        return max(1, round(count * self.scale))

    @property
    def is_over(self) -> bool:
        """Whether its time has passed."""
        return time.monotonic_ns() >= self.end_ns

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[grpc.aio.Channel]:
        """Open a connection that ends with the context."""
        async with grpc.aio.insecure_channel(self.address, options=CHANNEL_OPTIONS) as channel:
            yield channel

    @contextlib.asynccontextmanager
    async def call(self, method: str = METHOD) -> AsyncIterator[Call]:
        """Begin a call on a connection of its own; the context cancels it."""
        async with self.channel() as channel:
            call: Call = channel.stream_stream(method)()
            try:
                yield call
            finally:
                call.cancel()


Attack = Callable[[Siege], Awaitable[int]]


def opening(
    name: str, *, budget_ms: float = 1000.0, rate_hz: float = 1.0, every: bool = False
) -> bytes:
    """Return the request that opens a session.

    Args:
        name: the vehicle's.
        budget_ms: any number, whether or not it makes sense.
        rate_hz: the same.
        every: whether all frames are to be answered.
    """
    policy = session_pb2.FRAME_POLICY_EVERY if every else session_pb2.FRAME_POLICY_LATEST
    request = session_pb2.OpenSession(
        vehicle_id=name, budget_ms=budget_ms, frame_rate_hz=rate_hz, frame_policy=policy
    )
    return drive_service_pb2.DriveRequest(open=request).SerializeToString()


async def cancel_storm(siege: Siege) -> int:
    """Open sessions and cancel them at every moment of their opening."""
    tries = itertools.count()

    async def one(index: int) -> None:
        async with siege.channel() as channel:
            while next(tries) < siege.many(10_000) and not siege.is_over:
                call: Call = channel.stream_stream(METHOD)()
                with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await call.write(opening(f"storm-{index}"))
                    match random.randrange(3):
                        case 0:
                            await asyncio.sleep(random.uniform(0.0, 0.005))
                        case 1:
                            await call.read()
                call.cancel()

    await together(one(index) for index in range(_AT_ONCE))
    return next(tries) - _AT_ONCE


async def idle_connections(siege: Siege) -> int:
    """Open connections and leave them: half of them say hello in HTTP/2, half say nothing."""

    async def one(connection: RawConnection, _: int) -> None:
        del connection

    async def silent() -> int:
        host, _, port = siege.address.rpartition(":")
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, int(port))
            await asyncio.sleep(seconds_until(siege.end_ns))
            writer.transport.abort()
            return 1
        return 0

    half = siege.many(500)
    greeted = _connections(siege, half, one)
    return sum(await together([greeted, *(silent() for _ in range(half))]))


async def opens_without_frames(siege: Siege) -> int:
    """Take every slot, and send nothing."""
    return await _calls(siege, siege.many(64), METHOD, lambda index: opening(f"squatter-{index}"))


async def no_window(siege: Siege) -> int:
    """Open sessions on streams that let the server send nothing."""

    async def one(connection: RawConnection, index: int) -> None:
        await connection.send_headers(raw_http2.call_headers(siege.address))
        await connection.send_data(raw_http2.message(opening(f"deaf-{index}")))

    return await _connections(siege, siege.many(64), one, window=0)


async def idle_calls(siege: Siege) -> int:
    """Begin calls and send nothing, not even an opening."""
    return await _calls(siege, siege.many(192), METHOD, lambda _: None)


async def health_watches(siege: Siege) -> int:
    """Watch the server's health with as many calls as there could be vehicles."""
    return await _calls(siege, siege.many(200), WATCH, lambda _: b"")


async def resets(siege: Siege) -> int:
    """Reset a session without end."""
    reset = drive_service_pb2.DriveRequest(reset=session_pb2.Reset()).SerializeToString()
    return await _flood(siege, lambda _: reset)


async def empty_frames(siege: Siege) -> int:
    """Send frames without a picture."""
    return await _flood(siege, lambda number: frame_request(b"", number, 1 + number))


async def unread_answers(siege: Siege) -> int:
    """Send frames without a picture from many sessions, and read no answer."""
    names = (f"unread-{index}" for index in range(siege.many(16)))
    return sum(await together(_pile_up(siege, b"", name) for name in names))


async def good_frames(siege: Siege) -> int:
    """Send good pictures as fast as they are taken, from sessions that said 1 Hz."""
    pixels = frame_pb2.Rgb8Image(width_px=200, height_px=66, pixels=bytes(3 * 200 * 66))
    image = frame_pb2.Frame(rgb8=pixels).SerializeToString()
    sent = await together(
        _flood(siege, lambda number: frame_request(image, number, 1 + number), f"good-{index}")
        for index in range(siege.many(4))
    )
    return sum(sent)


async def openings(siege: Siege) -> int:
    """Send an opening on a stream whose session is open, again and again."""
    again = opening("again")
    return await _flood(siege, lambda _: again)


async def undecodable_frames(siege: Siege) -> int:
    """Send frames whose JPEG is damaged."""
    damaged = frame_pb2.Frame(jpeg=b"\xff\xd8" + random.randbytes(20_000)).SerializeToString()
    return await _flood(siege, lambda number: frame_request(damaged, number, 1 + number))


async def largest_pictures(siege: Siege) -> int:
    """Send raw pictures of 1280x720, 2.8 MB each, under EVERY from many sessions at once."""
    black = bytes(3 * 1280 * 720)
    pixels = frame_pb2.Rgb8Image(width_px=1280, height_px=720, pixels=black)
    image = frame_pb2.Frame(rgb8=pixels).SerializeToString()
    sent = await together(
        _flood(siege, lambda number: frame_request(image, number, 1 + number), f"large-{index}")
        for index in range(siege.many(16))
    )
    return sum(sent)


async def hostile_sessions(siege: Siege) -> int:
    """Fill every session with the dearest pictures, 2 MB of noise as JPEG, and take no answer."""
    noise = np.random.default_rng(0).integers(0, 256, (1024, 2000, 3), np.uint8)
    (picture,) = jpegs([noise])
    image = frame_pb2.Frame(jpeg=picture).SerializeToString()
    sent = await together(
        _pile_up(siege, image, f"hostile-{index}") for index in range(siege.many(64))
    )
    return sum(sent)


async def large_openings(siege: Siege) -> int:
    """Open sessions with 1 MiB or 4 MB of a ticket that is none, from many connections at once."""
    requests = [
        drive_service_pb2.DriveRequest(
            open=session_pb2.OpenSession(vehicle_id="large", ticket=bytes(size_bytes))
        ).SerializeToString()
        for size_bytes in (1 << 20, 4_000_000)
    ]

    async def one(index: int) -> int:
        request = requests[index % 2]
        tried = 0
        while not siege.is_over:
            async with siege.call() as call:
                with contextlib.suppress(
                    grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError
                ):
                    async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                        await call.write(request)
                        await call.read()
                tried += 1
            await asyncio.sleep(0.5)
        return tried

    return sum(await together(one(index) for index in range(siege.many(64))))


async def disguised_pictures(siege: Siege) -> int:
    """Send small pictures as vehicles do, and each fourth second dear ones, or false headers."""
    random_levels = np.random.default_rng(0).integers
    # All of one shape, or the dear ones would be refused as another camera's.
    small, large = (
        random_levels(0, 256, (*size, 3), np.uint8) for size in ((102, 200), (1024, 2000))
    )
    grey = np.full_like(large, 128)
    cheap, *dear = (
        frame_pb2.Frame(jpeg=jpeg).SerializeToString()
        for jpeg in (*jpegs([small, large]), *jpegs([large, grey], progressive=True))
    )
    pixels = frame_pb2.Rgb8Image(width_px=1280, height_px=656, pixels=bytes(3 * 1280 * 656))
    dear.append(frame_pb2.Frame(rgb8=pixels).SerializeToString())
    false = _false_pictures(grey)
    began_s = time.monotonic()

    async def one(index: int) -> int:
        sent = 0
        async with siege.call() as call:
            reader = asyncio.create_task(_read(call))
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                async with asyncio.timeout(seconds_until(siege.end_ns)):
                    await call.write(opening(f"disguised-{index}", rate_hz=20.0))
                    while not reader.done():
                        is_dear = (time.monotonic() - began_s) % 4.0 > 3.0
                        kinds = false if index % 5 == 4 else dear
                        image = kinds[index // 5 % len(kinds)] if is_dear else cheap
                        await call.write(frame_request(image, sent, time.monotonic_ns()))
                        sent += 1
                        await asyncio.sleep(0.05)
            reader.cancel()
            await asyncio.wait([reader])
        return sent

    return sum(await together(one(index) for index in range(siege.many(20))))


def _false_pictures(grey: Picture) -> list[bytes]:
    """Return frames whose pictures are refused by what they say, and would be dear otherwise."""
    (progressive,) = jpegs([grey], progressive=True)
    sizes_at = progressive.index(b"\xff\xc2") + 5
    false_size = progressive[:sizes_at] + b"\xff" * 4 + progressive[sizes_at + 4 :]
    filled = progressive[:2] + b"\xff" * 3_900_000 + progressive[2:]
    row = frame_pb2.Rgb8Image(width_px=307_200, height_px=1, pixels=bytes(3 * 307_200))
    rows = frame_pb2.Nv12Image(
        width_px=1_000_000, height_px=2, planes=bytes(3_000_000), full_range=True
    )
    frames = (
        frame_pb2.Frame(jpeg=false_size),
        frame_pb2.Frame(jpeg=filled),
        frame_pb2.Frame(rgb8=row),
        frame_pb2.Frame(nv12=rows),
    )
    return [frame.SerializeToString() for frame in frames]


async def describes(siege: Siege) -> int:
    """Ask for the models without end."""
    return await _unary_flood(siege, DESCRIBE)


async def health_probes(siege: Siege) -> int:
    """Ask for the server's health without end."""
    return await _unary_flood(siege, HEALTH)


async def reflections(siege: Siege) -> int:
    """Ask reflection without end, on one stream."""
    request = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    asked = 0
    while not siege.is_over:
        async with siege.call(REFLECTION) as call:
            reader = asyncio.create_task(_read(call))
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                async with asyncio.timeout(seconds_until(siege.end_ns)):
                    while not reader.done():
                        await call.write(request)
                        asked += 1
                        await asyncio.sleep(0)
            reader.cancel()
            await asyncio.wait([reader])
        await asyncio.sleep(min(0.05, seconds_until(siege.end_ns)))
    return asked


async def half_requests(siege: Siege) -> int:
    """Ask for the models, and never send the whole request: calls of which gRPC waits for one."""
    almost = raw_http2.message(bytes(_LARGEST_MESSAGE - 2), _LARGEST_MESSAGE - 1)

    async def one(connection: RawConnection, _: int) -> None:
        await connection.send_headers(raw_http2.call_headers(siege.address, DESCRIBE))
        await connection.send_data(almost)

    return await _connections(siege, siege.many(192), one)


async def untaken_models(siege: Siege) -> int:
    """Ask for the models on streams that let the server send nothing, and keep them."""

    async def one(connection: RawConnection, _: int) -> None:
        await connection.send_headers(raw_http2.call_headers(siege.address, DESCRIBE))
        await connection.send_data(raw_http2.message(b""), ends=True)

    return await _connections(siege, siege.many(192), one, window=0)


async def no_protobuf(siege: Siege) -> int:
    """Send bytes that are no message, as the first message of a stream and after it."""
    tries = itertools.count()

    async def one(index: int) -> None:
        async with siege.channel() as channel:
            while not siege.is_over:
                number = next(tries)
                call: Call = channel.stream_stream(METHOD)()
                with contextlib.suppress(
                    grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError
                ):
                    async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                        if number % 2:
                            await call.write(opening(f"garbage-{index}"))
                            await call.read()
                        await call.write(b"\xff" + random.randbytes(64))
                        while await call.read() is not grpc.aio.EOF:
                            pass
                call.cancel()

    await together(one(index) for index in range(_AT_ONCE))
    return next(tries)


async def extreme_openings(siege: Siege) -> int:
    """Open sessions with numbers at and beyond the edges of what numbers can be."""
    pairs = list(itertools.product(_EXTREMES, repeat=2))
    random.shuffle(pairs)
    done = itertools.count()
    async with siege.channel() as channel:
        for index, (budget_ms, rate_hz) in enumerate(pairs[: siege.many(len(pairs))]):
            call: Call = channel.stream_stream(METHOD)()
            name = f"extreme-{index}"
            with contextlib.suppress(grpc.aio.AioRpcError, TimeoutError):
                async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                    await call.write(opening(name, budget_ms=budget_ms, rate_hz=rate_hz))
                    await call.read()
            call.cancel()
            next(done)
            if siege.is_over:
                break
    await asyncio.sleep(seconds_until(siege.end_ns))
    return next(done)


async def half_headers(siege: Siege) -> int:
    """Begin calls whose headers never end: half of them stop, half come byte by byte."""
    block = raw_http2.call_headers(siege.address)
    whole = raw_http2.frame(raw_http2.HEADERS, raw_http2.END_HEADERS, 1, block)

    async def one(connection: RawConnection, index: int) -> None:
        if index % 2:
            await connection.send_headers(block[:20], ends=False)
            return
        for byte in whole[:-1]:
            await connection.send_raw(bytes([byte]))
            await asyncio.sleep(0.1)

    return await _connections(siege, siege.many(200), one)


async def control_frames(siege: Siege) -> int:
    """Send pings and settings without end, on connections that are opened again when they end."""
    ping = raw_http2.frame(raw_http2.PING, 0, 0, bytes(8))
    burst = (ping + raw_http2.frame(raw_http2.SETTINGS, 0, 0, b"")) * _BURST
    bursts = siege.many(_CONTROL_BURSTS)

    async def one() -> int:
        sent = 0
        while not siege.is_over and sent < bursts * 2 * _BURST:
            with contextlib.suppress(OSError, TimeoutError):
                async with (
                    asyncio.timeout(seconds_until(siege.end_ns)),
                    RawConnection(siege.address) as connection,
                ):
                    while sent < bursts * 2 * _BURST:
                        await connection.send_raw(burst)
                        sent += 2 * _BURST
                        await asyncio.sleep(0)
        return sent

    return sum(await together([one() for _ in range(siege.many(_AT_ONCE))]))


async def rapid_reset(siege: Siege) -> int:
    """Begin calls, of vehicles and of probes, on a connection each, and cancel them at once."""

    async def one(index: int) -> int:
        block = raw_http2.call_headers(siege.address, (METHOD, HEALTH)[index % 2])
        begun = 0
        while not siege.is_over and begun < _CANCELLED_BURSTS * _BURST:
            with contextlib.suppress(OSError, TimeoutError):
                async with (
                    asyncio.timeout(seconds_until(siege.end_ns)),
                    RawConnection(siege.address) as connection,
                ):
                    for first in range(1, 2 * _CANCELLED_BURSTS * _BURST, 2 * _BURST):
                        await connection.send_raw(raw_http2.cancelled_calls(block, first, _BURST))
                        begun += _BURST
                        await asyncio.sleep(0.002)
        return begun

    return sum(await together(one(index) for index in range(siege.many(_CANCELLING))))


async def half_messages(siege: Siege) -> int:
    """Send all of a message of 4 MiB but its last byte, on many connections."""
    almost = raw_http2.message(bytes(_LARGEST_MESSAGE - 2), _LARGEST_MESSAGE - 1)

    async def one(connection: RawConnection, _: int) -> None:
        await connection.send_headers(raw_http2.call_headers(siege.address))
        await connection.send_data(almost)

    return await _connections(siege, siege.many(192), one)


ATTACKS: dict[str, Attack] = {
    attack.__name__.replace("_", "-"): attack
    for attack in (
        cancel_storm,
        idle_connections,
        opens_without_frames,
        no_window,
        idle_calls,
        health_watches,
        resets,
        describes,
        health_probes,
        reflections,
        empty_frames,
        unread_answers,
        good_frames,
        openings,
        undecodable_frames,
        largest_pictures,
        hostile_sessions,
        large_openings,
        disguised_pictures,
        no_protobuf,
        extreme_openings,
        half_headers,
        control_frames,
        rapid_reset,
        half_messages,
        half_requests,
        untaken_models,
    )
}


async def run(name: str, *, address: str, seconds: float, delay_s: float, scale: float) -> int:
    """Run an attack and return how often it did what it does.

    Args:
        name: a key of `ATTACKS`.
        address: the server, HOST:PORT.
        seconds: how long.
        delay_s: until it begins.
        scale: see `Siege`.
    """
    await asyncio.sleep(delay_s)
    end_ns = time.monotonic_ns() + round(seconds * NS_PER_S)
    return await ATTACKS[name](Siege(address=address, end_ns=end_ns, scale=scale))


async def _connections(
    siege: Siege,
    count: int,
    send: Callable[[RawConnection, int], Awaitable[None]],
    **options: int,
) -> int:
    """Open connections, send something on each and keep it; return how many were accepted."""

    async def one(index: int) -> int:
        is_open = 0
        with contextlib.suppress(OSError, TimeoutError):
            async with RawConnection(siege.address, **options) as connection:
                is_open = 1
                async with asyncio.timeout(seconds_until(siege.end_ns)):
                    await send(connection, index)
                await asyncio.sleep(seconds_until(siege.end_ns))
        return is_open

    return sum(await together(one(index) for index in range(count)))


async def _calls(
    siege: Siege, count: int, method: str, first: Callable[[int], bytes | None]
) -> int:
    """Begin calls, send a first message on each if there is one, and keep them.

    Returns:
        How many calls were begun; the server may have ended some.
    """

    async def one(index: int) -> None:
        async with siege.call(method) as call:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                async with asyncio.timeout(seconds_until(siege.end_ns)):
                    if (message := first(index)) is not None:
                        await call.write(message)
                    await _read(call)
            await asyncio.sleep(seconds_until(siege.end_ns))

    await together(one(index) for index in range(count))
    return count


async def _pile_up(siege: Siege, image: bytes, name: str) -> int:
    """Open a session, send frames without end and read no answer; return how many."""
    sent = 0
    async with siege.call() as call:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
            async with asyncio.timeout(seconds_until(siege.end_ns)):
                await call.write(opening(name, budget_ms=10_000.0, every=True))
                while True:
                    await call.write(frame_request(image, sent, 1 + sent))
                    sent += 1
                    await asyncio.sleep(0)
        await asyncio.sleep(seconds_until(siege.end_ns))
    return sent


async def _flood(siege: Siege, request: Callable[[int], bytes], name: str = "flood") -> int:
    """Open a session and send requests by number as fast as flow control lets; return how many."""
    sent = 0
    while not siege.is_over:
        async with siege.call() as call:
            reader = asyncio.create_task(_read(call))
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                async with asyncio.timeout(seconds_until(siege.end_ns)):
                    await call.write(opening(name, every=True))
                    while not reader.done():
                        await call.write(request(sent))
                        sent += 1
                        # A write may return without waiting: let the reader have its turn.
                        await asyncio.sleep(0)
            reader.cancel()
            await asyncio.wait([reader])
        # At most 20 sessions a second, where the server ends each at once.
        await asyncio.sleep(min(0.05, seconds_until(siege.end_ns)))
    return sent


async def _read(call: Call) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while await call.read() is not grpc.aio.EOF:
            pass


async def _unary_flood(siege: Siege, method: str) -> int:
    done = itertools.count()

    async def one(_: int) -> None:
        async with siege.channel() as channel:
            ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            while not siege.is_over:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await ask(b"", timeout=_ANSWER_TIMEOUT_S)
                next(done)

    await together(one(index) for index in range(_AT_ONCE))
    return next(done)
