"""The network without a server: what the same work costs where nothing is served.

It decodes, crops and steps in one loop on one core, with the server's own code, and answers orders
on standard input, so that it can take turns with a server::

    python -m benchmark.bare_loop --model models/pilotnet_lstm.onnx
    {"encoding": "jpeg", "width_px": 640, "height_px": 480, "sessions": 8, "seconds": 2.0}

This module and ``benchmark/gpu.py`` are the only ones here that import the server; it runs as a
process of its own, so that no client ever does.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import frames as pictures
from benchmark.requests import PICTURES
from service import frames
from service.bundle import Bundle, load
from service.config import Config
from service.domain import Image, JpegImage, RawImage
from service.errors import ServiceError
from service.runtime import Array

_TRIAL_S = 0.2


class BareLoop:
    """One network and the state of some sessions.

    Args:
        bundle: the network.
        images: what its sessions see, in turn.
        sessions: rows of recurrent state.
        batch: rows of a step.
    """

    def __init__(
        self, bundle: Bundle, images: Sequence[Image], *, sessions: int, batch: int
    ) -> None:
        self._bundle = bundle
        self._frame = bundle.contract.frame
        self._images = itertools.cycle(images)
        self._batch = batch
        self._states = itertools.cycle([_initial(bundle, batch) for _ in range(sessions // batch)])
        self._pixels = np.empty((batch, *self._frame.shape), np.uint8)
        self._max_pixels = Config().max_pixels

    def run(self, seconds: float) -> tuple[int, float]:
        """Step for a time; return the frames done and the seconds that they took."""
        done, began_s = 0, time.perf_counter()
        while (elapsed_s := time.perf_counter() - began_s) < seconds:
            self._step()
            done += self._batch
        return done, elapsed_s

    def _step(self) -> None:
        for row in self._pixels:
            row[...] = frames.to_input(next(self._images), self._frame, self._max_pixels)
        state = next(self._states)
        _, new = self._bundle.step(self._pixels, state)
        for tensor, values in zip(state, new, strict=True):
            tensor[...] = values


def main() -> int:
    """Serve orders until standard input ends; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.bare_loop", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="bundle to run")
    parser.add_argument("--threads", type=int, default=1, help="threads of one step")
    options = parser.parse_args()
    try:
        bundle = load(options.model, intra_op_threads=options.threads)
    except ServiceError as error:
        print(f"bare_loop: {error}", file=sys.stderr)
        return 2
    _say({"provider": bundle.runtime.provider})
    for line in sys.stdin:
        _say(_carry_out(bundle, json.loads(line)))
    return 0


def _carry_out(bundle: Bundle, order: dict[str, Any]) -> dict[str, Any]:
    images = _images(order["encoding"], order["width_px"], order["height_px"])
    sessions = order["sessions"]
    loops = {
        batch: BareLoop(bundle, images, sessions=sessions, batch=batch)
        for batch in sorted({1, sessions})
    }
    # The loop that is compared with is the better of one by one and all at once.
    batch = max(loops, key=lambda size: _rate(loops[size].run, _TRIAL_S))
    done, elapsed_s = loops[batch].run(order["seconds"])
    return {"fps": done / elapsed_s, "frames": done, "batch": batch}


def _rate(run: Callable[[float], tuple[int, float]], seconds: float) -> float:
    done, elapsed_s = run(seconds)
    return done / elapsed_s


def _images(encoding: str, width_px: int, height_px: int) -> list[Image]:
    made = pictures.road_pictures(PICTURES, width_px=width_px, height_px=height_px)
    if encoding == "jpeg":
        return [JpegImage(data) for data in pictures.jpegs(made)]
    return [RawImage(width_px, height_px, picture.tobytes()) for picture in made]


def _initial(bundle: Bundle, batch: int) -> list[Array]:
    return [np.zeros((batch, *tensor.shape), np.float32) for tensor in bundle.contract.state]


def _say(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    sys.exit(main())
