"""Evaluation: a bundle run frame by frame with carried state over a labels file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_export.config import HEADS
from model_export.data.labels import LabelTable, read_labels
from model_export.data.udacity_ch2 import read_picture
from model_export.errors import DataError
from model_export.evaluation.bundle_runner import BundleDriver, BundleRunner, Prediction
from model_export.evaluation.frame_loss import BoolArray, FrameLoss
from model_export.evaluation.head_scores import HeadScore, score
from model_export.evaluation.viewed import Views
from steerstream.progress import tracked
from steerstream_bundle.contract import UNITS, Contract
from steerstream_bundle.preprocess import prepare

FloatArray = npt.NDArray[np.float64]

_Heads = Callable[[BoolArray], dict[str, HeadScore]]

_NO_LOSS = FrameLoss()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The outputs of a bundle over a labels file.

    Attributes:
        table: the labels.
        shown: bool [N], which frames the network was shown.
        outputs: float64 [N, 3] in the order of `HEADS`, SI units; NaN where a frame was not
            shown, and for heads that the bundle lacks.
        stddevs: their predicted standard deviations; NaN where there is none.
        contract: of the bundle.
        loss: why frames were not shown.
        view_bytes: of a frame at the mean, where frames were shown as views; None otherwise.
    """

    table: LabelTable
    shown: BoolArray
    outputs: FloatArray
    stddevs: FloatArray
    contract: Contract
    loss: FrameLoss
    view_bytes: float | None = None

    @property
    def held(self) -> FloatArray:
        """Outputs [N, 3] for all frames: the last one is held until the network is shown another.

        It is what a vehicle follows.
        """
        last = np.where(self.shown, np.arange(len(self.shown)), 0)
        return self.outputs[np.maximum.accumulate(last)]

    def heads(self, rows: BoolArray | None = None) -> dict[str, HeadScore]:
        """Return the scores of every labelled head over the frames shown, or over some of them."""
        chosen = self.shown if rows is None else self.shown & rows
        return self._scores(self.outputs, chosen, self.contract.stddev_columns)

    def held_heads(self, rows: BoolArray | None = None) -> dict[str, HeadScore]:
        """Return the scores of every labelled head over all frames, with the last output held."""
        chosen = np.ones_like(self.shown) if rows is None else rows
        return self._scores(self.held, chosen, ())

    def summary(self) -> dict[str, Any]:
        """Return all figures as plain values: overall, by split and by block.

        They are of the frames that were shown. Where others were not, `held` has those of all
        frames with the last output held, and `loss` says which were lost.
        """
        summary = {"bundle": self.contract.name, **self._figures(self.heads, self.shown)}
        if self.view_bytes is not None:
            summary["view_bytes"] = self.view_bytes
        if self.loss:
            summary["loss"] = dataclasses.asdict(self.loss)
            summary["held"] = self._figures(self.held_heads, np.ones_like(self.shown))
        return summary

    def _figures(self, heads: _Heads, scored: BoolArray) -> dict[str, Any]:
        def of(rows: BoolArray) -> dict[str, Any]:
            plain = {head: found.plain() for head, found in heads(rows).items()}
            return {"frames": int((scored & rows).sum()), "heads": plain}

        def by(names: Sequence[str]) -> dict[str, Any]:
            found = np.array(names)
            return {name: of(found == name) for name in dict.fromkeys(names) if name}

        everything = of(np.ones_like(scored))
        return {**everything, "splits": by(self.table.splits), "blocks": by(self.table.blocks)}

    def _scores(
        self, outputs: FloatArray, chosen: BoolArray, with_stddevs: Container[str]
    ) -> dict[str, HeadScore]:
        means = {output.head: output.training_mean for output in self.contract.outputs}
        scores = {}
        for column, head in enumerate(HEADS):
            truth = self.table.labels[:, column].astype(np.float64)
            known = chosen & np.isfinite(truth)
            if head in means and known.any():
                stddevs = self.stddevs[known, column] if head in with_stddevs else None
                scores[head] = score(truth[known], outputs[known, column], means[head], stddevs)
        return scores


