"""The network without a server: what the same work costs where nothing is served.

It decodes, crops and steps in one loop on one core, with the code that the server uses. It runs as
a process that takes jobs, so that it can take turns with a server.
"""

from __future__ import annotations

import functools
import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.host.jobs import serve
from benchmark.loadgen.picture_set import PictureSet
from steerstream.command_line import Parser, whole
from steerstream_bundle import pictures, providers, quickest
from steerstream_bundle.errors import BundleError, StepError
from steerstream_bundle.loading import Bundle
from steerstream_bundle.pictures import Image, JpegImage, RawImage
from steerstream_bundle.runtime import Array, BoundGraph, Memory
from steerstream_bundle.times import feed_times

_TRIAL_S = 0.2
_MAX_PIXELS = 2_100_000
"""As in the server, unless its settings say otherwise."""


class BareLoop:
    """One network and the state of some sessions, bound to memory once.

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
        self._pixels = np.zeros((batch, *self._frame.shape), np.uint8)
        # A graph knows only the addresses of what it is bound to.
        self._bound_memory: list[Array] = []
        there_and_back = [self._bound(batch) for _ in range(sessions // batch)]
        self._graphs = itertools.cycle(
            [there for there, _ in there_and_back] + [back for _, back in there_and_back]
        )

    def run(self, seconds: float) -> tuple[int, float]:
        """Step for a time; return the frames done and the seconds that they took."""
        done, began_s = 0, time.perf_counter()
        while (elapsed_s := time.perf_counter() - began_s) < seconds:
            for row in self._pixels:
                pictures.to_input(next(self._images), self._frame, _MAX_PIXELS, row)
            next(self._graphs).run()
            done += len(self._pixels)
        return done, elapsed_s

    def _bound(self, batch: int) -> tuple[BoundGraph, BoundGraph]:
        """Return a step from one copy of some sessions' state to another, and the step back."""
        contract = self._bundle.contract
        outputs = {
            value.name: np.zeros((batch, *value.shape), np.float32) for value in contract.values
        }
        times = feed_times(contract, batch)
        first, second = (
            [np.zeros((batch, *pair.shape), np.float32) for pair in contract.state]
            for _ in range(2)
        )

        self._bound_memory += [*outputs.values(), *times.values(), *first, *second]

        def step(old: list[Array], new: list[Array]) -> BoundGraph:
            inputs: dict[str, Array] = {contract.frame.tensor: self._pixels, **times}
            inputs |= {pair.input: rows for pair, rows in zip(contract.state, old, strict=True)}
            results = {pair.output: rows for pair, rows in zip(contract.state, new, strict=True)}
            return self._bundle.runtime.bind(_places(inputs), _places(outputs | results))

        return step(first, second), step(second, first)


def main() -> int:
    """Serve jobs until standard input ends; return the exit code."""
    parser = Parser(prog="python -m benchmark.programs.bare_loop", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="bundle to run")
    parser.add_argument("--provider", default=providers.AUTO, help="execution provider")
    parser.add_argument("--precision", default=quickest.AUTO, help="of the bundle")
    parser.add_argument("--threads", type=whole, default=1, help="threads of one step")
    options = parser.parse_args()
    try:
        (bundle,) = quickest.load_all(
            [options.model],
            candidates=providers.candidates(options.provider),
            precision=options.precision,
            intra_op_threads=options.threads,
        ).values()
    except (BundleError, StepError) as error:
        print(f"bare_loop: {error}", file=sys.stderr)
        return 2
    serve({"provider": lambda: bundle.runtime.provider.name, "run": functools.partial(run, bundle)})
    return 0


def run(bundle: Bundle, *, pictures: str, sessions: int, seconds: float) -> dict[str, Any]:
    """Run a loop over a network.

    Args:
        bundle: the network.
        pictures: the file of a `PictureSet`.
        sessions: rows of recurrent state.
        seconds: how long.

    Returns:
        `fps`, `frames`, `batch`: rows of a step, one or all, whichever was quicker, and `cpu`: the
        share of a core that the loop got.
    """
    images = _images(PictureSet.load(Path(pictures)))
    loops = {
        batch: BareLoop(bundle, images, sessions=sessions, batch=batch)
        for batch in sorted({1, sessions})
    }
    # Compare with the faster of the two: one session at a time, or all in one batch.
    batch = max(loops, key=lambda size: _rate(loops[size].run, _TRIAL_S))
    began_cpu_s = time.process_time()
    done, elapsed_s = loops[batch].run(seconds)
    cpu = (time.process_time() - began_cpu_s) / elapsed_s
    return {"fps": done / elapsed_s, "frames": done, "batch": batch, "cpu": cpu}


def _rate(run: Callable[[float], tuple[int, float]], seconds: float) -> float:
    done, elapsed_s = run(seconds)
    return done / elapsed_s


def _images(stored: PictureSet) -> list[Image]:
    if stored.is_jpeg:
        return [JpegImage(data) for data in stored.pictures]
    return [RawImage(stored.width_px, stored.height_px, data) for data in stored.pictures]


def _places(arrays: Mapping[str, Array]) -> dict[str, Memory]:
    return {name: Memory.of(array) for name, array in arrays.items()}


if __name__ == "__main__":
    sys.exit(main())
