"""What no training saw: the real drive, and rendered drives that bundles are run over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_export.config import HEADS
from model_export.data.labels import LabelTable
from model_export.data.recording import Recording, Span
from model_export.data.sources import read_split
from model_export.evaluation.bundle_runner import BundleRunner
from model_export.evaluation.evaluate import Evaluation
from model_export.evaluation.frame_loss import FrameLoss
from model_export.evaluation.viewed import Views

REAL, TRACES, ROADS = "udacity_ch2", "udacity_traces", "rendered"
SOURCES = {
    REAL: "the real drive HMB_3, the four validation blocks",
    TRACES: "HMB_1, a real trace behind a rendered camera, kept out of all training",
    ROADS: "rendered drives of the expert on roads that no training saw",
}
SPLIT = "validation"
PARTS: Mapping[str, Mapping[str, float]] = {TRACES: {"validation_every": 1}, ROADS: {}}
"""All of the trace that is kept out of training, and the roads that all trainings validate with."""


def recording(
    kind: str, options: Mapping[str, float], runner: BundleRunner, data: Path, cache: Path
) -> Recording:
    """Return a source's validation recording as a bundle sees it, from the cache where it is there.

    Args:
        kind: of the source.
        options: of its reader.
        runner: the bundle.
        data: folder of the driving data.
        cache: folder of prepared frames.

    Raises:
        DataError: the data is missing or malformed.
    """
    about = runner.contract
    return read_split(
        kind,
        SPLIT,
        options,
        about.frame,
        rate_hz=about.rate_hz,
        data=data,
        cache=cache,
    )


def evaluate(runner: BundleRunner, recorded: Recording, views: Views | None = None) -> Evaluation:
    """Run a bundle over a recording; the state is reset at each sequence.

    Args:
        runner: the bundle.
        recorded: with frames of the bundle's input.
        views: makes the views that it is shown; None for the frames as they are.
    """
    values = np.concatenate([_follow(runner, recorded, span, views) for span in recorded.spans])
    about = runner.contract
    shape = (len(values), len(HEADS))
    outputs, stddevs = np.full(shape, np.nan), np.full(shape, np.nan)
    for column, output in enumerate(about.outputs):
        outputs[:, HEADS.index(output.head)] = values[:, column]
    for head, column in about.stddev_columns.items():
        stddevs[:, HEADS.index(head)] = values[:, column]
    return Evaluation(
        table=_table(recorded),
        shown=np.ones(len(values), np.bool_),
        outputs=outputs,
        stddevs=stddevs,
        contract=about,
        loss=FrameLoss(),
        view_bytes=views.mean_bytes if views else None,
    )


def _follow(
    runner: BundleRunner, recorded: Recording, span: Span, views: Views | None
) -> npt.NDArray[np.float32]:
    """Return a bundle's values [frames, heads and stddevs] over one sequence."""
    about = runner.contract
    judged = len(about.outputs) + len(about.stddev_columns)
    state, rows = runner.initial_state(1), []
    for frame in recorded.frames[span.first : span.last]:
        seen = np.asarray(frame, np.uint8)
        if views is not None:
            seen = views.of_input(seen)
        values, state = runner.step(seen[None], state)
        # Heads and their deviations come first; a horizon after them, which is not judged here.
        rows.append(np.concatenate(values[:judged]))
    return np.stack(rows)


def _table(recorded: Recording) -> LabelTable:
    count = len(recorded.labels)
    starts = np.zeros(count, np.bool_)
    starts[[span.first for span in recorded.spans]] = True
    return LabelTable(
        frame_ids=(recorded.times_s * 1e9).astype(np.int64),
        labels=recorded.labels,
        starts=starts,
        period_ns=0.0,
        images=(),
        blocks=("",) * count,
        splits=("",) * count,
        places=("",) * count,
    )
