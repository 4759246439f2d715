"""A network's step over a batch of sessions: the base class of the steppers on CPU and GPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from steerstream_bundle.loading import Bundle
from steerstream_bundle.preprocess import Picture
from steerstream_bundle.runtime import Array
from steerstream_service.domain import Slot
from steerstream_service.engine.state_pool import Slots

_Memory: TypeAlias = Callable[[tuple[int, ...], npt.DTypeLike], Array]


class Rows(NamedTuple):
    """The result of a step: for each frame its values, and whether they may be used.

    The values are those of the contract's `value_tensors`, in their order.
    A row is unfit where the network's new state was not a number; the state is then as it was.
    """

    outputs: list[tuple[float, ...]]
    fit: list[bool]


class Stepper(ABC):
    """One network, its sessions' state, and the memory in which its batches are put together.

    A stepper belongs to the engine's thread, except where `state_pool` says otherwise.

    Args:
        bundle: the network.
        buckets: the sizes to which batches are padded where padding pays; the last is the largest.
        memory: returns zeroed memory of a shape and type, from which the network reads best.

    Attributes:
        pool: the rows of the state pool, and which sessions hold them.
        keep_warm_s: after so long without a step, `warm_up` of the smallest bucket keeps the
            next step quick; None where idling costs nothing.
    """

    pool: Slots
    keep_warm_s: float | None = None

    def __init__(self, bundle: Bundle, buckets: Sequence[int], memory: _Memory) -> None:
        contract, largest = bundle.contract, buckets[-1]
        self.bundle = bundle
        self._buckets = buckets
        self._frames = memory((largest, *contract.frame.shape), np.uint8)
        self._intervals = memory((largest,), np.float32) if contract.interval_tensor else None
        self._period_s = 1 / contract.rate_hz

    @abstractmethod
    def warm_up(self, size: int) -> None:
        """Run a batch on the sentinel slot and check what comes out.

        Raises:
            BundleError: the outputs are not shaped as the contract says.
            StepError: the network fails.
        """

    def step(
        self,
        pixels: Sequence[Picture],
        slots: Sequence[Slot],
        reset: Sequence[bool],
        intervals_s: Sequence[float] | None = None,
    ) -> Rows:
        """Run one step over a batch and commit the new state.

        Args:
            pixels: uint8 [height, width, 3] for each frame.
            slots: the sessions' rows of the pool, each at most once.
            reset: whether a frame's step begins from the initial state.
            intervals_s: seconds since the last frame that a state has seen, for a network that
                takes them; by default one period of the contract's rate.

        Raises:
            StepError: the network failed; the state is as it was.
        """
        for row, picture in zip(self._frames, pixels, strict=False):
            row[...] = picture
        if self._intervals is not None:
            self._intervals[: len(slots)] = self._period_s if intervals_s is None else intervals_s
        return self._step(slots, reset)

    @abstractmethod
    def _step(self, slots: Sequence[Slot], reset: Sequence[bool]) -> Rows:
        """Step the frames and intervals that lie in the batch's memory."""


def fitting(buckets: Sequence[int], size: int) -> int:
    """Return the smallest bucket that holds a batch of this size."""
    return next(bucket for bucket in buckets if bucket >= size)
