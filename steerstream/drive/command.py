"""The command `drive`: options in, exit code out."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import steerstream
from steerstream.acting_delay import ActingDelay
from steerstream.camera_file import read_camera
from steerstream.command_line import (
    BROKE_OFF,
    INTERRUPTED,
    at_interrupt,
    count,
    default_vehicle_id,
    not_negative,
    output_file,
    png_file,
    positive,
    write_result,
)
from steerstream.connection_options import add_connection_options, connection_arguments
from steerstream.drive import report
from steerstream.drive.hand_overs import HandOvers
from steerstream.drive.plot import SteeringPlot
from steerstream.drive.recorder import Recorder
from steerstream.drive.runner import Drive
from steerstream.drive.sources import Source, open_source
from steerstream.drive.tally import Tally
from steerstream.drive.video import video_file
from steerstream.drive_session import DriveSession
from steerstream.errors import MediaError
from steerstream.extras import command_needs, has_simplejpeg
from steerstream.images import ViewUse
from steerstream.models import FramePolicy
from steerstream.progress import ProgressLine
from steerstream.session import VehicleSession
from steerstream.sources.arguments import add_read_options, read_options
from steerstream.sources.options import ReadOptions

if TYPE_CHECKING:
    from steerstream.recording import FlightRecorder


def add_drive_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `drive`."""
    add = parser.add_argument
    add("--source", required=True, help="a recording (docs/data.md lists the formats), or a camera:"
        " its number, device, RTSP address or GStreamer pipeline")  # fmt: skip
    add("--labels", type=Path, help="CSV file with the truth; only its pictures are sent, in order")
    add("--split", help="only frames of this split of a recording, such as validation")
    add("--target", required=True, action="append", dest="targets", metavar="HOST:PORT",
        help="the server; give it again for others, to go on there where one is lost")  # fmt: skip
    add("--model", help="name of a served model (default: the server's default)")
    add("--vehicle-id", default=default_vehicle_id("drive"), help="name of the vehicle in the"
        " server's log (default: steerstream-drive, the host and the process)")  # fmt: skip
    add("--budget-ms", type=positive, default=50.0, help="latency budget of a frame (default: 50)")
    add("--policy", choices=("latest", "every"), help="frame policy (default: latest in real time,"
        " every with --as-fast-as-possible)")  # fmt: skip
    add("--rate-hz", type=positive, help="pictures a second (default: the source's own)")
    add("--camera-file", type=Path, metavar="FILE.toml", help="describes the camera, so that its"
        " pictures are mapped to those that the network was trained with")  # fmt: skip
    add("--act-in-ms", type=not_negative, help="what a network that takes it is told of when its"
        " commands act (default: measured with a camera, else nothing)")  # fmt: skip
    add("--whole-frames", action="store_true", help="send whole pictures; by default they are"
        " cropped and scaled as the server asks")  # fmt: skip
    add("--as-fast-as-possible", action="store_true", help="send a picture when the one before is"
        " answered, not when it is due")  # fmt: skip
    add(
        "--save",
        type=video_file,
        help="write a video with steering and latency drawn over, .mp4; missing folders are made",
    )
    add("--plot", type=png_file, help="draw steering over time, as predicted and as recorded, .png;"
        " missing folders are made")  # fmt: skip
    add("--record", metavar="PATH", type=_recording, help="write a flight recording: a file whose"
        " name ends in .mcap, or a folder, where the oldest files make room")  # fmt: skip
    add("--record-bytes", type=count, metavar="N", help="bytes of all recordings in the folder of"
        " --record (default: a gigabyte)")  # fmt: skip
    add("--rerun", metavar="TO", nargs="?", const="viewer", help="show the drive in Rerun: in a"
        " viewer here, in one at the address TO, or in a file TO that ends in .rrd")  # fmt: skip
    add("--json", type=output_file, help="write the result as JSON; missing folders are made")
    add_connection_options(parser)
    add_read_options(parser)


def _recording(text: str) -> Path:
    """Read the path of a recording: a file of .mcap, or a folder, which may be there already."""
    path = Path(text)
    if path.suffix not in {"", ".mcap"} and not path.is_dir():
        raise argparse.ArgumentTypeError(
            f"needs a file's name that ends in .mcap, or a folder's without a dot, not {text!r}"
        )
    return path


async def drive(options: argparse.Namespace) -> int:
    """Run `drive`.

    Raises:
        SteerstreamError: something is wrong with the options, the source or the server.
    """
    reading = read_options(options, options.rate_hz)
    source = open_source(
        options.source,
        reading,
        labels=options.labels,
        split=options.split,
        name=options.format,
    )
    for assumed in source.assumed:
        print(f"steerstream drive: {assumed}", file=sys.stderr)
    async with (
        _recorder(options) as recorder,
        steerstream.connect(options.targets, **connection_arguments(options)) as client,
        _opener(client, options.targets)(
            vehicle_id=options.vehicle_id,
            model=options.model,
            budget_ms=options.budget_ms,
            frame_policy=_policy(options),
            frame_rate_hz=None if options.as_fast_as_possible else source.rate_hz,
            live=source.is_live,
            observer=recorder,
            acting=ActingDelay(fixed_ms=options.act_in_ms),
            camera=read_camera(options.camera_file) if options.camera_file else None,
        ) as session,
    ):
        return await _run(options, source, reading, session)


