"""Validation: root mean square errors of a network over recorded sequences with carried state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from model_export.config import HEADS
from model_export.data.recording import Recording, Span
from model_export.data.sources import READERS, Source
from model_export.networks import DrivingNetwork, State
from service.contract import STEERING_WHEEL_ANGLE, Score

_CHUNK = 48
"""Frames that are encoded at once: enough for speed, few enough for a core's cache."""

_CHOSE = "validation; it also chose the weights, so it flatters slightly"
_HELD_OUT = "validation; it had no say in the weights"


def score(
    network: DrivingNetwork, sources: Sequence[Source], *, carry: bool, chooses: bool
) -> tuple[Score, ...]:
    """Return the RMSE of every source and head that has labels to compare with.

    Args:
        network: in evaluation mode.
        sources: their validation recordings are used.
        carry: whether the state is carried from frame to frame, or each frame stands alone.
        chooses: whether these scores choose the weights; a note in each says so.
    """
    scores = []
    note = _CHOSE if chooses else _HELD_OUT
    for source in sources:
        recording = source.validation
        errors = predict(network, recording, carry=carry) - recording.labels
        for column, head in enumerate(HEADS):
            known = errors[:, column][np.isfinite(errors[:, column])]
            if known.size:
                rmse = float(np.sqrt(np.mean(np.square(known))))
                name = READERS[source.config.kind].name
                scores.append(
                    Score(source=name, head=head, frames=known.size, rmse=rmse, note=note)
                )
    return tuple(scores)


def monitored(scores: Sequence[Score], sources: Sequence[Source]) -> float:
    """Return the one number that picks the best weights: weighted steering RMSE, less is better."""
    weights = {READERS[source.config.kind].name: source.config.monitor for source in sources}
    steering = [item for item in scores if item.head == STEERING_WHEEL_ANGLE]
    return sum(weights[item.source] * item.rmse for item in steering)


@torch.no_grad()
def predict(
    network: DrivingNetwork, recording: Recording, *, carry: bool
) -> npt.NDArray[np.float32]:
    """Return outputs [N, 3] in SI units for every frame of a recording."""
    outputs = np.empty_like(recording.labels)
    for span in recording.spans:
        state = network.initial_state(1)
        for first in range(span.first, span.last, _CHUNK):
            chunk = Span(first, min(first + _CHUNK, span.last))
            outputs[first : chunk.last], state = _run(network, recording, chunk, state, carry=carry)
    return outputs


def _run(
    network: DrivingNetwork, recording: Recording, chunk: Span, state: State, *, carry: bool
) -> tuple[npt.NDArray[np.float32], State]:
    frames = torch.from_numpy(np.array(recording.frames[chunk.first : chunk.last]))
    if carry:
        outputs, state = network.unroll(frames[None], state)
        return outputs.mean[0].numpy(), state
    outputs, _ = network.unroll(frames[:, None], network.initial_state(len(frames)))
    return outputs.mean[:, 0].numpy(), state
