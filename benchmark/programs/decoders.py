"""Times ways from a JPEG to the network's input on one core, and scores the network on each.

`python -m benchmark decode` runs it as a separate process, because it imports `model_export`:

```sh
python -m benchmark.programs.decoders --model models/pilotnet_lstm.onnx --data ../shared/data
```

Decoders that are not installed are left out. It prints one JSON object.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import simplejpeg

from benchmark.loadgen import synthetic_road
from model_export.data.labels import read_labels
from model_export.errors import ModelExportError
from model_export.evaluation.bundle_runner import BundleRunner
from steerstream.command_line import Parser, count
from steerstream_bundle import pictures
from steerstream_bundle.contract import FrameInput
from steerstream_bundle.pictures import Image, JpegImage, Nv12Image, RawImage
from steerstream_bundle.preprocess import Picture, crop

Way = Callable[[bytes, FrameInput], Picture]


class Row(NamedTuple):
    """One frame of a recording: its file, its label, and whether the state is reset before it."""

    path: Path
    angle_rad: float
    starts: bool


_FOLDER = "udacity_ch2_hmb3"
_PICTURES = 60
_MAX_PIXELS = 4096 * 4096
_WHOLE = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_HALF = cv2.IMREAD_REDUCED_GRAYSCALE_2 | _WHOLE
_SIZES = ((640, 480), (320, 240))


def served(data: bytes, frame: FrameInput) -> Picture:
    """Return the network's input as the server makes it."""
    return pictures.to_input(JpegImage(data), frame, _MAX_PIXELS)


def opencv(flags: int, interpolation: int) -> Way:
    """Return the way through OpenCV's decoder at one scale."""

    def way(data: bytes, frame: FrameInput) -> Picture:
        picture = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags), np.uint8)
        return _fit(picture, frame, interpolation)

    return way


