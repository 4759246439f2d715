"""A network's step over a batch of sessions: the base class of the steppers on CPU and GPU."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from steerstream_bundle.loading import Bundle
from steerstream_bundle.preprocess import Picture
from steerstream_bundle.runtime import Array
from steerstream_service.domain import Slot
from steerstream_service.engine.state_pool import Floats, Slots

_Memory: TypeAlias = Callable[[tuple[int, ...], npt.DTypeLike], Array]
_NOTHING: Mapping[int, Any] = MappingProxyType({})


class Rows(NamedTuple):
    """The result of a step: for each frame its values, and whether they may be used.

    The values are those of the contract's `values`, in their order, a horizon's step by step.
    A row is unfit where the network's new state was not a number; the state is then as it was.
    `saved` is the new state of the rows for which it was asked, in that order.
    """

    outputs: list[list[float]]
    fit: list[bool]
    saved: list[bytes]


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
        # One row for each of the times that the network is told.
        self._time_inputs = contract.time_inputs
        self._times = [memory((largest,), np.float32) for _ in self._time_inputs]
        self._kept = [at for at, pair in enumerate(contract.state) if not pair.kind.is_ring]
        self._kept_bytes = sum(4 * math.prod(contract.state[at].shape) for at in self._kept)

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
        times_s: Sequence[Sequence[float]] | None = None,
        *,
        load: Mapping[int, bytes] = _NOTHING,
        save: Mapping[int, bool] = _NOTHING,
    ) -> Rows:
        """Run one step over a batch and commit the new state.

        Args:
            pixels: uint8 [height, width, 3] for each frame.
            slots: the sessions' rows of the pool, each at most once.
            reset: whether a frame's step begins from the initial state.
            times_s: for each of the contract's `time_inputs` the frames' times in seconds; by
                default the contract's.
            load: states that go into the pool before the step, by the frame's place in the batch;
                float32 tensors in the contract's order. A state without its rings leaves those of
                the pool as they are.
            save: places in the batch whose new state is returned in the same form, and whether with
                its rings.

        Raises:
            StepError: the network failed; the state is as it was.
        """
        for at, state in load.items():
            if self.pool.holds(slots[at]):
                self._load(slots[at], self.tensors(state))
        for row, picture in zip(self._frames, pixels, strict=False):
            row[...] = picture
        for at, item in enumerate(self._time_inputs):
            self._times[at][: len(slots)] = item.default_s if times_s is None else times_s[at]
        return self._step(slots, reset, save)

    @abstractmethod
    def _load(self, slot: Slot, tensors: Mapping[int, Floats]) -> None:
        """Write tensors of a session's state, by their places, into its row of the pool."""

    @abstractmethod
    def _step(self, slots: Sequence[Slot], reset: Sequence[bool], save: Mapping[int, bool]) -> Rows:
        """Step the frames and times that lie in the batch's memory."""

    def tensors(self, state: bytes) -> dict[int, Floats]:
        """Return a state as arrays of the contract's shapes, by their places in the contract."""
        values, begin = np.frombuffer(state, np.float32), 0
        tensors = {}
        pairs = self.bundle.contract.state
        for at in self._kept if len(state) == self._kept_bytes else range(len(pairs)):
            end = begin + math.prod(pairs[at].shape)
            tensors[at] = values[begin:end].reshape(pairs[at].shape)
            begin = end
        return tensors

    def _saved_places(self, *, with_rings: bool) -> Sequence[int]:
        """Return the places of the tensors that are saved, in the contract's order."""
        return range(len(self.bundle.contract.state)) if with_rings else self._kept


def fitting(buckets: Sequence[int], size: int) -> int:
    """Return the smallest bucket that holds a batch of this size."""
    return next(bucket for bucket in buckets if bucket >= size)
