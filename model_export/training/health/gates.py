"""A cell's gates: how often each is as good as shut or wide open."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model_export.networks import DrivingNetwork, State
from model_export.networks.parts.cells import Cell, cells_of

BINS = 20
"""Of equal width over 0..1: the first holds what is below 0.05, the last what is above 0.95."""

CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateUse:
    """How the values of one gate are spread.

    A saturated value is below 0.05 or above 0.95: there a sigmoid's slope is less than a fifth of
    its greatest, and little is learnt. The candidate's tanh is put on the same scale, as
    `(1 + tanh) / 2`, so its saturation is a magnitude above 0.9.

    Attributes:
        cell: the cell's name in its network.
        gate: `input`, `forget`, `output`; `reset`, `update`; or `candidate`.
        shares: float64 [BINS] of all values, over units and frames; their sum is 1.
    """

    cell: str
    gate: str
    shares: npt.NDArray[np.float64]

    @property
    def low(self) -> float:
        """Share of values below 0.05: shut."""
        return float(self.shares[0])

    @property
    def high(self) -> float:
        """Share of values above 0.95: wide open."""
        return float(self.shares[-1])

    @property
    def saturated(self) -> float:
        """Share of values that are either."""
        return self.low + self.high

    def summary(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return {
            "cell": self.cell,
            "gate": self.gate,
            "low": self.low,
            "high": self.high,
            "saturated": self.saturated,
        }


class GateWatch:
    """Counts the values of every gate of a network while `watching`.

    Args:
        network: its cells are found by their type.
    """

    def __init__(self, network: DrivingNetwork) -> None:
        self._cells = cells_of(network)
        self._counts: dict[tuple[str, str], Tensor] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Count what the network does while the block runs."""
        hooks = [
            cell.register_forward_hook(functools.partial(self._count, name))
            for name, cell in self._cells.items()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def uses(self) -> tuple[GateUse, ...]:
        """Return what was counted, cell by cell."""
        return tuple(
            GateUse(cell=cell, gate=gate, shares=(counts / counts.sum()).numpy())
            for (cell, gate), counts in self._counts.items()
        )

    @torch.no_grad()
    def _count(self, name: str, cell: Cell, inputs: tuple[Tensor, State], _state: State) -> None:
        gates, candidate = cell.inside(*inputs)
        for gate, values in {**gates, CANDIDATE: (1 + candidate) / 2}.items():
            counts = torch.histc(values, bins=BINS, min=0, max=1).double()
            self._counts[name, gate] = self._counts.get((name, gate), 0) + counts
