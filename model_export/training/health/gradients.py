"""How far back a network learns: the gradient of the last step's loss, step by step, cell by cell.

Back through time a gradient is multiplied by one Jacobian a step. Where these shrink it, a cell
cannot learn what it should have remembered (Hochreiter 1991; Bengio, Simard and Frasconi 1994);
where they stretch it, training leaps. Gates are there to keep it from doing either.
"""

from __future__ import annotations

import contextlib
import enum
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model_export.data.recording import Recording, Span
from model_export.errors import DataError
from model_export.networks import DrivingNetwork, State
from model_export.networks.parts.cells import Cell, cells_of
from model_export.networks.parts.losses import MaskedLoss

FloatArray = npt.NDArray[np.float64]

STEPS = 50
"""Frames of a window; 2.5 s at 20 Hz."""

GREATEST_CHANGE = 1000.0
"""Times that a gradient may shrink or grow over `STEPS` steps."""

_FEWEST_STEPS = 4
_LEAST_NORM = 1e-30
"""Relative norms below are what is left of float32's precision, not of the gradient."""


class Verdict(enum.StrEnum):
    """Whether a gradient vanishes or explodes over `STEPS` steps at its fitted decay."""

    VANISHING = "vanishing"
    KEPT = "kept"
    EXPLODING = "exploding"


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientFlow:
    """The gradient with respect to one state tensor of a cell.

    Attributes:
        cell: the cell's name in its network.
        tensor: the tensor's name in its cell.
        is_memory: whether it is the cell's memory, rather than only its output.
        norms: float64 [windows, steps], Euclidean norms: first of the last step, then ever further
            back. None of the first column is 0.
    """

    cell: str
    tensor: str
    is_memory: bool
    norms: FloatArray

    @property
    def relative(self) -> FloatArray:
        """Norms [windows, steps] as shares of each window's last step."""
        shares: FloatArray = self.norms / self.norms[:, :1]
        return shares

    @property
    def median(self) -> FloatArray:
        """Medians [steps] of `relative` over the windows."""
        return np.asarray(np.median(self.relative, axis=0), np.float64)

    @property
    def decay_per_step(self) -> float:
        """The factor of one step back: least squares on the logarithms of the medians.

        The last step has no part in it, because its gradient comes straight from the heads. 0 where
        fewer than two other medians are above 1e-30.
        """
        steps = np.flatnonzero(self.median > _LEAST_NORM)
        steps = steps[steps > 0]
        if len(steps) < 2:
            return 0.0
        slope, _ = np.polyfit(steps, np.log(self.median[steps]), 1)
        return float(np.exp(slope))

    @property
    def verdict(self) -> Verdict:
        """By what `decay_per_step` makes of a gradient over `STEPS` steps."""
        change = self.decay_per_step**STEPS
        if change < 1 / GREATEST_CHANGE:
            return Verdict.VANISHING
        return Verdict.EXPLODING if change > GREATEST_CHANGE else Verdict.KEPT

    def summary(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return {
            "cell": self.cell,
            "tensor": self.tensor,
            "is_memory": self.is_memory,
            "windows": len(self.norms),
            "steps": self.norms.shape[1],
            "last_norm": float(np.median(self.norms[:, 0])),
            "median": self.median.tolist(),
            "decay_per_step": self.decay_per_step,
            "verdict": str(self.verdict),
        }


def measure_gradients(
    network: DrivingNetwork, loss: MaskedLoss, recording: Recording
) -> tuple[GradientFlow, ...]:
    """Measure every cell's gradients over windows that follow each other, state carried.

    Args:
        network: in evaluation mode; its cells are found by their type.
        loss: of the heads' means.
        recording: frames with labels; windows are as long as `STEPS`, or as the longest sequence.

    Returns:
        One flow for each state tensor of each cell; none for a network without cells.

    Raises:
        DataError: no sequence is long enough, or none has a label to err from.
    """
    cells = cells_of(network)
    if not cells:
        return ()
    steps = min(STEPS, max(span.last - span.first for span in recording.spans))
    if steps < _FEWEST_STEPS:
        raise DataError(f"gradients need a drive of {_FEWEST_STEPS} unbroken frames, has {steps}")
    probe = _Probe(network, cells, loss, recording)
    windows = [
        norms
        for span in recording.spans
        for norms in probe.along(span, steps)
        if all(norm[0] > 0 for norm in norms)
    ]
    if not windows:
        raise DataError("no window of the validation drive has a loss at its last frame")
    tensors = [(name, tensor) for name, cell in cells.items() for tensor in cell.names]
    return tuple(
        GradientFlow(
            cell=name,
            tensor=tensor,
            is_memory=tensor == cells[name].names[-1],
            norms=np.array(norms),
        )
        for (name, tensor), norms in zip(tensors, zip(*windows, strict=True), strict=True)
    )


class _Probe:
    """Runs a network over windows of a recording and asks for its cells' gradients."""

    def __init__(
        self,
        network: DrivingNetwork,
        cells: Mapping[str, Cell],
        loss: MaskedLoss,
        recording: Recording,
    ) -> None:
        self._network, self._cells = network, cells
        self._loss, self._recording = loss, recording
        self._intervals_s = torch.from_numpy(recording.intervals_s(network.period_s))

    def along(self, span: Span, steps: int) -> Iterator[list[list[float]]]:
        """Yield the norms of each window of a sequence: for each tensor, from the last step."""
        state = self._network.initial_state(1)
        for first in range(span.first, span.last - steps + 1, steps):
            norms, state = self._window(slice(first, first + steps), state)
            yield norms

    def _window(self, places: slice, state: State) -> tuple[list[list[float]], State]:
        with _kept_states(self._cells) as kept:
            seen = self._seen(places, state)
            outputs, after = self._network.unroll(*seen, self._intervals_s[None, places])
        label = torch.from_numpy(self._recording.labels[places][None, -1:])
        error = self._loss(outputs.mean[:, -1:], label, torch.ones(1))
        by_tensor = [tensors for states in kept for tensors in zip(*states, strict=True)]
        flat = [tensor for tensors in by_tensor for tensor in tensors]
        gradients = iter(torch.autograd.grad(error, flat, materialize_grads=True))
        norms = [[float(next(gradients).norm()) for _ in tensors][::-1] for tensors in by_tensor]
        return norms, tuple(tensor.detach() for tensor in after)

    @torch.no_grad()
    def _seen(self, places: slice, state: State) -> tuple[Tensor, State]:
        """Return what the network's encoder makes of frames, and the state with what it minds.

        Time passes through the cells alone, so the encoder needs no gradient.
        """
        frames = torch.from_numpy(np.array(self._recording.frames[places]))[None]
        recurrent = len(self._network.recurrent_tensors)
        features, visual = self._network.see(frames, state[recurrent:])
        return features, (*state[:recurrent], *visual)


@contextlib.contextmanager
def _kept_states(cells: Mapping[str, Cell]) -> Iterator[list[list[State]]]:
    """Keep what each cell gives at each step while the block runs."""
    kept: list[list[State]] = [[] for _ in cells]
    hooks = [
        cell.register_forward_hook(functools.partial(_keep, states))
        for cell, states in zip(cells.values(), kept, strict=True)
    ]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def _keep(states: list[State], _cell: Cell, _inputs: Any, state: State) -> None:  # noqa: ANN401
    states.append(state)
