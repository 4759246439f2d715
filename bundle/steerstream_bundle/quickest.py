"""Chooses what runs each bundle on this machine: the quickest that its accuracy record allows.

Beside an FP32 bundle `NAME.onnx` may lie `NAME.int8.onnx`, the same network with convolutions in 8
bits. How much quicker that is depends on the processor: nearly three times where it has units for
products of 8 bits, and hardly at all elsewhere. So the candidates are run for a moment, in turns,
when a server starts.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from steerstream_bundle import providers
from steerstream_bundle.contract import GREATEST_RMSE_RATIO
from steerstream_bundle.errors import BundleError, StepError
from steerstream_bundle.loading import Bundle, full_precision, load, reduced_path
from steerstream_bundle.providers import Provider

AUTO, F32, INT8 = "auto", "f32", "int8"
PRECISIONS = (AUTO, F32, INT8)
"""The precisions that an operator can ask for."""

_LEAST_GAIN = 1.1
"""A candidate must be so many times as quick as those before it, or the choice would be chance."""
_BATCHES = (1, 8)
"""Frames in a step: one alone, as on an idle server, and several vehicles'."""
_TURNS = 4
_STEPS = 4
"""In a row, so that all but the first find their weights in the processor's caches."""


def load_all(
    paths: Sequence[Path],
    *,
    candidates: Sequence[Provider] = (providers.CPU,),
    precision: str = AUTO,
    intra_op_threads: int = 1,
) -> dict[str, Bundle]:
    """Read bundles from files and folders, by name, in the order given; a folder's are sorted.

    Args:
        paths: ONNX files, and folders of them.
        candidates: what may run them, the preferred first.
        precision: one of `PRECISIONS`; `auto` is the quickest.
        intra_op_threads: threads of one step on a CPU; 0 for one a core.

    Raises:
        BundleError: a bundle is broken, a folder holds none, two have one name, one of reduced
            precision is not made from the one beside it, or none has the precision.
    """
    bundles: dict[str, Bundle] = {}
    for path in (file for given in paths for file in _files(given)):
        opened = _open(path, candidates, precision, intra_op_threads)
        bundle = opened[0] if len(opened) == 1 else choose(opened, _seconds_a_frame(opened))
        if bundle.contract.name in bundles:
            raise BundleError(f"{path}: another bundle is named {bundle.contract.name!r} too")
        bundles[bundle.contract.name] = bundle
    return bundles


def measure(bundles: Sequence[Bundle], batch: int, turns: int = _TURNS) -> list[float]:
    """Return the shortest time of a step of each, in seconds: other processes only add to it.

    Args:
        bundles: of one network.
        batch: frames in a step.
        turns: how often each takes its turn.

    Raises:
        BundleError: a step failed.
    """
    contract = bundles[0].contract
    frames = np.zeros((batch, *contract.frame.shape), np.uint8)
    state = [np.zeros((batch, *pair.shape), np.float32) for pair in contract.state]
    shortest = [math.inf] * len(bundles)
    for _ in range(turns):
        for at, bundle in enumerate(bundles):
            for _ in range(_STEPS):
                began = time.perf_counter()
                try:
                    bundle.step(frames, state)
                except StepError as error:
                    raise BundleError(f"{contract.name}: fails when it is run: {error}") from None
                shortest[at] = min(shortest[at], time.perf_counter() - began)
    return shortest


def choose(bundles: Sequence[Bundle], seconds_a_frame: Sequence[float]) -> Bundle:
    """Return the bundle to serve, with the reason in `Bundle.reason`.

    Args:
        bundles: of one network, the preferred first.
        seconds_a_frame: what each was measured to take.
    """
    at = 0
    for other in range(1, len(bundles)):
        if seconds_a_frame[other] * _LEAST_GAIN <= seconds_a_frame[at]:
            at = other
    measured = (
        f"{bundle.precision} on {bundle.runtime.provider.name} {1e6 * seconds:.0f} us"
        for bundle, seconds in zip(bundles, seconds_a_frame, strict=True)
    )
    bundles[at].reason = f"measured a frame: {', '.join(measured)}"
    return bundles[at]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = full_precision(path)
    for other in sorted(set(path.glob("*.onnx")).difference(files)):
        whole = other.with_suffix("").with_suffix(".onnx")
        if whole not in files:
            raise BundleError(f"{other}: belongs beside {whole}, which is not there")
    if not files:
        raise BundleError(f"{path}: the folder holds no .onnx file")
    return files


def _open(
    path: Path, candidates: Sequence[Provider], precision: str, intra_op_threads: int
) -> list[Bundle]:
    """Open a bundle in every way in which it may be served, the preferred first."""

    def on_each(file: Path) -> list[Bundle]:
        return [
            load(file, provider=provider, intra_op_threads=intra_op_threads)
            for provider in candidates
        ]

    opened, sibling = on_each(path), reduced_path(path, INT8)
    # 8-bit convolutions are for CPUs; elsewhere the other file is not even read.
    if precision != F32 and candidates[0].on_cpu and sibling.exists():
        reduced = on_each(sibling)
        _check_pair(path, opened[0], sibling, reduced[0])
        for bundle in reduced:
            bundle.sha256 = opened[0].sha256
        if precision == INT8 or _is_accurate(reduced[0]):
            opened += reduced
        else:
            for bundle in opened:
                bundle.reason = f"{sibling.name} has no record of enough accuracy"
    if precision != AUTO:
        opened = [bundle for bundle in opened if bundle.precision == precision]
        for bundle in opened:
            bundle.reason = f"{precision} was asked for"
    if not opened:
        raise BundleError(
            f"{path}: there is no {precision} bundle of it for provider {candidates[0].name}; "
            f"choose precision {AUTO}"
        )
    return opened


def _check_pair(path: Path, whole: Bundle, sibling: Path, reduced: Bundle) -> None:
    about = reduced.contract.provenance
    if about.reduced_from != whole.sha256 or not reduced.contract.same_network(whole.contract):
        raise BundleError(
            f"{sibling}: was not made from {path} as it is now; make it with "
            f"`python -m model_export optimize {path} --to {INT8}`, or remove it"
        )
    if reduced.precision != INT8:
        raise BundleError(f"{sibling}: is {reduced.precision}, and not {INT8} as its name says")


def _is_accurate(reduced: Bundle) -> bool:
    """Whether a record is there, and within the bound on every source and head."""
    scores = reduced.contract.provenance.scores
    return bool(scores) and all(score.ratio <= GREATEST_RMSE_RATIO for score in scores)


def _seconds_a_frame(bundles: Sequence[Bundle]) -> list[float]:
    """Return what each takes for a frame, as the mean over the sizes of a step."""
    measured = [[step / batch for step in measure(bundles, batch)] for batch in _BATCHES]
    return [statistics.mean(times) for times in zip(*measured, strict=True)]