def evaluate(
    bundle: Path,
    labels: Path,
    images: Path | None = None,
    split: str | None = None,
    loss: FrameLoss = _NO_LOSS,
    *,
    as_views: bool = False,
) -> Evaluation:
    """Run a bundle over the frames of a labels file.

    Args:
        bundle: the ONNX file.
        labels: the CSV file.
        images: folder of the pictures; the CSV's own by default.
        split: the rows to use; all by default.
        loss: which frames the network is not shown; it sees all by default.
        as_views: whether frames are shown as a vehicle's client sends them, cropped, scaled and
            compressed again.

    Raises:
        BundleError: the file is no bundle.
        DataError: the labels file or a picture is missing or malformed, or has too few frames a
            second.
    """
    runner = BundleRunner(bundle)
    table = read_labels(labels, images)
    if split is not None:
        table = table.of_split(split)
    if not table.images:
        raise DataError(f"{labels}: has no column filename, so there are no pictures to run over")
    if not table.heads:
        raise DataError(f"{labels}: labels none of the heads {', '.join(HEADS)}")
    shown = loss.shown(table)
    outputs, stddevs = np.full((2, len(shown), len(HEADS)), np.nan)
    views = Views(runner.contract.frame) if as_views else None
    said_of = run_over(runner, table, shown, views)
    steps = tracked(said_of, "evaluating", int(shown.sum()), "frames")
    for row, said in zip(np.flatnonzero(shown), steps, strict=True):
        outputs[row] = [said.outputs.get(head, np.nan) for head in HEADS]
        stddevs[row] = [said.stddevs.get(head, np.nan) for head in HEADS]
    return Evaluation(
        table=table,
        shown=shown,
        outputs=outputs,
        stddevs=stddevs,
        contract=runner.contract,
        loss=loss,
        view_bytes=views.mean_bytes if views else None,
    )


def run_over(
    runner: BundleRunner, table: LabelTable, shown: BoolArray, views: Views | None = None
) -> Iterator[Prediction]:
    """Yield what a bundle says of each frame that it is shown, state carried from one to the next.

    The state is reset at the table's breaks, and where so many frames in a row are not shown that
    the contract's gap rule begins a new epoch, as it does in the server.

    Args:
        runner: the bundle.
        table: the labels, with N pictures.
        shown: bool [N], which pictures it is shown.
        views: makes the views that it is shown; None for whole pictures.

    Raises:
        DataError: a picture is missing or broken.
    """
    driver, frame, last_ns = BundleDriver(runner), runner.contract.frame, 0
    reset_after_ns = runner.contract.gap.reset_after_ms * 1_000_000
    for row in np.flatnonzero(shown):
        time_ns = int(table.frame_ids[row])
        gap_ns, last_ns = time_ns - last_ns, time_ns
        begins = table.starts[row] or gap_ns > reset_after_ns
        if begins:
            driver.reset()
        path, place = table.images[row], table.places[row]
        if views is None:
            seen = prepare(read_picture(path, frame, place), frame)
        else:
            seen = views.of_file(path, place)
        yield driver.step(seen, None if begins else gap_ns / 1e9)


def report(evaluation: Evaluation) -> Iterator[str]:
    """Return the printed table: every head overall, by split and by block."""
    summary = evaluation.summary()
    titles = f"{'rows':24} {'frames':>6} {'head':24} {'RMSE':>8} {'MAE':>8} {'zero':>8} {'mean':>8}"
    calibrated = bool(evaluation.contract.stddev_columns)
    yield titles + (f" {'sigma':>8} {'68.3 %':>6} {'95.0 %':>6}" if calibrated else "")
    yield from _sections("", summary)
    if "held" in summary:
        yield from _sections("held ", summary["held"])
    yield from _notes(evaluation)


def _sections(way: str, figures: Mapping[str, Any]) -> Iterator[str]:
    yield from _lines(f"{way}all", figures)
    for title in ("split", "block"):
        for name, group in figures[f"{title}s"].items():
            yield from _lines(f"{way}{title} {name}", group)


def _lines(rows: str, figures: Mapping[str, Any]) -> Iterator[str]:
    for head, found in figures["heads"].items():
        errors = " ".join(
            f"{found[name]:8.4f}" for name in ("rmse", "mae", "rmse_zero", "rmse_mean")
        )
        line = f"{rows:24} {figures['frames']:6} {f'{head} {UNITS[head]}':24} {errors}"
        if said := found.get("calibration"):
            covered = f"{said['coverage_68']:6.1%} {said['coverage_95']:6.1%}"
            line += f" {said['mean_stddev']:8.4f} {covered}"
        yield line


def _notes(evaluation: Evaluation) -> Iterator[str]:
    yield "zero, mean: RMSE of always zero, and of always the training labels' mean"
    if evaluation.contract.stddev_columns:
        yield "sigma: mean predicted standard deviation; 68.3 %, 95.0 %: errors within 1 and 1.96"
    if evaluation.view_bytes is not None:
        yield f"shown as views: {evaluation.view_bytes / 1e3:.1f} kB a frame"
    if evaluation.loss:
        yield from _loss_notes(evaluation)
    if "train" in evaluation.table.splits:
        yield "all rows include those of training: what counts is split validation"


def _loss_notes(evaluation: Evaluation) -> Iterator[str]:
    loss, shown = evaluation.loss, evaluation.shown
    rate = "the recording's rate" if loss.rate_hz is None else f"{loss.rate_hz:g} Hz"
    yield (
        f"shown: {shown.sum()} of {len(shown)} frames, at {rate}, "
        f"{loss.drop:.0%} of them lost (seed {loss.seed})"
    )
    yield "rows without held: scored where the network was shown the frame"
    yield "rows with held: scored at all frames, the last output held, as a vehicle follows it"
    takes = "is told" if evaluation.contract.interval_tensor else "is not told"
    yield f"the network {takes} the interval between frames"
