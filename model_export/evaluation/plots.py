"""Pictures of an evaluation: truth and prediction over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model_export.config import HEADS
from model_export.data.recording import Span, spans
from model_export.evaluation.evaluate import Evaluation
from steerstream_bundle.contract import UNITS


def plot_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Draw truth and prediction of every labelled head; validation rows lie on a shaded ground."""
    heads = list(evaluation.heads())
    figure = Figure(figsize=(14, 1 + 3 * len(heads)), layout="constrained")
    rows = figure.subplots(len(heads), sharex=True, squeeze=False)[:, 0]
    for axes, head in zip(rows, heads, strict=True):
        _plot_head(axes, evaluation, head)
    rows[0].set_title(f"{evaluation.contract.name}: truth and prediction; validation is shaded")
    rows[-1].set_xlabel("time since the first frame, s")
    rows[0].legend(loc="upper right", ncols=2)
    figure.savefig(path, dpi=100)


def _plot_head(axes: Axes, evaluation: Evaluation, head: str) -> None:
    table, column = evaluation.table, HEADS.index(head)
    time_s = (table.frame_ids - table.frame_ids[0]) / 1e9
    # A gap in the line where frames are missing, rather than a straight stroke across.
    breaks = np.flatnonzero(table.starts)[1:]
    for values, label in ((table.labels, "truth"), (evaluation.held, "prediction")):
        line = np.insert(values[:, column].astype(np.float64), breaks, np.nan)
        axes.plot(np.insert(time_s, breaks, time_s[breaks]), line, label=label, linewidth=1)
    for span in _held_out(evaluation):
        axes.axvspan(*time_s[[span.first, span.last - 1]], alpha=0.15, color="grey", linewidth=0)
    axes.set_ylabel(f"{head.replace('_', ' ')}, {UNITS[head]}")
    axes.grid(alpha=0.3)


def _held_out(evaluation: Evaluation) -> list[Span]:
    """Return the unbroken runs of validation rows."""
    table = evaluation.table
    held_out = np.array([split == "validation" for split in table.splits])
    turns = np.concatenate(([True], held_out[1:] != held_out[:-1]))
    return [span for span in spans(table.starts | turns) if held_out[span.first]]