def turbo(eighths: int, interpolation: int, **options: bool) -> Way:
    """Return the way through libjpeg-turbo at one scale, in eighths."""

    def way(data: bytes, frame: FrameInput) -> Picture:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        least = {"min_height": -(-height * eighths // 8), "min_width": -(-width * eighths // 8)}
        return _fit(simplejpeg.decode_jpeg(data, **least, **options), frame, interpolation)

    return way


def others() -> dict[str, Way]:
    """Return the ways through further decoders, those of them that are installed."""
    found: dict[str, Way] = {}
    for module, function in (
        ("imagecodecs", "jpeg8_decode"),
        ("imgread", "load_numpy_simple_from_bytes"),
        ("ajpegli", "imdecode"),
    ):
        try:
            decode = getattr(importlib.import_module(module), function)
        except ImportError:
            continue
        found[f"{module}, whole, linear"] = _way(decode)
    return found


def ways() -> dict[str, Way]:
    """Return all ways by name; the first is the server's."""
    area, linear = cv2.INTER_AREA, cv2.INTER_LINEAR
    scaled = {
        f"simplejpeg, {eighths}/8, linear": turbo(eighths, linear) for eighths in (8, 7, 6, 5, 4, 3)
    }
    return {
        "as served": served,
        "OpenCV, whole, area": opencv(_WHOLE, area),
        "OpenCV, whole, linear": opencv(_WHOLE, linear),
        "OpenCV, half, linear": opencv(_HALF, linear),
        "simplejpeg, 8/8, area": turbo(8, area),
        **scaled,
        "simplejpeg, 4/8, area": turbo(4, area),
        "simplejpeg, 8/8, linear, fast DCT": turbo(8, linear, fastdct=True, fastupsample=True),
        **others(),
    }


def timings(
    calls: Mapping[str, Callable[[Any], object]], items: Sequence[object], rounds: int
) -> dict[str, dict[str, float]]:
    """Return microseconds for one item by name: the best round and the median one.

    Args:
        calls: what is timed, by name; they take turns.
        items: what each is called with.
        rounds: turns of each.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _, (name, call) in itertools.product(range(rounds), calls.items()):
        began_ns = time.perf_counter_ns()
        for item in items:
            call(item)
        found[name].append((time.perf_counter_ns() - began_ns) / len(items) / 1000)
    return {
        name: {"best_us": min(values), "median_us": statistics.median(values)}
        for name, values in found.items()
    }


def rmse(runner: BundleRunner, rows: Sequence[Row], way: Way) -> float:
    """Return the steering RMSE over a recording in radians.

    Args:
        runner: the network; its state is carried, and reset at breaks.
        rows: the recording.
        way: from a JPEG to the network's input.
    """
    errors, state = [], runner.initial_state(1)
    for row in rows:
        if row.starts:
            state = runner.initial_state(1)
        picture = way(row.path.read_bytes(), runner.contract.frame)
        outputs, state = runner.step(picture[np.newaxis], state)
        errors.append(float(outputs[0][0]) - row.angle_rad)
    return float(np.sqrt(np.mean(np.square(errors))))


def accuracy(
    runner: BundleRunner, data: Path, chosen: Mapping[str, Way]
) -> dict[str, dict[str, float]]:
    """Return the RMSE of each way, in radians, by size of the pictures.

    Args:
        runner: the network.
        data: the folder with the driving data; all validation frames have 320x240 pixels, one
            block of them exists with 640x480 as well.
        chosen: the ways by name.
    """
    labels = data / _FOLDER / "labels.csv"
    if not labels.is_file():
        return {}
    table = read_labels(labels).of_split("validation")
    angles = table.labels[:, 0].astype(float)
    small = [Row(*row) for row in zip(table.images, angles, table.starts, strict=True)]
    folder = data / _FOLDER / "raw640_block11"
    large = [row._replace(path=folder / row.path.name) for row in small]
    recordings = {"320x240": small, "640x480": [row for row in large if row.path.is_file()]}
    return {
        name: {size: rmse(runner, rows, way) for size, rows in recordings.items() if rows}
        for name, way in chosen.items()
    }


def measure(runner: BundleRunner, data: Path, rounds: int) -> dict[str, Any]:
    """Return everything that `benchmark.commands.decode` shows.

    Args:
        runner: the network.
        data: the folder with the driving data.
        rounds: turns of each way, of which the best counts.
    """
    frame = runner.contract.frame
    calls = {name: _prepared(way, frame) for name, way in ways().items()}
    jpegs = {
        f"{source} {width}x{height}": timings(calls, files, rounds)
        for source, width, height, files in _files(data)
    }
    return {"jpeg": jpegs, "raw": _raw(frame, rounds), "rmse_rad": accuracy(runner, data, ways())}


def main() -> int:
    """Measure on one core and print the results; return the exit code."""
    parser = Parser(prog="python -m benchmark.programs.decoders", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="bundle to decode for")
    parser.add_argument("--data", type=Path, required=True, help="folder with the driving data")
    parser.add_argument("--rounds", type=count, default=7, help="rounds, of which the best counts")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    try:
        results = measure(BundleRunner(options.model), options.data, options.rounds)
    except ModelExportError as error:
        print(f"decoders: {error}", file=sys.stderr)
        return 2
    print(json.dumps(results))
    return 0


def _fit(picture: Picture, frame: FrameInput, interpolation: int) -> Picture:
    size = (frame.width_px, frame.height_px)
    region = crop(picture, frame.crop)
    return np.asarray(cv2.resize(region, size, interpolation=interpolation), np.uint8)


def _way(decode: Callable[[bytes], Picture]) -> Way:
    return lambda data, frame: _fit(np.asarray(decode(data)), frame, cv2.INTER_LINEAR)


def _prepared(way: Way, frame: FrameInput) -> Callable[[bytes], Picture]:
    return lambda data: way(data, frame)


def _files(data: Path) -> Iterator[tuple[str, int, int, list[bytes]]]:
    """Yield source, width, height and files: a camera's where they are there, and made ones."""
    for (width, height), folder in zip(_SIZES, ("raw640_block11", "frames"), strict=True):
        paths = sorted((data / _FOLDER / folder).glob("*.jpg"))
        if paths:
            chosen = paths[:: max(1, len(paths) // _PICTURES)][:_PICTURES]
            yield "camera", width, height, [path.read_bytes() for path in chosen]
        made = synthetic_road.road_pictures(8, width_px=width, height_px=height)
        yield "made", width, height, synthetic_road.jpegs(made)


def _raw(frame: FrameInput, rounds: int) -> dict[str, dict[str, float]]:
    """Return the timings of raw pixels and raw video by size and kind."""
    found = {}
    for width, height in (*_SIZES, (frame.width_px, frame.height_px)):
        made = synthetic_road.road_pictures(8, width_px=width, height_px=height)
        images: dict[str, list[Image]] = {
            "rgb8": [RawImage(width, height, picture.tobytes()) for picture in made],
            # The colours do not matter to the time.
            "nv12": [
                Nv12Image(width, height, picture.tobytes()[: picture.size // 2], full_range=True)
                for picture in made
            ],
        }
        for kind, items in images.items():
            call = {kind: lambda image: pictures.to_input(image, frame, _MAX_PIXELS)}
            found[f"{kind} {width}x{height}"] = timings(call, items, rounds)[kind]
    return found


if __name__ == "__main__":
    sys.exit(main())
