"""Steps of one network over its sessions' state: gather, run, commit, for one batch at a time.

A stepper belongs to the engine's thread, except where `state_pool` says otherwise. This one
keeps the state in the host's memory; `device_stepper` keeps it on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from steerstream_bundle.errors import BundleError
from steerstream_bundle.loading import Bundle
from steerstream_bundle.preprocess import Picture
from steerstream_bundle.runtime import BoundGraph, Memory
from steerstream_service.engine.state_pool import Floats, Slot, StatePool


class Rows(NamedTuple):
    """What a step brought: for each frame its values, and whether they may be used.

    The values are those of the contract's `value_tensors`, in their order.
    A row is unfit where the network's new state was not a number; the state is then as it was.
    """

    outputs: list[tuple[float, ...]]
    fit: list[bool]


class _Batch(NamedTuple):
    """What a size of a batch needs: the graph bound to memory, and that memory without padding."""

    graph: BoundGraph
    old: Sequence[Floats]
    new: Sequence[Floats]
    outputs: Floats


class Stepper:
    """One network, its state pool, and the memory in which its batches are put together.

    Batches of all sizes share the memory. It is bound to the graph once for each size, which saves
    a third of what a call of ONNX Runtime costs beside the network itself.

    Args:
        bundle: the network.
        sessions: slots of its state pool.
        buckets: the sizes to which batches are padded where padding pays; the last is the largest.

    Attributes:
        keep_warm_s: after so long without a step, `warm_up` of the smallest bucket keeps the
            next step quick; None where idling costs nothing.
    """

    keep_warm_s: float | None = None

    def __init__(self, bundle: Bundle, *, sessions: int, buckets: Sequence[int]) -> None:
        contract, largest = bundle.contract, buckets[-1]
        self.bundle = bundle
        self.pool = StatePool(contract.state, sessions)
        self._buckets = buckets
        self._period_s = 1 / contract.rate_hz
        self._frames = np.zeros((largest, *contract.frame.shape), np.uint8)
        self._intervals = np.zeros(largest, np.float32) if contract.interval_tensor else None
        self._old, self._new = (
            [np.zeros((largest, *pair.shape), np.float32) for pair in contract.state]
            for _ in range(2)
        )
        self._outputs = np.zeros((len(contract.value_tensors), largest), np.float32)
        # At most one for each size of a batch.
        self._batches: dict[int, _Batch] = {}

    def warm_up(self, size: int) -> None:
        """Run a batch on the sentinel slot and check what comes out.

        Raises:
            BundleError: the outputs are not shaped as the contract says.
            StepError: the network fails.
        """
        if size not in self._batches:
            self._check_shapes(size)
            for smaller in self._to_compile(size):
                self._run([self.pool.sentinel] * smaller, [True] * smaller)
        self._run([self.pool.sentinel] * size, [True] * size)

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
        batch = self._run(slots, reset)
        fit = self.pool.commit(slots, batch.new)
        return Rows(list(zip(*batch.outputs.tolist(), strict=True)), fit)

    def _run(self, slots: Sequence[Slot], reset: Sequence[bool]) -> _Batch:
        size = len(slots)
        batch = self._batches.get(size)
        if batch is None:
            batch = self._batches[size] = self._bind(size)
        self.pool.gather(slots, reset, batch.old)
        batch.graph.run()
        return batch

    def _bind(self, size: int) -> _Batch:
        contract = self.bundle.contract
        # Rows of padding hold what an earlier batch left there; nobody reads what becomes of them.
        padded = fitting(self._buckets, size) if self.bundle.runtime.pads_batches else size
        inputs = {contract.frame.tensor: Memory.of(self._frames[:padded])}
        if self._intervals is not None:
            inputs[contract.interval_tensor] = Memory.of(self._intervals[:padded])
        outputs = {
            tensor: Memory.of(values[:padded])
            for tensor, values in zip(contract.value_tensors, self._outputs, strict=True)
        }
        for pair, old, new in zip(contract.state, self._old, self._new, strict=True):
            inputs[pair.input] = Memory.of(old[:padded])
            outputs[pair.output] = Memory.of(new[:padded])
        return _Batch(
            self.bundle.runtime.bind(inputs, outputs),
            _first(size, self._old),
            _first(size, self._new),
            self._outputs[:, :size],
        )

    def _to_compile(self, size: int) -> range:
        """Return the sizes between the bucket before and this one, if their shapes take time."""
        if not self.bundle.runtime.provider.compiles_shapes:
            return range(0)
        return range(max((item for item in self._buckets if item < size), default=0) + 1, size)

    def _check_shapes(self, size: int) -> None:
        """Run once without bound outputs, whose shapes are then the network's own."""
        contract = self.bundle.contract
        outputs, state = self.bundle.step(self._frames[:size], _first(size, self._old))
        for tensor, values in zip(contract.value_tensors, outputs, strict=True):
            if values.shape != (size,):
                raise BundleError(f"output {tensor!r} came as {values.shape}, not ({size},)")
        for pair, values in zip(contract.state, state, strict=True):
            if values.shape != (size, *pair.shape):
                raise BundleError(f"state {pair.output!r} came as {values.shape}")


def fitting(buckets: Sequence[int], size: int) -> int:
    """Return the smallest bucket that holds a batch of this size."""
    return next(bucket for bucket in buckets if bucket >= size)


def _first(count: int, arrays: Sequence[Floats]) -> list[Floats]:
    return [array[:count] for array in arrays]