def _opener(
    client: steerstream.Client, targets: Sequence[str]
) -> Callable[..., contextlib.AbstractAsyncContextManager[VehicleSession]]:
    """Return what opens a session: among several servers one that goes on at another."""
    return client.drive_session if len(targets) > 1 else client.open_session


@contextlib.asynccontextmanager
async def _recorder(options: argparse.Namespace) -> AsyncIterator[FlightRecorder | None]:
    """Record the drive, if asked for, and say afterwards what was dropped."""
    if options.record is None:
        if options.record_bytes:
            raise MediaError("--record-bytes bounds the folder of --record, which is missing")
        if options.rerun is None:
            yield None
            return
    with command_needs("steerstream drive --record", "record"):
        from steerstream.recording.flight_recorder import (  # noqa: PLC0415
            RING_BYTES,
            FlightRecorder,
        )
    sink = None
    if options.rerun is not None:
        with command_needs("steerstream drive --rerun", "rerun"):
            from steerstream.recording.rerun_log import RerunLog  # noqa: PLC0415
        sink = RerunLog(options.rerun)
    max_bytes = options.record_bytes or RING_BYTES
    async with FlightRecorder(options.record, max_bytes=max_bytes, sink=sink) as recorder:
        yield recorder
    if recorder.dropped:
        print(f"steerstream drive: the recording lacks {recorder.dropped} messages for which the "
            "disk was too slow", file=sys.stderr)  # fmt: skip


def _policy(options: argparse.Namespace) -> FramePolicy:
    if options.policy:
        return FramePolicy[options.policy.upper()]
    return FramePolicy.EVERY if options.as_fast_as_possible else FramePolicy.LATEST


async def _run(
    options: argparse.Namespace,
    source: Source,
    reading: ReadOptions,
    session: VehicleSession,
) -> int:
    tally, stop = Tally(options.budget_ms), asyncio.Event()
    hand_overs = None
    if isinstance(session, DriveSession):
        hand_overs = HandOvers(session, _note)
    elapsed_s = 0.0
    try:
        async with contextlib.AsyncExitStack() as stack:
            progress = stack.enter_context(ProgressLine())
            stack.enter_context(at_interrupt(stop.set))
            recorder = None
            if options.save:
                recorder = Recorder(
                    options.save,
                    rate_hz=source.rate_hz,
                    budget_ms=tally.budget_ms,
                    waits=options.as_fast_as_possible,
                )
                await stack.enter_async_context(recorder)
            plot = None
            if options.plot:
                plot = SteeringPlot(options.plot, f"{session.info.model.name} on {source.name}")
                # What was driven before an error or Ctrl-C is worth seeing too.
                stack.callback(plot.save)
            run = Drive(
                session,
                source,
                view=_view_use(options),
                tally=tally,
                progress=progress,
                recorder=recorder,
                plot=plot,
                hand_overs=hand_overs,
                stop=stop,
            )
            # The drive alone: drawing the plot and closing the video take seconds.
            began_s = time.monotonic()
            try:
                await (run.in_lock_step() if options.as_fast_as_possible else run.in_real_time())
            finally:
                elapsed_s = time.monotonic() - began_s
    finally:
        for line in reading.bad_rows.summary():
            print(f"steerstream drive: {line}", file=sys.stderr)
        # Figures from before an error are worth reading too, where there are any.
        if session.sent_bytes:
            _show(options, source, tally, session, elapsed_s=elapsed_s, hand_overs=hand_overs)
    if stop.is_set():
        return INTERRUPTED
    if tally.frames and not tally.commands:
        reasons = ", ".join(tally.skips) or "no answer came"
        _note(f"none of {tally.frames} frames got a command: {reasons} {tally.last_skip}".rstrip())
        return BROKE_OFF
    return 0


def _note(text: str) -> None:
    # A terminal's progress line is overwritten.
    begin = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(f"{begin}steerstream drive: {text}", file=sys.stderr)


def _view_use(options: argparse.Namespace) -> ViewUse:
    if options.whole_frames:
        return ViewUse.NEVER
    return ViewUse.ALWAYS if has_simplejpeg() else ViewUse.PIXELS


def _show(
    options: argparse.Namespace,
    source: Source,
    tally: Tally,
    session: VehicleSession,
    *,
    elapsed_s: float,
    hand_overs: HandOvers | None,
) -> None:
    tally.sent_bytes = session.sent_bytes
    try:
        print(report.as_table(tally, session.info, elapsed_s=elapsed_s))
        if hand_overs is not None:
            print(hand_overs.line())
    finally:  # Also where nobody reads that any more.
        if options.json:
            result = report.as_json(tally, session.info, source=source.name, elapsed_s=elapsed_s)
            if hand_overs is not None:
                result["hand_overs"] = hand_overs.summary()
            write_result(options.json, result)
