"""Records MetaDrive's own driver: pictures and a labels file, as training and `drive` read them."""

from __future__ import annotations

import asyncio
import csv
import math
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from steerstream.errors import OutputLost
from steerstream.images import encode_jpeg
from steerstream.progress import Progress
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import RATE_HZ
from steerstream_simulation.expert import Label
from steerstream_simulation.metadrive.engine import check_installed
from steerstream_simulation.metadrive.world import MetaDriveWorld
from steerstream_simulation.vehicle import Command

_COLUMNS = ("frame_id", "filename", "steering_angle_rad", "speed_mps", "block", "split")
_JPEG_QUALITY = 92
# A gap between maps that every reader takes for a break.
_GAP_S = 10.0
_PUSH_EVERY_S = (0.8, 2.5)
_PUSH_FOR_S = (0.3, 1.0)
# What the driver answers an offset of a metre with.
_PUSH_RAD = 3.0


class Pushes:
    """Turns the wheel away from what the driver wants, now and then, for up to a second.

    A driver that never errs shows no way back. What it would do is what is recorded, so the
    recording says how to come back from where it was pushed.

    Args:
        seed: draws the pushes.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 1])
        self._push_rad = 0.0
        self._ends_s = self._rng.uniform(*_PUSH_EVERY_S)

    def at(self, time_s: float) -> float:
        """Return the angle to add to the steering wheel, rad; times must not go back."""
        if time_s >= self._ends_s:
            starts = self._push_rad == 0.0
            self._push_rad = self._rng.uniform(-_PUSH_RAD, _PUSH_RAD) if starts else 0.0
            self._ends_s = time_s + self._rng.uniform(*(_PUSH_FOR_S if starts else _PUSH_EVERY_S))
        return self._push_rad


async def record(options: Namespace) -> None:
    """Drive maps and write `labels.csv` and `frames/`.

    Args:
        options: those of `steerstream bridge metadrive record`.

    Raises:
        OutputLost: a file cannot be written.
    """
    check_installed()
    camera = CameraConfig(field_of_view_rad=math.radians(options.fov_deg))
    world = MetaDriveWorld(seconds=options.seconds, camera=camera)
    frames = round(options.seconds * RATE_HZ)
    training = len(options.maps) - options.validation_maps
    try:
        (options.out / "frames").mkdir(parents=True, exist_ok=True)
        with (
            (options.out / "labels.csv").open("w", newline="", encoding="utf-8") as file,
            Progress("recording", frames * len(options.maps), "pictures") as progress,
        ):
            rows = csv.writer(file)
            rows.writerow(_COLUMNS)
            for index, seed in enumerate(options.maps):
                split = "train" if index < training else "validation"
                start_s = index * (options.seconds + _GAP_S)
                for time_s, name, label in _driven(world, seed, frames, options.out):
                    taken_ns = round((start_s + time_s) * 1e9)
                    angle, speed = label.steering_wheel_angle_rad, label.speed_mps
                    rows.writerow((taken_ns, name, f"{angle:.5f}", f"{speed:.3f}", seed, split))
                    progress.step()
                    # Ctrl-C is heard here.
                    await asyncio.sleep(0)
    except OSError as error:
        raise OutputLost(f"cannot write {options.out}: {error.strerror}") from error
    finally:
        world.close()


def _driven(
    world: MetaDriveWorld, seed: int, frames: int, out: Path
) -> Iterator[tuple[float, str, Label]]:
    """Drive one map; yield the time, the picture's name and the label of each frame."""
    world.start(seed)
    pushes = Pushes(seed)
    for number in range(frames):
        time_s = number / RATE_HZ
        world.advance_to(time_s)
        label = world.expert_label(1.0 / RATE_HZ)
        name = f"frames/{seed:06d}_{number:06d}.jpg"
        (out / name).write_bytes(encode_jpeg(world.capture(), quality=_JPEG_QUALITY))
        yield time_s, name, label
        angle = label.steering_wheel_angle_rad + pushes.at(time_s)
        world.command = Command(angle, label.speed_mps)
