"""Measurements beside an attack: health probes, new vehicles, and the slots that are left."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from typing import Any

import grpc

from benchmark.attacks.attacks import HEALTH
from benchmark.loadgen.drive_rpc import CHANNEL_OPTIONS, DriveConnection, DriveTransport
from benchmark.loadgen.timing import NS_PER_MS, NS_PER_S, together, until
from benchmark.loadgen.transport import SessionEndedError, Terms
from steerstream.drive.histogram import Histogram

PROBE_EVERY_S = 0.2
NEWCOMER_EVERY_S = 0.5
TIMEOUT_S = 2.0
"""A probe or a newcomer without an answer by then has failed."""
SERVING = b"\x08\x01"
"""A `HealthCheckResponse` with status SERVING."""


async def watch(transport: DriveTransport, *, seconds: float) -> dict[str, Any]:
    """Probe the server's health and let vehicles come, one after the other.

    Returns:
        `health`: a histogram of how long a probe took, on a new connection as a supervisor makes
        it; `health_failed`: probes without the answer SERVING, by status; `newcomers`: vehicles
        that came; `shut_out`: those that did not get a frame answered, by reason.
    """
    end_ns = time.monotonic_ns() + round(seconds * NS_PER_S)
    probes, newcomers = await together([_probes(transport, end_ns), _newcomers(transport, end_ns)])
    return probes | newcomers


async def room(transport: DriveTransport, *, rate_hz: float, budget_ms: float, most: int) -> int:
    """Return how many sessions a server admits at once, when none of them sends anything.

    Args:
        transport: to the server.
        rate_hz: what each of them declares.
        budget_ms: what each of them asks for.
        most: how many to try.
    """
    terms = Terms(budget_ms=budget_ms, rate_hz=rate_hz)
    async with contextlib.AsyncExitStack() as stack:
        for index in range(most):
            connection = await stack.enter_async_context(transport.connect())
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    stream = await connection.open(f"room-{index}", terms)
            except (SessionEndedError, TimeoutError):
                return index
            stack.push_async_callback(stream.close)
    return most


async def _probes(transport: DriveTransport, end_ns: int) -> dict[str, Any]:
    took, failed = Histogram(), collections.Counter[str]()
    while (began_ns := time.monotonic_ns()) < end_ns:
        async with grpc.aio.insecure_channel(transport.address, options=CHANNEL_OPTIONS) as channel:
            try:
                probe: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(HEALTH)
                if await probe(b"", timeout=TIMEOUT_S) != SERVING:
                    failed["NOT_SERVING"] += 1
            except grpc.aio.AioRpcError as error:
                failed[error.code().name] += 1
        took.add((time.monotonic_ns() - began_ns) / NS_PER_MS)
        await until(began_ns + PROBE_EVERY_S * NS_PER_S)
    return {"health": took.to_json(), "health_failed": dict(failed)}


async def _newcomers(transport: DriveTransport, end_ns: int) -> dict[str, Any]:
    shut_out, came = collections.Counter[str](), 0
    while (began_ns := time.monotonic_ns()) < end_ns:
        came += 1
        try:
            async with asyncio.timeout(TIMEOUT_S), transport.connect() as connection:
                await _drive_a_frame(connection, f"newcomer-{came}")
        except SessionEndedError as refusal:
            shut_out[refusal.reason] += 1
        except TimeoutError:
            shut_out["TIMEOUT"] += 1
        except OSError:
            shut_out["NO_CONNECTION"] += 1
        await until(began_ns + NEWCOMER_EVERY_S * NS_PER_S)
    return {"newcomers": came, "shut_out": dict(shut_out)}


async def _drive_a_frame(connection: DriveConnection, name: str) -> None:
    stream = await connection.open(name, Terms(budget_ms=1000.0, rate_hz=1.0))
    await stream.send(0, 0, time.monotonic_ns())
    await stream.receive()
    await stream.close()
