"""Conversion of any recording into another form, and the command `convert`."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from steerstream import whole_file
from steerstream.command_line import INTERRUPTED, at_interrupt, positive
from steerstream.errors import MediaError, OutputLost
from steerstream.progress import ProgressLine, bar
from steerstream.sources.arguments import add_read_options, read_options
from steerstream.sources.formats import open_recording
from steerstream.sources.labels import is_break
from steerstream.sources.labels_folder import LabelsFolder
from steerstream.sources.mcap_drive import McapDrive
from steerstream.sources.options import ReadOptions
from steerstream.sources.recording import RecordedFrame, Recording

_BETWEEN_DRIVES_NS = 10_000_000_000
"""Put between two drives whose times alone do not show that they are two."""


class FrameWriter(Protocol):
    """What takes the frames of a conversion."""

    def add(self, frame: RecordedFrame) -> None:
        """Write a frame."""
        ...


@dataclasses.dataclass(slots=True)
class Written:
    """What a conversion wrote: frames, those with a steering label, and breaks."""

    frames: int = 0
    labelled: int = 0
    breaks: int = 0


class Stopped(Exception):  # noqa: N818 - it is no error
    """The conversion was to end early."""


def add_convert_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `convert`."""
    add = parser.add_argument
    add("source", metavar="IN", type=Path, help="a recording; docs/data.md lists the formats")
    add("out", metavar="OUT", type=Path, help="folder to write, with labels.csv and frames/,"
        " or a file of messages whose name ends in .mcap")  # fmt: skip
    add("--split", default="", help="only frames of this split of the recording")
    add("--rate-hz", type=positive, help="pictures a second of a recording that tells no times")
    add_read_options(parser)


async def convert(options: argparse.Namespace) -> int:
    """Run `convert`.

    Raises:
        SteerstreamError: something is wrong with the recording, or it cannot be written.
    """
    reading = read_options(options, options.rate_hz)
    recording = open_recording(options.source, reading, options.format)
    if options.split:
        recording = recording.of_split(options.split)
    for assumed in recording.assumed:
        if assumed not in reading.unit_unknown:  # That is refused below, with the same advice.
            print(f"steerstream convert: {assumed}", file=sys.stderr)
    stop = threading.Event()
    try:
        with at_interrupt(stop.set):
            written = await asyncio.to_thread(
                write_recording, recording, options.out, reading, is_stopped=stop.is_set
            )
    except Stopped:
        return INTERRUPTED
    finally:
        for line in reading.bad_rows.summary():
            print(f"steerstream convert: {line}", file=sys.stderr)
    print(
        f"{options.out}: {written.frames} frames, {written.labelled} with a steering angle,"
        f" {written.breaks} breaks"
    )
    return 0


def write_recording(
    recording: Recording,
    out: Path,
    options: ReadOptions,
    *,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Written:
    """Write a recording as a folder with a labels file, or as an MCAP file.

    It is there once it is whole.

    Args:
        recording: what to write.
        out: it must not be there, or be an empty folder; the name of an MCAP file ends in `.mcap`.
        options: by which the recording was opened.
        is_stopped: whether to end early; then nothing is written.

    Raises:
        MediaError: it is there already, a part of the recording cannot be read, or nobody said
            what its steering of -1 to 1 means.
        OutputLost: it cannot be written.
        MissingExtra: a package is needed and not installed.
        Stopped: the conversion was to end early.
    """
    if set(options.unit_unknown) & set(recording.assumed):
        raise MediaError(f"{recording.name}: its steering is -1 to 1: give --max-angle-deg")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MediaError(f"{out} is there already; give another name")
    kind = McapDrive if out.suffix.lower() == ".mcap" else LabelsFolder
    try:
        if out.exists():
            out.rmdir()
        with whole_file.replacing(out) as part, kind(part) as writer:
            return _write(recording, writer, options, is_stopped)
    except OSError as error:
        raise OutputLost(f"cannot write {out}: {error.strerror}") from error


def _write(
    recording: Recording,
    writer: FrameWriter,
    options: ReadOptions,
    is_stopped: Callable[[], bool],
) -> Written:
    written = Written()
    with ProgressLine() as line:
        for frame in _apart(recording, options):
            if is_stopped():
                raise Stopped
            try:
                writer.add(frame)
            except MediaError as error:
                options.bad_rows.found(frame.place, "a picture cannot be read", str(error))
                continue
            written.frames += 1
            written.breaks += frame.starts_anew
            truth = frame.truth
            written.labelled += truth is not None and truth.steering_wheel_angle_rad is not None
            line.show(_progress(written.frames, recording.count))
    return written


def _progress(frames: int, count: int | None) -> str:
    return f"converting {bar(frames, count)} {frames}/{count}" if count else f"{frames} frames"


def _apart(recording: Recording, options: ReadOptions) -> Iterator[RecordedFrame]:
    """Yield frames whose times show all breaks, as a labels file has no other sign of them."""
    shift_ns, before_ns = 0, None
    for frame in recording.frames():
        time_ns = frame.capture_time_ns + shift_ns
        if before_ns is not None:
            step_ns = time_ns - before_ns
            if step_ns == 0:
                options.bad_rows.found(frame.place, "its time is that of the frame before")
                continue
            if frame.starts_anew and not is_break(step_ns, recording.period_ns):
                shift_ns += _BETWEEN_DRIVES_NS
                time_ns += _BETWEEN_DRIVES_NS
        before_ns = time_ns
        yield dataclasses.replace(frame, capture_time_ns=time_ns)
