"""Evaluation: a bundle run frame by frame with carried state over a labels file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model_export.bundle_runner import BundleDriver, BundleRunner
from model_export.config import HEADS
from model_export.data.labels import LabelTable, read_labels
from model_export.data.udacity_ch2 import read_picture
from model_export.errors import DataError
from service.contract import UNITS, Contract

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadScore:
    """Errors of one head, beside those of two predictors that need no picture.

    Attributes:
        rmse: root mean square error.
        mae: mean absolute error.
        rmse_zero: RMSE of always zero.
        rmse_mean: RMSE of always the mean label of training, from the bundle's contract.
    """

    rmse: float
    mae: float
    rmse_zero: float
    rmse_mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A bundle's outputs over a labels file.

    Attributes:
        table: the labels.
        outputs: float64 [N, 3] in the order of ``HEADS``, SI units.
        contract: of the bundle.
    """

    table: LabelTable
    outputs: FloatArray
    contract: Contract

    def heads(self, rows: npt.NDArray[np.bool_] | None = None) -> dict[str, HeadScore]:
        """Return the scores of every labelled head over all rows, or over some."""
        chosen = np.ones(len(self.outputs), np.bool_) if rows is None else rows
        means = {output.head: output.training_mean for output in self.contract.outputs}
        scores = {}
        for column, head in enumerate(HEADS):
            truth = self.table.labels[chosen, column].astype(np.float64)
            known = np.isfinite(truth)
            if head in means and known.any():
                outputs = self.outputs[chosen, column]
                scores[head] = _score(truth[known], outputs[known], means[head])
        return scores

    def summary(self) -> dict[str, Any]:
        """Return all figures as plain values: overall, by split and by block."""
        return {
            "bundle": self.contract.name,
            "frames": len(self.outputs),
            "heads": _plain(self.heads()),
            "splits": self._by(self.table.splits),
            "blocks": self._by(self.table.blocks),
        }

    def _by(self, names: Sequence[str]) -> dict[str, Any]:
        found = np.array(names)
        groups = {name: found == name for name in dict.fromkeys(names) if name}
        return {
            name: {"frames": int(rows.sum()), "heads": _plain(self.heads(rows))}
            for name, rows in groups.items()
        }


def evaluate(
    bundle: Path, labels: Path, images: Path | None = None, split: str | None = None
) -> Evaluation:
    """Run a bundle over the frames of a labels file.

    Args:
        bundle: the ONNX file.
        labels: the CSV file.
        images: folder of the pictures; the CSV's own by default.
        split: the rows to use; all by default.

    Raises:
        BundleError: the file is no bundle.
        DataError: the labels file or a picture is missing or malformed.
    """
    runner = BundleRunner(bundle)
    table = read_labels(labels, images)
    if split is not None:
        table = table.of_split(split)
    if not table.images:
        raise DataError(f"{labels}: has no column filename, so there are no pictures to run over")
    if not table.heads:
        raise DataError(f"{labels}: labels none of the heads {', '.join(HEADS)}")
    frames = tqdm(run_over(runner, table), "frames", len(table.images), unit="frame", disable=None)
    rows = [[outputs.get(head, np.nan) for head in HEADS] for outputs in frames]
    return Evaluation(table=table, outputs=np.array(rows), contract=runner.contract)


def run_over(runner: BundleRunner, table: LabelTable) -> Iterator[Mapping[str, float]]:
    """Yield the outputs of each frame in turn, state carried, and reset at the table's breaks.

    Raises:
        DataError: a picture is missing or broken.
    """
    driver = BundleDriver(runner)
    for path, starts in zip(table.images, table.starts, strict=True):
        if starts:
            driver.reset()
        yield driver.outputs(read_picture(path, runner.contract.frame))


def report(evaluation: Evaluation) -> Iterator[str]:
    """Return the printed table: every head overall, by split and by block."""
    summary = evaluation.summary()
    yield f"{'rows':24} {'frames':>6} {'head':24} {'RMSE':>8} {'MAE':>8} {'zero':>8} {'mean':>8}"
    yield from _lines("all", summary["frames"], summary["heads"])
    for title, groups in (("split", summary["splits"]), ("block", summary["blocks"])):
        for name, group in groups.items():
            yield from _lines(f"{title} {name}", group["frames"], group["heads"])
    yield "zero, mean: RMSE of always zero, and of always the training labels' mean"
    if "train" in summary["splits"]:
        yield "all rows include those of training: what counts is split validation"


def _lines(rows: str, frames: int, heads: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    for head, score in heads.items():
        figures = " ".join(f"{score[name]:8.4f}" for name in HeadScore.__slots__)
        yield f"{rows:24} {frames:6} {f'{head} {UNITS[head]}':24} {figures}"


def _score(truth: FloatArray, outputs: FloatArray, mean: float) -> HeadScore:
    return HeadScore(
        rmse=_rms(outputs - truth),
        mae=float(np.abs(outputs - truth).mean()),
        rmse_zero=_rms(truth),
        rmse_mean=_rms(truth - mean),
    )


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _plain(heads: Mapping[str, HeadScore]) -> dict[str, dict[str, float]]:
    return {
        head: {name: getattr(score, name) for name in HeadScore.__slots__}
        for head, score in heads.items()
    }
