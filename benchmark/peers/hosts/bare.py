"""The peers' bare loop and the reference, in one process that does jobs.

The loop is the network that all peers serve, without any server. The reference is what
`python -m model_export evaluate` computes: its own driver of a bundle, picture by picture.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np

from benchmark.host.jobs import serve
from benchmark.loadgen.picture_set import PictureSet
from benchmark.peers.hosts.network import Network
from model_export.evaluation.bundle_runner import BundleDriver, BundleRunner
from steerstream_bundle.contract import FrameInput
from steerstream_bundle.jpeg import decode
from steerstream_bundle.loading import reduced_path
from steerstream_bundle.preprocess import Picture
from steerstream_bundle.quickest import F32, INT8

_WARM_UP = 20
US_PER_S = 1e6


class Bare:
    """A bundle without a server.

    Args:
        model: the ONNX file.
    """

    def __init__(self, model: Path) -> None:
        self._network = Network(model)
        self._runners = {F32: BundleRunner(model)}
        if (reduced := reduced_path(model, INT8)).exists():
            self._runners[INT8] = BundleRunner(reduced)

    def loop(self, *, pictures: str, seconds: float) -> dict[str, float]:
        """Decode and step one frame after the other.

        Returns:
            `fps`, and the median time of a frame as `p50_us`.
        """
        stored = PictureSet.load(Path(pictures))
        state = self._network.initial_state()
        times: list[float] = []
        stop = float("inf")
        for number, data in enumerate(itertools.cycle(stored.pictures)):
            began = time.perf_counter()
            if number == _WARM_UP:
                stop = began + seconds
            picture = self._network.picture(stored.width_px, stored.height_px, data)
            _, state = self._network.step(picture[None], state)
            done = time.perf_counter()
            if done >= stop:
                break
            if number >= _WARM_UP:
                times.append(done - began)
        return {"fps": len(times) / seconds, "p50_us": float(np.median(times)) * US_PER_S}

    def precisions(self) -> list[str]:
        """Return the precisions of the bundle for which there is a reference."""
        return list(self._runners)

    def reference(
        self, *, precision: str, pictures: str, sequences: list[list[int]]
    ) -> list[list[list[float]]]:
        """Return the outputs [3] of each picture of each sequence.

        Args:
            precision: one of `precisions`.
            pictures: file of a picture set.
            sequences: indices into its pictures, in the order in which each drive shows them.
        """
        stored, runner = PictureSet.load(Path(pictures)), self._runners[precision]
        decoded = [_picture(stored, data, runner.contract.frame) for data in stored.pictures]
        return [_drive(runner, [decoded[at] for at in sequence]) for sequence in sequences]


def _drive(runner: BundleRunner, pictures: list[Picture]) -> list[list[float]]:
    driver = BundleDriver(runner)
    return [list(driver.outputs(picture).values()) for picture in pictures]


def _picture(stored: PictureSet, data: bytes, frame: FrameInput) -> Picture:
    if stored.is_jpeg:
        return decode(data, frame)
    return np.frombuffer(data, np.uint8).reshape(stored.height_px, stored.width_px, 3)


def main() -> None:
    """Serve jobs until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True)
    bare = Bare(parser.parse_args().model)
    serve({"loop": bare.loop, "precisions": bare.precisions, "reference": bare.reference})


if __name__ == "__main__":
    main()
