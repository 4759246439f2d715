"""Steps of one network whose state lies on an accelerator for its whole life.

A step is one copy of the frames from pinned memory, one of the row numbers, one of each time that
the network is told, one run of the network with its pool inside (`pooled_graph`),
and one copy of the answers back; where a ticket is due, one of its session's rows as well.
Everything is begun in order, and the host waits once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from steerstream_bundle import cudart
from steerstream_bundle.errors import BundleError, StepError
from steerstream_bundle.loading import Bundle
from steerstream_bundle.runtime import BoundGraph, Memory, Runtime
from steerstream_service.domain import Slot
from steerstream_service.engine import accelerator, pooled_graph
from steerstream_service.engine.accelerator import Accelerator, Bus
from steerstream_service.engine.state_pool import Floats, Slots, initial_value
from steerstream_service.engine.stepper import Rows, Stepper, fitting
from steerstream_service.telemetry.logs import fields

_log = logging.getLogger(__name__)

_KEEP_WARM_S = 0.02
"""A GPU lowers its clocks within tens of milliseconds, and the next run then takes several times
longer (onnxruntime#16135, #23461). A step of one frame each 20 ms costs it about 1 %."""


class DeviceStepper(Stepper):
    """A network whose state pool lies on an accelerator.

    The graph of each bucket is captured by its first run, which `warm_up` makes on the
    sentinel row: the rows of sessions are not touched, however often it is run for that.

    Args:
        bundle: the network.
        sessions: slots of its state pool.
        buckets: the sizes to which batches are padded; the last is the largest.
        accelerator: where the pool lies.

    Attributes:
        bus: what goes between host and device.

    Raises:
        BundleError: the network cannot be run there.
    """

    keep_warm_s = _KEEP_WARM_S

    def __init__(
        self, bundle: Bundle, *, sessions: int, buckets: Sequence[int], accelerator: Accelerator
    ) -> None:
        contract, largest = bundle.contract, buckets[-1]
        super().__init__(bundle, buckets, accelerator.staging)
        self.pool = Slots(sessions)
        self.bus = Bus(accelerator)
        self._accelerator = accelerator
        self._runtime = Runtime(
            pooled_graph.build(bundle.runtime.model, contract, sessions),
            provider=bundle.runtime.provider,
            intra_op_threads=bundle.runtime.intra_op_threads,
            provider_options=accelerator.provider_options,
        )
        self._routes = accelerator.staging((2 * largest,), np.int64)
        self._answers = accelerator.staging(
            (largest, pooled_graph.answer_columns(contract)), np.float32
        )
        self._frames_there = accelerator.allocate(self._frames.shape, np.uint8)
        self._routes_there = accelerator.allocate(self._routes.shape, np.int64)
        self._answers_there = accelerator.allocate(self._answers.shape, np.float32)
        self._times_there = [accelerator.allocate((largest,), np.float32) for _ in self._times]
        self._pool_there = self._allocate_pool(sessions)
        # One row for each frame of a batch: any of them may have its state saved.
        self._saved = [accelerator.staging((largest, *p.shape), np.float32) for p in contract.state]
        self._graphs = {bucket: self._bind(bucket) for bucket in buckets}

    def warm_up(self, size: int) -> None:
        """Run a batch on the sentinel slot and check what comes out; see `Stepper.warm_up`."""
        self._run([self.pool.sentinel] * size, [True] * size)

    def _load(self, slot: Slot, tensors: Mapping[int, Floats]) -> None:
        for tensor, values in tensors.items():
            staged = self._saved[tensor]
            staged[0] = values
            there = self._pool_there[tensor].part(slot.index, 1)
            self.bus.upload(self.bundle.contract.state[tensor].input, there, staged[0])
        self._accelerator.synchronize()

    def _step(self, slots: Sequence[Slot], reset: Sequence[bool], save: Mapping[int, bool]) -> Rows:
        places = {at: self._saved_places(with_rings=with_rings) for at, with_rings in save.items()}
        self._run(slots, reset, places)
        rows = self._answers[: len(slots)].tolist()
        saved = [
            b"".join(self._saved[tensor][at].tobytes() for tensor in tensors)
            for at, tensors in places.items()
        ]
        return Rows([row[:-1] for row in rows], [row[-1] == 1 for row in rows], saved)

    def _run(
        self,
        slots: Sequence[Slot],
        reset: Sequence[bool],
        save: Mapping[int, Sequence[int]] = MappingProxyType({}),
    ) -> None:
        count = len(slots)
        bucket = fitting(self._buckets, count)
        routes = self._routes[: 2 * bucket]
        routes[:] = self._route(slots, reset, bucket - count)
        self.bus.upload("frames", self._frames_there, self._frames[:count])
        self.bus.upload("routes", self._routes_there, routes)
        for item, here, there in zip(
            self._time_inputs, self._times, self._times_there, strict=True
        ):
            self.bus.upload(item.name, there, here[:count])
        self._graphs[bucket].run()
        self.bus.download("answers", self._answers[:count], self._answers_there)
        for at, tensors in save.items():
            self._download_state(slots[at], at, tensors)
        self._accelerator.synchronize()

    def _download_state(self, slot: Slot, at: int, tensors: Sequence[int]) -> None:
        """Begin to copy a slot's row of some tensors to the host."""
        for tensor in tensors:
            there = self._pool_there[tensor].part(slot.index, 1)
            name = self.bundle.contract.state[tensor].input
            self.bus.download(name, self._saved[tensor][at], there)

    def _route(self, slots: Sequence[Slot], reset: Sequence[bool], padding: int) -> list[int]:
        """Return which row each frame's state is read from, and then which it is written to.

        A slot that was released since is not written: its row may be another session's now.
        """
        sentinel = self.pool.sentinel.index
        initial = sentinel + 1
        sources = [
            initial if fresh else slot.index for slot, fresh in zip(slots, reset, strict=True)
        ]
        targets = [slot.index if self.pool.holds(slot) else sentinel for slot in slots]
        return [*sources, *[initial] * padding, *targets, *[sentinel] * padding]

    def _allocate_pool(self, sessions: int) -> list[Memory]:
        pool = []
        for pair in self.bundle.contract.state:
            there = self._accelerator.allocate(
                (sessions + pooled_graph.EXTRA_ROWS, *pair.shape), np.float32
            )
            here = self._accelerator.staging(pair.shape, np.float32)
            here[...] = initial_value(pair)
            self.bus.upload(pair.input, there.part(sessions + 1, 1), here)
            self._accelerator.synchronize()
            pool.append(there)
        return pool

    def _bind(self, bucket: int) -> BoundGraph:
        contract = self.bundle.contract
        inputs = {
            contract.frame.tensor: self._frames_there.part(0, bucket),
            pooled_graph.SOURCES: self._routes_there.part(0, bucket),
            pooled_graph.TARGETS: self._routes_there.part(bucket, bucket),
        }
        for item, there in zip(self._time_inputs, self._times_there, strict=True):
            inputs[item.tensor] = there.part(0, bucket)
        outputs = {pooled_graph.ANSWERS: self._answers_there.part(0, bucket)}
        for pair, there in zip(contract.state, self._pool_there, strict=True):
            inputs[pooled_graph.pool_input(pair)] = there
            outputs[pooled_graph.pool_output(pair)] = there
        return self._runtime.bind(inputs, outputs, self._accelerator.run_options(bucket))


def open_on_gpu(bundle: Bundle, *, sessions: int, buckets: Sequence[int]) -> DeviceStepper:
    """Return a stepper on the first GPU, with CUDA graphs if the network can be captured.

    Args:
        bundle: the network.
        sessions: slots of its state pool.
        buckets: the sizes to which batches are padded; the last is the largest.

    Raises:
        BundleError: the network cannot be run there.
    """

    def stepper(*, graphs: bool) -> DeviceStepper:
        return DeviceStepper(
            bundle,
            sessions=sessions,
            buckets=buckets,
            accelerator=accelerator.Cuda(cudart.load(), graphs=graphs),
        )

    name = bundle.contract.name
    try:
        try:
            return stepper(graphs=True)
        except BundleError as error:
            # Control flow, and operators that CUDA leaves to the CPU, cannot be captured.
            _log.warning("no_cuda_graphs", extra=fields(model=name, reason=str(error)))
            return stepper(graphs=False)
    except StepError as error:
        raise BundleError(f"{name}: the GPU cannot hold it: {error}") from None
