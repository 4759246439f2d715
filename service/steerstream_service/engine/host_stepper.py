"""Steps of one network with its state in the host's memory: gather, run, commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from steerstream_bundle.errors import BundleError
from steerstream_bundle.loading import Bundle
from steerstream_bundle.runtime import BoundGraph, Memory
from steerstream_service.domain import Slot
from steerstream_service.engine.state_pool import Floats, Indices, StatePool
from steerstream_service.engine.stepper import Rows, Stepper, fitting


class _Batch(NamedTuple):
    """The graph bound to memory for one size of a batch, and that memory without padding.

    `places` says where each frame's values lie in the memory of all, [size, values].
    """

    graph: BoundGraph
    old: Sequence[Floats]
    new: Sequence[Floats]
    places: Indices


class HostStepper(Stepper):
    """A network on a CPU, or on a device that reads the host's memory.

    Batches of all sizes share the memory. It is bound to the graph once for each size, which saves
    a third of what a call of ONNX Runtime costs beside the network itself.

    Args:
        bundle: the network.
        sessions: slots of its state pool.
        buckets: the sizes to which batches are padded where padding pays; the last is the largest.
    """

    pool: StatePool

    def __init__(self, bundle: Bundle, *, sessions: int, buckets: Sequence[int]) -> None:
        contract, largest = bundle.contract, buckets[-1]
        super().__init__(bundle, buckets, np.zeros)
        self.pool = StatePool(contract.state, sessions)
        self._old, self._new = (
            [np.zeros((largest, *pair.shape), np.float32) for pair in contract.state]
            for _ in range(2)
        )
        # Tensor after tensor, without gaps whatever a batch's size: one lookup makes rows of them.
        self._values = np.zeros(largest * sum(value.size for value in contract.values), np.float32)
        # At most one for each size of a batch.
        self._batches: dict[int, _Batch] = {}

    def warm_up(self, size: int) -> None:
        """Run a batch on the sentinel slot and check what comes out; see `Stepper.warm_up`."""
        if size not in self._batches:
            self._check_shapes(size)
            for smaller in self._to_compile(size):
                self._run([self.pool.sentinel] * smaller, [True] * smaller)
        self._run([self.pool.sentinel] * size, [True] * size)

    def _load(self, slot: Slot, tensors: Mapping[int, Floats]) -> None:
        self.pool.write(slot, tensors)

    def _step(self, slots: Sequence[Slot], reset: Sequence[bool], save: Mapping[int, bool]) -> Rows:
        batch = self._run(slots, reset)
        fit = self.pool.commit(slots, batch.new)
        saved = [
            b"".join(
                batch.new[tensor][at].tobytes()
                for tensor in self._saved_places(with_rings=with_rings)
            )
            for at, with_rings in save.items()
        ]
        return Rows(self._values.take(batch.places).tolist(), fit, saved)

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
        # Rows of padding hold what an earlier batch left there; nobody reads their results.
        padded = fitting(self._buckets, size) if self.bundle.runtime.pads_batches else size
        inputs = {contract.frame.tensor: Memory.of(self._frames[:padded])}
        for item, times in zip(self._time_inputs, self._times, strict=True):
            inputs[item.tensor] = Memory.of(times[:padded])
        outputs, places, begin = {}, [], 0
        for value in contract.values:
            end = begin + padded * value.size
            memory = self._values[begin:end].reshape(padded, *value.shape)
            outputs[value.name] = Memory.of(memory)
            places.append(np.arange(begin, end).reshape(padded, value.size)[:size])
            begin = end
        for pair, old, new in zip(contract.state, self._old, self._new, strict=True):
            inputs[pair.input] = Memory.of(old[:padded])
            outputs[pair.output] = Memory.of(new[:padded])
        return _Batch(
            self.bundle.runtime.bind(inputs, outputs),
            _first(size, self._old),
            _first(size, self._new),
            np.concatenate(places, axis=1),
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
        for value, values in zip(contract.values, outputs, strict=True):
            shape = (size, *value.shape)
            if values.shape != shape:
                raise BundleError(f"output {value.name!r} came as {values.shape}, not {shape}")
        for pair, values in zip(contract.state, state, strict=True):
            if values.shape != (size, *pair.shape):
                raise BundleError(f"state {pair.output!r} came as {values.shape}")


def _first(count: int, arrays: Sequence[Floats]) -> list[Floats]:
    return [array[:count] for array in arrays]
