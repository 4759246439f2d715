"""The targets of the networks, beside the figures that they reached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from model_export.evaluation.unseen import REAL, TRACES
from model_export.report.evidence import Evidence
from reports.targets import Figure
from steerstream_bundle.contract import SPEED, STEERING_TORQUE, StateKind

_SHARE_LOST = 0.3
_SINGLE_IMAGE = "pilotnet"
"""Which every recurrent network is to beat."""


def figures(evidence: Sequence[Evidence]) -> Iterator[Figure]:
    """Yield every target with what was reached; what was not measured has no figure."""
    yield from _steering(evidence)
    yield from _traces(evidence)
    yield from _losses(evidence)
    yield from _sizes(evidence)


def _steering(evidence: Sequence[Evidence]) -> Iterator[Figure]:
    found = {item.name: rmse for item in evidence if (rmse := item.rmse(REAL)) is not None}
    base = found.get(_SINGLE_IMAGE)
    if base:
        for item in evidence:
            if _is_recurrent(item) and item.name in found:
                what = f"`{item.name}`: steering RMSE of `{_SINGLE_IMAGE}`'s, real drive"
                yield Figure(what, 85.0, 100 * found[item.name] / base, at_least=False, unit=" %")
    if found:
        best = min(found.values())
        yield Figure(
            "the best: steering RMSE, real drive", 0.080, best, at_least=False, unit=" rad"
        )
        what = "the best: steering RMSE, real drive, the aim beyond"
        yield Figure(what, 0.050, best, at_least=False, unit=" rad")


def _traces(evidence: Sequence[Evidence]) -> Iterator[Figure]:
    for head, aim, unit in ((STEERING_TORQUE, 0.40, " Nm"), (SPEED, 1.5, " m/s")):
        found = [rmse for item in evidence if (rmse := item.rmse(TRACES, head)) is not None]
        if found:
            what = f"the best: {head.replace('_', ' ')} RMSE, HMB_1 behind a rendered camera"
            yield Figure(what, aim, min(found), at_least=False, unit=unit)


def _losses(evidence: Sequence[Evidence]) -> Iterator[Figure]:
    told = [item for item in evidence if item.losses and _is_told(item)]
    for item in told:
        whole, *lossy = item.losses
        for loss in lossy:
            if loss["drop"] == _SHARE_LOST or loss["rate_hz"]:
                name = f"{loss['rate_hz']:g} Hz" if loss["rate_hz"] else f"{_SHARE_LOST:.0%} lost"
                more = 100 * (loss["rmse"] / whole["rmse"] - 1)
                what = f"`{item.name}`, told the interval: more RMSE, {name}"
                yield Figure(what, 10.0, more, at_least=False, unit=" %")
    if not told:
        what = "a network that is told the interval: more RMSE, 30 % lost and 10 Hz"
        yield Figure(what, 10.0, None, at_least=False, unit=" %")


def _sizes(evidence: Sequence[Evidence]) -> Iterator[Figure]:
    megabytes = [item.size_bytes / 1e6 for item in evidence]
    yield Figure("the largest bundle", 16.0, max(megabytes), at_least=False, unit=" MB")
    yield Figure("all bundles", 40.0, sum(megabytes), at_least=False, unit=" MB")


def _is_recurrent(item: Evidence) -> bool:
    kinds = {pair.kind for pair in item.architecture.contract.state}
    return bool(kinds & {StateKind.RECURRENT, StateKind.FEEDBACK})


def _is_told(item: Evidence) -> bool:
    return bool(item.architecture.contract.interval_tensor)
