"""`steerstream simulate`: close the loop through a server, or just look at roads."""

from __future__ import annotations

import argparse
import functools
import importlib
import math
import os
import sys

from steerstream import Encoding, SteerstreamError
from steerstream.command_line import (
    BROKE_OFF,
    INTERRUPTED,
    Parser,
    count,
    default_vehicle_id,
    error_text,
    exit_code,
    not_negative,
    output_file,
    png_file,
    positive,
    share,
    sigterm_interrupts,
    whole,
)
from steerstream.connection_options import add_connection_options, connection_arguments
from steerstream.drive.video import video_file
from steerstream.extras import command_needs
from steerstream_simulation.road import EVALUATION_SEEDS

with command_needs("steerstream simulate", "sim"):
    import cv2

    from steerstream_simulation import answer_hole, picture_drive, road_drive
    from steerstream_simulation.camera import CameraConfig
    from steerstream_simulation.closed_loop import RATE_HZ, DriverStoppedError
    from steerstream_simulation.latency import ROUND_TRIP, Latency, StatedLatency, read_trace
    from steerstream_simulation.picture_world import PUT_BACK_BEYOND_M, STARTS_M
    from steerstream_simulation.recorded_drive import DEFAULT_SPEED_MPS
    from steerstream_simulation.report import table
    from steerstream_simulation.sheet import write_sheet

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SMALLEST_PX, _LARGEST_PX = 64, 1920
_MOST_LOSS = 0.9
_FOV_BOUNDS_DEG, _HEIGHT_BOUNDS_M = (10.0, 120.0), (0.5, 3.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code."""
    options = vars(_parser().parse_args(arguments))
    # The world shares the machine with a server; OpenCV's own threads would take its cores.
    cv2.setNumThreads(1)
    given = dict(options)
    run = options.pop("run")
    if "size" in options:
        width_px, height_px = options.pop("size")
        options["camera"] = CameraConfig(
            width_px=width_px,
            height_px=height_px,
            field_of_view_rad=math.radians(options.pop("fov_deg")),
            mount_height_m=options.pop("height_m"),
        )
    try:
        with sigterm_interrupts():
            run(**options)
    except (SteerstreamError, DriverStoppedError, OSError) as error:
        sys.stderr.write(f"steerstream simulate: {error_text(error, given)}\n")
        return BROKE_OFF if isinstance(error, DriverStoppedError) else exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _drive(parser: argparse.ArgumentParser, **options: Any) -> None:  # noqa: ANN401 - of `_add_drive`
    del options["lock_step"]
    _connect(options)
    options["latency"] = _latency(parser, options)
    if options["real_time"] and options["latency"] is not None:
        parser.error("argument --real-time: takes answers as they come, so it has no latency of "
            "its own to be stated")  # fmt: skip
    if options["kill"] and not (options["real_time"] and len(options["targets"]) > 1):
        parser.error("argument --kill: needs --real-time, and a second --target to go on at")
    if len(options["kill"]) > len(options["targets"]):
        parser.error("argument --kill: give one process for each --target at most")
    if options["real_time"] and options["delay_ms"] is not None:
        parser.error("argument --delay-ms: not allowed with argument --real-time")
    if options["plot"] is not None:
        with command_needs("steerstream simulate", "sim"):
            importlib.import_module("steerstream_simulation.plot")
    road_drive.drive(road_drive.DriveOptions(**options), lambda report: print(table(report)))


def _connect(options: dict[str, Any]) -> None:
    """Put what the options of the connection say in their place."""
    options["connection"] = connection_arguments(argparse.Namespace(**options))
    for name in ("tls", "tls_ca", "tls_cert", "tls_key", "token_file"):
        del options[name]


def _latency(parser: argparse.ArgumentParser, options: dict[str, Any]) -> Latency | None:
    """Take the options of a latency trace out of the others; None where there are none."""
    trace, names = options.pop("latency_trace"), ("jitter_ms", "loss", "loss_burst_ms")
    jitter_ms, loss, burst_ms = (options.pop(name) for name in names)
    stated = (options["delay_ms"], jitter_ms, loss, burst_ms)
    if trace is not None:
        if any(value is not None for value in stated):
            parser.error("argument --latency-trace: not allowed with a latency that is stated")
        return read_trace(trace)
    if burst_ms is not None and loss is None:
        parser.error("argument --loss-burst-ms: needs --loss")
    if jitter_ms is None and loss is None:
        return None
    return StatedLatency(
        delay_ms=options["delay_ms"] or 0.0,
        jitter_ms=jitter_ms or 0.0,
        loss=loss or 0.0,
        burst_ms=burst_ms or 0.0,
    )


def _pictures(parser: argparse.ArgumentParser, **options: Any) -> None:  # noqa: ANN401 - of `_add_pictures`
    _connect(options)
    options["latency"] = _latency(parser, options)
    given = picture_drive.PictureDriveOptions(**options)
    picture_drive.drive(given, lambda report: print(table(report)))


def _hole(**options: Any) -> None:  # noqa: ANN401 - of `_add_hole`
    given = answer_hole.HoleOptions(**options)
    answer_hole.drive(given, lambda report: print(answer_hole.table(report)))


def _parser() -> Parser:
    parser = Parser(prog="steerstream simulate", description=__doc__)
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_drive(subcommands.add_parser("drive", help="drive a road through a server"))
    _add_pictures(subcommands.add_parser("pictures", help="drive on a recording's pictures"))
    _add_hole(subcommands.add_parser("hole", help="drive with a hole in the answers, in a bend"))
    _add_render(subcommands.add_parser("render", help="let the expert drive, without a server"))
    _add_sheet(subcommands.add_parser("sheet", help="draw pictures of several roads"))
    return parser


def _add_drive(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Drive a road through a server and report how well the lane was kept. A command acts on "
        "the vehicle when its answer arrives, not before. No network was trained on the roads "
        f"{EVALUATION_SEEDS.start} to {EVALUATION_SEEDS.stop - 1}."
    )
    _add_server(parser)
    _add_world(parser)
    parser.add_argument(
        "--speed",
        dest="speed_mps",
        type=positive,
        metavar="MPS",
        help="drive at this speed whatever is commanded, on a road whose bends are built for it",
    )
    time = parser.add_mutually_exclusive_group()
    time.add_argument(
        "--lock-step",
        action="store_true",
        help="simulated time: wait for each answer and charge what it took (the default)",
    )
    time.add_argument(
        "--real-time",
        action="store_true",
        help="keep up with the wall clock; as with a stated latency, each time the guard lets go "
        "counts as an intervention",
    )
    parser.add_argument(
        "--kill",
        type=_process,
        action="append",
        default=[],
        metavar="PID",
        help="kill this process, that of the first --target, with SIGKILL in the sharpest bend; "
        "the picture then shows the moment. Give it again for the second --target, and so on: the "
        "one that drives the vehicle by then is killed, and no other",
    )
    parser.add_argument(
        "--save",
        type=video_file,
        metavar="FILE.mp4",
        help="write a video there; missing folders are made",
    )
    parser.add_argument(
        "--plot",
        type=png_file,
        metavar="FILE.png",
        help="draw the drive there; missing folders are made",
    )
    parser.set_defaults(run=functools.partial(_drive, parser))


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    starts = ", ".join(f"{start:+g}" for start in STARTS_M)
    parser.description = (
        "Drive on the pictures of a recording through a server. Each picture is reprojected for "
        "where the vehicle is beside the recorded path; the recorded angles say how the path "
        f"bends. Each stretch without a break is driven from {starts} m beside the path; beyond "
        f"{PUT_BACK_BEYOND_M:g} m the vehicle is put back."
    )
    parser.add_argument(
        "labels", type=Path, metavar="LABELS.csv", help="the recording (docs/data.md)"
    )
    _add_server(parser)
    parser.add_argument("--split", metavar="NAME", help="rows of one split only (default: all)")
    parser.add_argument(
        "--blocks",
        nargs="+",
        default=[],
        metavar="NAME",
        help="these blocks only, such as those that a training held out (default: all)",
    )
    parser.add_argument(
        "--speed",
        dest="speed_mps",
        type=positive,
        default=DEFAULT_SPEED_MPS,
        metavar="MPS",
        help=f"of rows that have no speed (default: {DEFAULT_SPEED_MPS:g})",
    )
    parser.set_defaults(run=functools.partial(_pictures, parser))


def _add_hole(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Drive roads in simulated time, and have no answer arrive for a while where a bend changes "
        "most: once the vehicle's guard holds the last command, once it plays its horizon. Report "
        "how far the vehicle is led astray from where it would have been without a hole."
    )
    parser.add_argument(
        "--target",
        required=True,
        action="append",
        dest="targets",
        metavar="HOST:PORT",
        help="the server",
    )
    parser.add_argument(
        "--hole-ms",
        dest="holes_ms",
        type=positive,
        nargs="+",
        default=[150.0, 300.0, 500.0],
        metavar="MS",
        help="how long no answer arrives (default: 150 300 500)",
    )
    parser.add_argument("--roads", type=count, default=10, metavar="N", help="default: 10")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=30.0,
        help="of the road in whose middle the bend is (default: 30)",
    )
    parser.add_argument(
        "--delay-ms",
        type=not_negative,
        default=50.0,
        metavar="MS",
        help="a command acts so long after its picture was taken (default: 50)",
    )
    parser.add_argument("--model", help="a served model (default: the server's)")
    parser.add_argument(
        "--json",
        type=output_file,
        metavar="FILE",
        help="write the report there; missing folders are made",
    )
    _add_camera(parser)
    parser.set_defaults(run=_hole)


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        required=True,
        action="append",
        dest="targets",
        metavar="HOST:PORT",
        help="the server; give it again for others, at which the vehicle goes on where one is lost",
    )
    parser.add_argument(
        "--delay-ms",
        type=not_negative,
        metavar="MS",
        help="in lock-step, a command acts so long after its picture was taken, in place of what "
        "the answer really took, so that a drive can be repeated on a slower machine",
    )
    _add_latency(parser)
    parser.add_argument(
        "--act-in-ms",
        type=not_negative,
        metavar="MS",
        help="what a network that takes it is told of when its commands act (default: --delay-ms, "
        "or what is measured in real time and with jitter, loss or a trace)",
    )
    parser.add_argument(
        "--budget-ms",
        type=positive,
        default=50.0,
        help="time that a frame may take (default: 50)",
    )
    parser.add_argument("--model", help="a served model (default: the server's)")
    parser.add_argument(
        "--vehicle-id",
        default=default_vehicle_id("simulate"),
        help="name of the vehicle in the server's log (default: steerstream-simulate, the host and "
        "the process)",
    )
    add_connection_options(parser)
    parser.add_argument(
        "--encoding",
        type=_encoding,
        default=Encoding.AUTO,
        help="how pictures are sent: jpeg, rgb8 or auto (the default: jpeg)",
    )
    parser.add_argument(
        "--whole-frames",
        action="store_true",
        help="send whole pictures; by default they are cropped and scaled as the server asks",
    )
    parser.add_argument(
        "--json",
        type=output_file,
        metavar="FILE",
        help="write the report there; missing folders are made",
    )


def _add_latency(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "latency in simulated time",
        "With one of these the vehicle's guard bridges what is late or lost, as on a vehicle. "
        "Each time it lets go counts as an intervention, because a driver takes over then. Nobody "
        "sits in this vehicle, so it keeps its last values; the line `guard` says for how long.",
    )
    group.add_argument(
        "--jitter-ms",
        type=not_negative,
        metavar="MS",
        help="spread delays evenly so far to either side of --delay-ms",
    )
    group.add_argument("--loss", type=_loss, metavar="P", help="share of pictures lost, 0 to 0.9")
    group.add_argument(
        "--loss-burst-ms",
        type=positive,
        metavar="MS",
        help="lose them in bursts of this length in the mean (default: each on its own)",
    )
    group.add_argument(
        "--latency-trace",
        type=Path,
        metavar="PATH",
        help="take round trips and losses from a flight recording of `steerstream drive --record`, "
        f"or from a .csv with a column {ROUND_TRIP}, empty for a loss",
    )
    group.add_argument(
        "--latency-seed",
        type=whole,
        default=0,
        metavar="N",
        help="draws what is left to chance (default: 0)",
    )


def _add_render(parser: argparse.ArgumentParser) -> None:
    _add_world(parser)
    parser.add_argument(
        "--save",
        type=video_file,
        required=True,
        metavar="FILE.mp4",
        help="the video; missing folders are made",
    )
    parser.set_defaults(run=road_drive.render)


def _add_sheet(parser: argparse.ArgumentParser) -> None:
    _add_camera(parser)
    parser.add_argument(
        "--seeds", type=_seeds, default=range(6), metavar="A..B", help="default: 0..5"
    )
    parser.add_argument(
        "--save",
        type=png_file,
        required=True,
        metavar="FILE.png",
        dest="path",
        help="the picture; missing folders are made",
    )
    parser.set_defaults(run=write_sheet)


def _add_world(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=whole, default=0, help="draws the road (default: 0)")
    parser.add_argument(
        "--seconds", type=_seconds, default=60.0, help="length of the drive (default: 60)"
    )
    _add_camera(parser)


def _add_camera(parser: argparse.ArgumentParser) -> None:
    camera = CameraConfig()
    parser.add_argument(
        "--size",
        type=_size,
        default=(camera.width_px, camera.height_px),
        metavar="WIDTHxHEIGHT",
        help="of the pictures (default: 320x240)",
    )
    parser.add_argument(
        "--camera-fov-deg",
        dest="fov_deg",
        type=_field_of_view_deg,
        default=math.degrees(camera.field_of_view_rad),
        metavar="DEG",
        help="of the camera's lens, 10 to 120 (default: 18, as the networks were trained); a wide "
        "one needs larger pictures for the network to see as much",
    )
    parser.add_argument(
        "--camera-height-m",
        dest="height_m",
        type=_height_m,
        default=camera.mount_height_m,
        metavar="M",
        help="of the camera above the road, 0.5 to 3 (default: 1.3)",
    )


def _seconds(text: str) -> float:
    seconds = positive(text)
    if round(seconds * RATE_HZ) < 1:
        raise argparse.ArgumentTypeError(f"needs a frame or more, {1 / RATE_HZ:g} s, not {text!r}")
    return seconds


def _loss(text: str) -> float:
    loss = share(text)
    if loss > _MOST_LOSS:
        raise argparse.ArgumentTypeError(f"needs a number from 0 to {_MOST_LOSS:g}, not {text!r}")
    return loss


def _field_of_view_deg(text: str) -> float:
    return _between(text, *_FOV_BOUNDS_DEG)


def _height_m(text: str) -> float:
    return _between(text, *_HEIGHT_BOUNDS_M)


def _between(text: str, low: float, high: float) -> float:
    value = positive(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be from {low:g} to {high:g}, not {text!r}")
    return value


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    sides = (width, height)
    if not all(
        side.isascii() and side.isdecimal() and _SMALLEST_PX <= int(side) <= _LARGEST_PX
        for side in sides
    ):
        raise argparse.ArgumentTypeError(
            f"give WIDTHxHEIGHT with {_SMALLEST_PX} to {_LARGEST_PX} pixels a side, such as "
            f"320x240, not {text!r}"
        )
    return int(width), int(height)


def _seeds(text: str) -> range:
    first, dots, last = text.partition("..")
    seeds = range(whole(first), whole(last if dots else first) + 1)
    if not seeds:
        raise argparse.ArgumentTypeError(f"give A..B with A not greater than B, not {text!r}")
    return seeds


def _process(text: str) -> int:
    pid = count(text)
    try:
        # Signal 0 is sent to nobody: it asks whether the process may be killed.
        os.kill(pid, 0)
    except (OSError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"cannot kill process {text}: {error}") from None
    return pid


def _encoding(text: str) -> Encoding:
    try:
        return Encoding(text)
    except ValueError:
        known = ", ".join(encoding.value for encoding in Encoding)
        raise argparse.ArgumentTypeError(f"give one of {known}, not {text!r}") from None
