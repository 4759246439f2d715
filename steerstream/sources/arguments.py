"""The options by which every command that reads recordings is told how."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from steerstream.command_line import positive
from steerstream.sources.formats import FORMATS
from steerstream.sources.options import BadRows, ReadOptions


def add_read_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of reading a recording, but for its path and its rate."""
    add = parser.add_argument_group("reading a recording").add_argument
    add("--format", choices=FORMATS, default="", help="of the recording (default: by its content)")
    add("--images", type=Path, metavar="DIR", help="folder of the pictures that a file of labels"
        " names (default: the file's own)")  # fmt: skip
    add("--camera", default="", help="which of several cameras: a topic, a key or a name")
    add("--steering", default="", metavar="TOPIC:FIELD", help="where the steering is, if the"
        " format does not tell: topic:field, feature:name or a column")  # fmt: skip
    add("--max-angle-deg", type=positive, metavar="DEG", help="steering wheel angle at a steering"
        " of 1, for recordings whose steering is -1 to 1")  # fmt: skip
    add("--flip-steering", action="store_true", help="the recording's steering has the other sign"
        " than its format says")  # fmt: skip
    add("--skip-bad", action="store_true", help="skip rows that cannot be read, and count them; by"
        " default the first one is refused")  # fmt: skip


def read_options(options: argparse.Namespace, rate_hz: float | None = None) -> ReadOptions:
    """Return what a command line says about reading a recording.

    Args:
        options: with those that `add_read_options` added.
        rate_hz: pictures a second where the recording tells no times.
    """
    degrees = options.max_angle_deg
    return ReadOptions(
        images=options.images,
        rate_hz=rate_hz,
        max_angle_rad=None if degrees is None else math.radians(degrees),
        flip_steering=options.flip_steering,
        camera=options.camera,
        steering=options.steering,
        bad_rows=BadRows(skip=options.skip_bad),
    )
