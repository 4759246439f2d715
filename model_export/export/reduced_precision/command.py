"""`python -m model_export optimize`: make a smaller bundle, measure both, judge."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import onnx

from model_export.config import HEADS
from model_export.data.labels import LabelTable, read_labels
from model_export.data.udacity_ch2 import LABELS
from model_export.errors import BundleError, DataError
from model_export.evaluation import unseen
from model_export.evaluation.bundle_runner import BundleRunner
from model_export.evaluation.evaluate import Evaluation, evaluate
from model_export.evaluation.race import race
from model_export.export.onnx_graph import set_contract
from model_export.export.reduced_precision.calibration_frames import record
from model_export.export.reduced_precision.fp16 import to_fp16
from model_export.export.reduced_precision.int8 import to_int8
from model_export.export.reduced_precision.verdict import Figures, Verdict
from model_export.export.simplify import simplify
from reports import machine
from steerstream import whole_file
from steerstream_bundle.contract import Contract, Score

_TRAINING = "train"
_BATCHES, _ROUNDS, _ROUND_S = (1, 8, 16), 60, 0.01


def optimize(
    bundle: Path,
    precision: str,
    out: Path,
    data: Path,
    cache: Path,
    *,
    keep: bool = False,
) -> Verdict:
    """Make a bundle of another precision, and write it where it is accepted.

    Args:
        bundle: the FP32 bundle.
        precision: `fp16` or `int8`.
        out: the file to write.
        data: folder of the driving data; INT8 is calibrated on training frames of the real drive.
        cache: folder of prepared frames.
        keep: write the bundle even where it is refused.

    Raises:
        BundleError: the file is no FP32 bundle.
        DataError: a source's data is missing or malformed.
    """
    runner, digest = BundleRunner(bundle), machine.digest(bundle)
    if runner.contract.provenance.precision != "fp32":
        raise BundleError(
            f"{bundle}: has reduced precision already; give the FP32 bundle it was made from"
        )
    model = _reduced(bundle, runner, precision, read_labels(data / LABELS))
    provenance = dataclasses.replace(
        runner.contract.provenance, precision=precision, reduced_from=digest
    )
    contract = dataclasses.replace(runner.contract, provenance=provenance)
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / out.name
        _write(model, contract, candidate)
        judged = [_evaluations(path, data, cache) for path in (bundle, candidate)]
        times = race([runner, BundleRunner(candidate)], _BATCHES, rounds=_ROUNDS, round_s=_ROUND_S)
        figures = [
            Figures(
                rmse=_rmse(found),
                # The quickest round: what else the machine does only adds.
                frames_per_s={batch: 1 / min(took) for batch, took in seconds.items()},
                size_bytes=path.stat().st_size,
            )
            for path, found, seconds in zip((bundle, candidate), judged, times, strict=True)
        ]
    verdict = Verdict(precision=precision, reference=figures[0], candidate=figures[1])
    if verdict.accepted or keep:
        _write(model, _scored(contract, judged[1], verdict), out)
    return verdict


def _reduced(
    bundle: Path, runner: BundleRunner, precision: str, table: LabelTable
) -> onnx.ModelProto:
    model = onnx.load(bundle)
    simplify(model)
    if precision == "fp16":
        return to_fp16(model, runner.contract)
    training = table.of_split(_TRAINING)
    if not training.images:
        raise DataError("the labels file has no column filename, so nothing to calibrate on")
    return to_int8(model, runner.contract, record(runner, training))


def _evaluations(bundle: Path, data: Path, cache: Path) -> dict[str, Evaluation]:
    """Return how a bundle does on frames that no training saw, by source: real, then rendered."""
    runner = BundleRunner(bundle)
    found = {unseen.REAL: evaluate(bundle, data / LABELS, split=unseen.SPLIT)}
    for kind, options in unseen.PARTS.items():
        recorded = unseen.recording(kind, options, runner, data, cache)
        found[kind] = unseen.evaluate(runner, recorded)
    return found


def _rmse(evaluations: dict[str, Evaluation]) -> dict[str, dict[str, float]]:
    return {
        source: {head: score.rmse for head, score in found.heads().items()}
        for source, found in evaluations.items()
    }


def _scored(contract: Contract, evaluations: dict[str, Evaluation], verdict: Verdict) -> Contract:
    """Put in place of the FP32 bundle's scores those that were measured here."""
    scores = tuple(
        Score(
            source=unseen.SOURCES[source],
            head=head,
            frames=int(np.isfinite(found.table.labels[:, HEADS.index(head)]).sum()),
            rmse=score.rmse,
            ratio=verdict.rmse_ratios[source][head],
        )
        for source, found in evaluations.items()
        for head, score in found.heads().items()
    )
    provenance = dataclasses.replace(contract.provenance, scores=scores)
    return dataclasses.replace(contract, provenance=provenance)


def _write(model: onnx.ModelProto, contract: Contract, path: Path) -> None:
    set_contract(model, contract)
    whole_file.write_bytes(path, model.SerializeToString())
