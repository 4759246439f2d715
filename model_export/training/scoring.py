"""Scores a network over recorded sequences with carried state, to choose weights and to report.

Held out recordings of training sources choose the weights, and the deviations are calibrated on
them; validation recordings are reported. Where a source holds nothing out, its validation chooses,
and the score's note says so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model_export.config import HEADS, Config
from model_export.data.recording import Recording, Span
from model_export.data.sources import Source
from model_export.networks import DrivingNetwork, State
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE, Score

FloatArray = npt.NDArray[np.float32]

_CHUNK = 48
"""Frames that are encoded at once: enough for speed, few enough for a core's cache."""

_ANGLE = HEADS.index(STEERING_WHEEL_ANGLE)
_CHOSE = "validation; it also chose the weights, so it flatters slightly"
_HELD_OUT = "validation; it had no say in the weights"


class Predicted(NamedTuple):
    """The outputs of a network over a recording, in SI units.

    Attributes:
        mean: [N, 3].
        stddev: [N, 3].
    """

    mean: FloatArray
    stddev: FloatArray


@dataclass(frozen=True, slots=True)
class Judged:
    """A recording, and what a network said of it."""

    recording: Recording
    predicted: Predicted

    @property
    def errors(self) -> FloatArray:
        """Labels less predictions, [N, 3]; NaN where there is no label."""
        return self.recording.labels - self.predicted.mean

    def rmse(self, column: int) -> float:
        """Return the root mean square error of one head.

        NaN if it has no label, or if the network's value is no number where it has one.
        """
        known = self.errors[np.isfinite(self.recording.labels[:, column]), column]
        return float(np.sqrt(np.mean(np.square(known)))) if known.size else float("nan")


@dataclass(frozen=True, slots=True)
class JudgedSource:
    """A source, and what a network said of its recordings that no training saw."""

    source: Source
    holdout: Judged | None
    validation: Judged

    @property
    def choosing(self) -> Judged:
        """The score that weights are chosen by."""
        return self.holdout or self.validation


def judge(
    network: DrivingNetwork, sources: Sequence[Source], *, carry: bool
) -> tuple[JudgedSource, ...]:
    """Run a network over what its sources hold out and over what they validate with.

    Args:
        network: in evaluation mode.
        sources: see there.
        carry: whether the state is carried from frame to frame, or each frame stands alone.
    """

    def judged(recording: Recording) -> Judged:
        return Judged(recording, predict(network, recording, carry=carry))

    def held_out(source: Source) -> Judged | None:
        return None if source.holdout is None else judged(source.holdout)

    return tuple(JudgedSource(one, held_out(one), judged(one.validation)) for one in sources)


def scores(
    judgement: Sequence[JudgedSource], chose: Collection[str], *, delay_ms: float = 0.0
) -> tuple[Score, ...]:
    """Return the validation RMSE of every source and head that it teaches and has labels of.

    Args:
        judgement: what the network said.
        chose: names of the sources whose validation chose the weights; their notes say so.
        delay_ms: by how much labels are later than frames; the notes say so, too.
    """
    delay = f"; labels {delay_ms:g} ms after the frame" if delay_ms else ""
    return tuple(
        Score(
            source=one.source.kind.name,
            head=head,
            frames=frames,
            rmse=one.validation.rmse(column),
            note=(_CHOSE if one.source.kind.name in chose else _HELD_OUT) + delay,
        )
        for one in judgement
        for column, head in enumerate(HEADS)
        if head in one.source.heads
        and (frames := int(np.isfinite(one.validation.recording.labels[:, column]).sum()))
    )


def choosers(config: Config, sources: Sequence[Source], before: Sequence[Score]) -> set[str]:
    """Return the names of the sources whose validation has a say in the weights.

    Args:
        config: of the run.
        sources: of the run.
        before: scores of the weights that the run began with, if any.
    """
    inherited = {item.source for item in before if item.note.startswith(_CHOSE)}
    if config.training.keep_last or all(stage.stddev_only for stage in config.stage):
        return inherited
    own = {one.kind.name for one in sources if one.config.monitor and one.holdout is None}
    return inherited | own


def monitored(judgement: Sequence[JudgedSource]) -> float:
    """Return the one number that picks the best weights: weighted steering RMSE, less is better."""
    return sum(
        one.source.config.monitor * one.choosing.rmse(_ANGLE)
        for one in judgement
        if one.source.config.monitor
    )


@torch.no_grad()
def predict(network: DrivingNetwork, recording: Recording, *, carry: bool) -> Predicted:
    """Return what a network says of every frame of a recording.

    Args:
        network: in evaluation mode.
        recording: with N frames.
        carry: whether the state is carried from frame to frame, or each frame stands alone.
    """
    shape = recording.labels.shape
    found = Predicted(np.empty(shape, np.float32), np.empty(shape, np.float32))
    intervals_s = torch.from_numpy(recording.intervals_s(network.period_s)).to(network.device)
    for span in recording.spans:
        state = network.initial_state(1)
        for first in range(span.first, span.last, _CHUNK):
            chunk = Span(first, min(first + _CHUNK, span.last))
            frames = torch.from_numpy(np.array(recording.frames[chunk.first : chunk.last]))
            frames = frames.to(network.device)
            intervals = intervals_s[chunk.first : chunk.last]
            predicted, state = _run(network, frames, intervals, state, carry=carry)
            for whole, part in zip(found, predicted, strict=True):
                whole[first : chunk.last] = part
        recording.let_go()
    return found


def _run(
    network: DrivingNetwork, frames: Tensor, intervals_s: Tensor, state: State, *, carry: bool
) -> tuple[Predicted, State]:
    if carry:
        said, state = network.unroll(frames[None], state, intervals_s[None])
    else:
        said, _ = network.unroll(frames[:, None], network.initial_state(len(frames)))
    mean, stddev = (tensor.flatten(0, 1).cpu().numpy() for tensor in said)
    return Predicted(mean, stddev), state
