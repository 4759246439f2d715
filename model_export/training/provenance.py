"""A bundle's provenance: the sources of its training, and the score of the simplest predictor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_export.config import HEADS
from model_export.data.recording import Recording
from model_export.data.sources import READERS, Source
from model_export.training import dagger, own_drives
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE, TrainingSource


def sources(
    read: Sequence[Source], drives: Sequence[Recording], *, planned: bool = False
) -> tuple[TrainingSource, ...]:
    """Return what a network was trained on: the sources, and its own drives.

    Args:
        read: the sources.
        drives: those of the network, relabelled by the expert.
        planned: the drives are not relabelled: the network learned what it said itself.
    """
    found = [source.provenance() for source in read]
    if drives:
        found.append(
            TrainingSource(
                name=own_drives.NAME if planned else dagger.NAME,
                frames=sum(len(drive.labels) for drive in drives),
                heads=(STEERING_WHEEL_ANGLE,) if planned else HEADS,
                licence=READERS["rendered"].licence,
                rendered=True,
            )
        )
    return tuple(found)


def joined(
    own: Sequence[TrainingSource], before: Sequence[TrainingSource]
) -> tuple[TrainingSource, ...]:
    """Return a run's own sources, and those of the weights that it began with."""
    names = {source.name for source in own}
    return (*own, *(source for source in before if source.name not in names))


def training_mean(read: Sequence[Source]) -> tuple[float, ...]:
    """Return each head's mean label: over real frames where they have it, else over all."""
    real = [source for source in read if not source.kind.rendered]
    return tuple(
        _mean_label(column, [source for source in real if head in source.heads] or read)
        for column, head in enumerate(HEADS)
    )


def _mean_label(column: int, read: Sequence[Source]) -> float:
    labels = np.concatenate([source.train.labels[:, column] for source in read])
    known = labels[np.isfinite(labels)]
    return float(known.mean()) if known.size else 0.0
