"""The record of a run: JSON lines, TensorBoard, and a picture of the curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from model_export.run import RunFolder


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
        run.metrics.write_text("".join(lines), encoding="utf-8")
        purge = self.entries[-1]["step"] + 1 if self.entries else 0
        self._board = SummaryWriter(str(run.tensorboard), purge_step=purge)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Record one evaluation: ``stage``, ``step``, losses, ``learning_rate`` and ``rmse``."""
        self.entries.append(entry)
        with self._run.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        step = entry["step"]
        for name in ("loss", "stddev_loss", "learning_rate"):
            self._board.add_scalar(name, entry[name], step)
        for name, rmse in entry["rmse"].items():
            self._board.add_scalar(f"rmse/{name}", rmse, step)
        self._board.flush()
        plot(self.entries, self._run.curves)

    def close(self) -> None:
        """Close the event file."""
        self._board.close()


def plot(entries: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw loss and steering errors over the steps of all stages."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    steps = [entry["step"] for entry in entries]
    above.plot(steps, [entry["loss"] for entry in entries], label="training loss")
    above.set_yscale("log")
    for name in entries[-1]["rmse"]:
        if name.startswith("steering_wheel_angle"):
            values = [entry["rmse"].get(name) for entry in entries]
            below.plot(steps, values, label=name.partition(": ")[2])
    below.set(xlabel="step", ylabel="validation RMSE, rad", ylim=(0, 0.3))
    for axes in (above, below):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
