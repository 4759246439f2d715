"""The closed loop on a recording's pictures, in this process: how often a bundle is put back.

The world is that of `steerstream simulate pictures`, without a server, so that the figures depend
on the network alone. A network that takes the time until its command acts is driven twice: told,
and as a vehicle drives it that states none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2

from model_export.data.udacity_ch2 import LABELS
from model_export.errors import DataError
from model_export.evaluation.bundle_runner import BundleDriver, BundleRunner
from model_export.evaluation.unseen import SPLIT
from steerstream.errors import MediaError
from steerstream.progress import tracked
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE
from steerstream_simulation.drivers import Policy
from steerstream_simulation.picture_drive import drive_here
from steerstream_simulation.picture_world import STARTS_M
from steerstream_simulation.recorded_drive import (
    DEFAULT_SPEED_MPS,
    PictureSequence,
    read_sequences,
)

DELAYS_MS = (0.0, 50.0, 150.0, 250.0)


def measure(bundle: Path, data: Path) -> list[dict[str, Any]]:
    """Drive the validation blocks of the real drive with each delay; return all scores.

    Args:
        bundle: the ONNX file.
        data: folder of the driving data.

    Raises:
        BundleError: the file is no bundle.
        DataError: the recording is missing or malformed.
    """
    cv2.setNumThreads(1)
    runner = BundleRunner(bundle)
    try:
        sequences = read_sequences(data / LABELS, split=SPLIT)
        todo = [
            (delay_ms, told)
            for delay_ms in DELAYS_MS
            for told in ((True, False) if runner.contract.act_in_tensor else (False,))
        ]
        return list(_driven(runner, sequences, todo))
    except MediaError as error:
        raise DataError(str(error)) from None


def _driven(
    runner: BundleRunner, sequences: Sequence[PictureSequence], todo: list[tuple[float, bool]]
) -> Iterator[dict[str, Any]]:
    for delay_ms, told in tracked(todo, "driving on pictures", len(todo), "delays"):
        act_in_s = delay_ms / 1e3 if told else None
        score = drive_here(sequences, lambda: _policy(runner, act_in_s), delay_ms=delay_ms)  # noqa: B023
        yield {
            "delay_ms": delay_ms,
            "told": told,
            "drives": len(sequences) * len(STARTS_M),
            "speed_mps": DEFAULT_SPEED_MPS,
            **score.summary(),
        }


def _policy(runner: BundleRunner, act_in_s: float | None) -> Policy:
    driver = BundleDriver(runner)

    def drive(picture: Any) -> tuple[float, float]:  # noqa: ANN401 - an array, as `Policy` has it
        said = driver.predict(picture, act_in_s=act_in_s).outputs
        return said[STEERING_WHEEL_ANGLE], DEFAULT_SPEED_MPS

    return drive
