"""`python -m model_export optimize`: make a smaller bundle, measure both, judge."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from pathlib import Path

import numpy as np
import onnx

from model_export.config import HEADS
from model_export.data.labels import LabelTable, read_labels
from model_export.errors import BundleError, DataError
from model_export.evaluation.bundle_runner import BundleRunner
from model_export.evaluation.evaluate import Evaluation, evaluate
from model_export.evaluation.race import race
from model_export.export.onnx_graph import set_contract
from model_export.export.reduced_precision.calibration_frames import record
from model_export.export.reduced_precision.fp16 import to_fp16
from model_export.export.reduced_precision.int8 import to_int8
from model_export.export.reduced_precision.verdict import Figures, Verdict
from model_export.export.simplify import simplify
from steerstream import whole_file
from steerstream_bundle.contract import Contract, Score

TRAINING, VALIDATION = "train", "validation"

_BATCHES, _ROUNDS, _ROUND_S = (1, 8, 16), 60, 0.01


def optimize(
    bundle: Path,
    precision: str,
    out: Path,
    labels: Path,
    images: Path | None = None,
    *,
    keep: bool = False,
) -> Verdict:
    """Make a bundle of another precision, and write it where it is accepted.

    Args:
        bundle: the FP32 bundle.
        precision: `fp16` or `int8`.
        out: the file to write; the new bundle is named after it.
        labels: labels file with rows of split `validation` and, for INT8, of split `train`.
        images: folder of the pictures; the labels file's own by default.
        keep: write the bundle even where it is refused.

    Raises:
        BundleError: the file is no FP32 bundle.
        DataError: the labels file or a picture is missing or malformed.
    """
    runner = BundleRunner(bundle)
    if runner.contract.provenance.precision != "fp32":
        raise BundleError(
            f"{bundle}: has reduced precision already; give the FP32 bundle it was made from"
        )
    model = _reduced(bundle, runner, precision, read_labels(labels, images))
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / out.name
        about = _renamed(runner.contract, out.stem, precision)
        _write(model, about, candidate)
        verdict, evaluation = _measure((bundle, candidate), precision, labels, images)
        if verdict.accepted or keep:
            _write(model, _scored(about, evaluation, verdict, labels), out)
    return verdict


def _reduced(
    bundle: Path, runner: BundleRunner, precision: str, table: LabelTable
) -> onnx.ModelProto:
    model = onnx.load(bundle)
    simplify(model)
    if precision == "fp16":
        return to_fp16(model, runner.contract)
    training = table.of_split(TRAINING)
    if not training.images:
        raise DataError("the labels file has no column filename, so nothing to calibrate on")
    return to_int8(model, runner.contract, record(runner, training))


def _measure(
    bundles: tuple[Path, Path], precision: str, labels: Path, images: Path | None
) -> tuple[Verdict, Evaluation]:
    """Return the verdict on the second of two bundles, and how it drove."""
    evaluations = [evaluate(path, labels, images, VALIDATION) for path in bundles]
    runners = [BundleRunner(path) for path in bundles]
    times = race(runners, _BATCHES, rounds=_ROUNDS, round_s=_ROUND_S)
    figures = [
        Figures(
            rmse={head: score.rmse for head, score in evaluation.heads().items()},
            frames_per_s={batch: 1 / statistics.median(took) for batch, took in seconds.items()},
            size_bytes=path.stat().st_size,
        )
        for path, evaluation, seconds in zip(bundles, evaluations, times, strict=True)
    ]
    verdict = Verdict(precision=precision, reference=figures[0], candidate=figures[1])
    return verdict, evaluations[1]


def _renamed(contract: Contract, name: str, precision: str) -> Contract:
    provenance = dataclasses.replace(contract.provenance, precision=precision)
    return dataclasses.replace(contract, name=name, provenance=provenance)


def _scored(contract: Contract, evaluation: Evaluation, verdict: Verdict, labels: Path) -> Contract:
    """Put in place of the FP32 bundle's scores those that were measured here."""
    known = np.isfinite(evaluation.table.labels).sum(axis=0)
    frames = dict(zip(HEADS, known.tolist(), strict=True))
    scores = tuple(
        Score(
            source=f"{labels.parent.name}/{labels.name}, split {VALIDATION}",
            head=head,
            frames=frames[head],
            rmse=rmse,
            note=f"{verdict.rmse_ratios[head]:.3f} times the FP32 bundle's in the same run",
        )
        for head, rmse in verdict.candidate.rmse.items()
    )
    provenance = dataclasses.replace(contract.provenance, scores=scores)
    return dataclasses.replace(contract, provenance=provenance)


def _write(model: onnx.ModelProto, contract: Contract, path: Path) -> None:
    set_contract(model, contract)
    whole_file.write_bytes(path, model.SerializeToString())
