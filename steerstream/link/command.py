"""The commands `bench` and `doctor`: options in, exit code out."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import steerstream
from steerstream.answers import Command
from steerstream.client import Client, SessionOpening
from steerstream.command_line import (
    INTERRUPTED,
    at_interrupt,
    count,
    default_vehicle_id,
    output_file,
    positive,
    write_result,
)
from steerstream.connection_options import add_connection_options, connection_arguments
from steerstream.drive.report import latency_row
from steerstream.link.diagnosis import Diagnosis, Measured, diagnose
from steerstream.link.times import AS_IT_IS, LinkTimes, measure, picture_of
from steerstream.models import FramePolicy
from steerstream.reachability import is_local
from steerstream.session import Session
from steerstream.transport import bearer, open_channel
from steerstream.v1.drive_service_pb2 import DescribeModelsRequest
from steerstream.v1.drive_service_pb2_grpc import DriveServiceStub

VIEW_KB, WHOLE_KB = 8.0, 80.0
"""A frame as the view sends it, and a whole picture that does not fit into one window of HTTP/2,
64 kB."""
_CALL_S = 5.0
_PAUSES, _PAUSE_S = 3, 1.2
"""Linux forgets a connection's window after the time of a retransmission, 0.2 to 1 s."""


def add_bench_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench`."""
    _add_common(parser)
    add = parser.add_argument
    add("--kilobytes", type=positive, default=VIEW_KB, help="a frame's size (default: 8)")
    add("--frames", type=count, default=200, help="frames to send (default: 200)")


def add_doctor_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `doctor`."""
    _add_common(parser)
    parser.add_argument("--frames", type=count, default=100, help="frames of each size to send"
        " (default: 100)")  # fmt: skip


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--target", required=True, help="HOST:PORT of the server")
    add("--model", help="name of a served model (default: the server's default)")
    add("--vehicle-id", default=default_vehicle_id("link"), help="name of the vehicle in the"
        " server's log (default: steerstream-link, the host and the process)")  # fmt: skip
    add("--budget-ms", type=positive, default=50.0, help="longest round trip that is in time"
        " (default: 50)")  # fmt: skip
    add("--rate-hz", type=positive, default=20.0, help="frames a second (default: 20)")
    add("--json", type=output_file, help="write the result as JSON; missing folders are made")
    add_connection_options(parser)


async def bench(options: argparse.Namespace) -> int:
    """Run `bench`.

    Raises:
        SteerstreamError: something is wrong with the options or the server.
    """
    stop = asyncio.Event()
    with at_interrupt(stop.set):
        async with steerstream.connect(options.target, **connection_arguments(options)) as client:
            times = await _run(client, options, picture_of(options.kilobytes), stop)
    print(_table(times, options))
    _write(options, times.as_json())
    return INTERRUPTED if stop.is_set() else 0


async def doctor(options: argparse.Namespace) -> int:
    """Run `doctor`.

    Raises:
        SteerstreamError: something is wrong with the options or the server.
    """
    seconds = 2 * options.frames / options.rate_hz + _PAUSES * _PAUSE_S
    print(f"steerstream doctor: this takes about {seconds:.0f} s", file=sys.stderr)
    measured = await _examine(options)
    found = diagnose(measured)
    for diagnosis in found:
        print(_line(diagnosis))
    result = {"small": measured.small.as_json(), "large": measured.large.as_json()}
    diagnoses = {item.subject: {"finding": item.finding, "advice": item.advice} for item in found}
    _write(options, {**result, "diagnoses": diagnoses})
    return 0


async def _examine(options: argparse.Namespace) -> Measured:
    began_ns = time.monotonic_ns()
    wall_ahead_ns = time.time_ns() - began_ns
    async with steerstream.connect(options.target, **connection_arguments(options)) as client:
        connect_ms = (time.monotonic_ns() - began_ns) / 1e6
        async with _session(client, options) as session:
            view = session.info.view
        small = await _run(client, options, picture_of(VIEW_KB))
        large = await _run(client, options, picture_of(WHOLE_KB))
        pauses = [await _after_pause(client, options) for _ in range(_PAUSES)]
    return Measured(
        connect_ms=connect_ms,
        is_encrypted=connection_arguments(options)["tls"] is not None,
        is_local=is_local(options.target),
        headers=await _headers(options),
        view=view,
        small=small,
        large=large,
        after_pause_ms=float(np.median(pauses)),
        clock_step_ms=(time.time_ns() - time.monotonic_ns() - wall_ahead_ns) / 1e6,
        budget_ms=options.budget_ms,
        rate_hz=options.rate_hz,
    )


async def _run(
    client: Client,
    options: argparse.Namespace,
    picture: NDArray[np.uint8],
    stop: asyncio.Event | None = None,
) -> LinkTimes:
    async with _session(client, options) as session:
        return await measure(
            session,
            picture,
            frames=options.frames,
            rate_hz=options.rate_hz,
            budget_ms=options.budget_ms,
            stop=stop,
        )


async def _after_pause(client: Client, options: argparse.Namespace) -> float:
    """Return the link's time of a large frame after a pause, on a connection that was in use."""
    picture = picture_of(WHOLE_KB)
    async with _session(client, options) as session:
        await session.request(picture, **AS_IT_IS)
        await asyncio.sleep(_PAUSE_S)
        sent_ns = time.monotonic_ns()
        answer = await session.request(picture, **AS_IT_IS)
        link_ms = (answer.received_ns - sent_ns) / 1e6
        return link_ms - (answer.timings.total_us / 1e3 if isinstance(answer, Command) else 0.0)


def _session(client: Client, options: argparse.Namespace) -> SessionOpening[Session]:
    return client.open_session(
        vehicle_id=options.vehicle_id,
        model=options.model,
        budget_ms=options.budget_ms,
        frame_policy=FramePolicy.EVERY,
        frame_rate_hz=options.rate_hz,
    )


async def _headers(options: argparse.Namespace) -> dict[str, str]:
    """Return the metadata before a call's answer; proxies leave their names there."""
    given = connection_arguments(options)
    tls, token = given["tls"], bearer(given["token"])
    async with open_channel(options.target, tls=tls, timeout_s=_CALL_S) as channel:
        stub = DriveServiceStub(channel)
        call = stub.DescribeModels(DescribeModelsRequest(), timeout=_CALL_S, metadata=token)
        metadata = await call.initial_metadata()
        await call.code()
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _table(times: LinkTimes, options: argparse.Namespace) -> str:
    rows = {"round trip": times.round_trip, "server": times.server, "link": times.link}
    missed = times.frames - times.in_budget
    kilobytes = times.bytes_per_frame / 1000
    per_second = f"{kilobytes * options.rate_hz:.0f} kB/s"
    lines = [
        f"frames      {times.frames:>8}  of {kilobytes:.1f} kB, {per_second}",
        f"over budget {missed:>8}  without a command within {options.budget_ms:g} ms",
        "",
        f"{'latency, ms':<18}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}",
        *(latency_row(name, histogram.summary()) for name, histogram in rows.items()),
    ]
    return "\n".join(lines)


def _line(diagnosis: Diagnosis) -> str:
    mark = "!" if diagnosis.advice else " "
    line = f"{mark} {diagnosis.subject:<12}{diagnosis.finding}"
    return f"{line}\n{'':14}{diagnosis.advice}" if diagnosis.advice else line


def _write(options: argparse.Namespace, result: dict[str, Any]) -> None:
    if options.json:
        write_result(options.json, result)
