"""Recordings of noise with labels, for networks whose weights are set by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model_export.config import Config
from model_export.data.recording import Recording, Span
from tests.model_export.builders import random_frames


def noise(config: Config, *lengths: int) -> Recording:
    """One sequence of each length; labels that no network of these tests says."""
    ends = np.cumsum(lengths).tolist()
    return Recording(
        frames=random_frames(config, ends[-1]).numpy(),
        labels=np.full((ends[-1], 3), 0.5, np.float32),
        times_s=np.arange(ends[-1]) / 20,
        spans=tuple(Span(last - size, last) for last, size in zip(ends, lengths, strict=True)),
        folder=Path("none"),
    )
