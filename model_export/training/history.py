"""The record of a run: JSON lines, TensorBoard, and a picture of the curves."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from model_export.errors import RunError
from model_export.run import RunFolder
from steerstream import whole_file
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE

_PICTURE_PERIOD_S = 60.0
"""A picture takes longer than an evaluation of a small network."""


class History:
    """Appends evaluations to a run's record.

    Args:
        run: the run's folder.
        entries: evaluations so far, from a checkpoint; what the files hold beyond is dropped.
    """

    def __init__(self, run: RunFolder, entries: Sequence[Mapping[str, Any]]) -> None:
        self._run = run
        self.entries: list[Mapping[str, Any]] = list(entries)
        lines = [json.dumps(entry) + "\n" for entry in self.entries]
        whole_file.write_text(run.metrics, "".join(lines))
        purge = self.entries[-1]["step"] + 1 if self.entries else 0
        self._board = SummaryWriter(str(run.tensorboard), purge_step=purge)
        self._next_picture_s = time.monotonic() + _PICTURE_PERIOD_S

    def add(self, entry: Mapping[str, Any]) -> None:
        """Record one evaluation: stage, step, losses, learning rate, score, RMSE by source."""
        self.entries.append(entry)
        with self._run.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        step = entry["step"]
        for name in ("loss", "stddev_loss", "learning_rate"):
            self._board.add_scalar(name, entry[name], step)
        for part in ("rmse", "held_out"):
            for name, rmse in entry[part].items():
                self._board.add_scalar(f"{part}/{name}", rmse, step)
        self._board.flush()
        if time.monotonic() >= self._next_picture_s:
            self._draw()

    def close(self) -> None:
        """Draw the curves to their end, and close the event file."""
        if self.entries:
            self._draw()
        self._board.close()

    def _draw(self) -> None:
        plot(self.entries, self._run.curves)
        self._next_picture_s = time.monotonic() + _PICTURE_PERIOD_S


def read(run: RunFolder) -> list[Mapping[str, Any]]:
    """Return the evaluations of a run's record, in their order.

    Raises:
        RunError: there is none yet, or it is malformed.
    """
    try:
        text = run.metrics.read_text(encoding="utf-8")
        entries = [json.loads(line) for line in text.splitlines()]
    except FileNotFoundError:
        entries = []
    except ValueError as error:
        raise RunError(f"{run.metrics}: not the record of a run: {error}") from None
    if not entries:
        raise RunError(f"{run.path}: no evaluation yet; let the train command go on")
    return entries


def plot(entries: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw loss, learning rate and validation over the steps of all stages."""
    figure = Figure(figsize=(9, 9), layout="constrained")
    loss, rate, errors = figure.subplots(3, sharex=True, height_ratios=(2, 1, 2))
    steps = [entry["step"] for entry in entries]
    loss.plot(steps, [entry["loss"] for entry in entries])
    loss.set(yscale="log", ylabel="training loss")
    rate.plot(steps, [entry["learning_rate"] for entry in entries])
    rate.set(ylabel="learning rate", ylim=0)
    _plot_errors(errors, steps, entries)
    errors.set_xlabel("step")
    for axes in (loss, rate, errors):
        axes.grid(alpha=0.3)
        for first, later in itertools.pairwise(entries):
            if first["stage"] != later["stage"]:
                axes.axvline(first["step"], color="grey", linewidth=1, linestyle=":")
    figure.savefig(path, dpi=100)


def _plot_errors(axes: Axes, steps: Sequence[int], entries: Sequence[Mapping[str, Any]]) -> None:
    for name in entries[-1]["rmse"]:
        if name.startswith(STEERING_WHEEL_ANGLE):
            values = [entry["rmse"].get(name) for entry in entries]
            axes.plot(steps, values, label=name.partition(": ")[2])
    score = [entry["score"] for entry in entries]
    axes.plot(steps, score, color="black", linewidth=0.8, label="score, weighted by monitor")
    axes.set(ylabel="validation RMSE, rad", ylim=(0, 0.3))
    axes.legend()
