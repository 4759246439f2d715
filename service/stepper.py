"""Steps of one network over its sessions' state: gather, run, commit, for one batch at a time.

A stepper belongs to the engine's thread, except where :mod:`service.state` says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from service.bundle import Bundle
from service.errors import BundleError
from service.preprocess import Picture
from service.runtime import Array
from service.state import Slot, StatePool


class Rows(NamedTuple):
    """What a step brought: for each frame one value for each output, and whether it may be used.

    A row is unfit where the network's new state was not a number; the state is then as it was.
    """

    outputs: list[tuple[float, ...]]
    fit: list[bool]


class Stepper:
    """One network, its state pool, and the memory in which its batches are put together.

    Args:
        bundle: the network.
        sessions: slots of its state pool.
        buckets: the sizes to which batches are padded where padding pays; the last is the largest.
    """

    def __init__(self, bundle: Bundle, *, sessions: int, buckets: Sequence[int]) -> None:
        self.bundle = bundle
        self.pool = StatePool(bundle.contract.state, sessions)
        self._buckets = buckets
        self._frames = np.zeros((buckets[-1], *bundle.contract.frame.shape), np.uint8)

    def warm_up(self, size: int) -> None:
        """Run a batch on the sentinel slot and check what comes out.

        Raises:
            BundleError: the outputs are not shaped as the contract says.
            StepError: the network fails.
        """
        slots, reset = [self.pool.sentinel] * size, [True] * size
        self._check(*self._run(self._frames[:size], slots, reset), size)

    def step(self, pixels: Sequence[Picture], slots: Sequence[Slot], reset: Sequence[bool]) -> Rows:
        """Run one step over a batch and commit the new state.

        Args:
            pixels: uint8 [height, width, 3] for each frame.
            slots: the sessions' rows of the pool, each at most once.
            reset: whether a frame's step begins from the initial state.

        Raises:
            StepError: the network failed; the state is as it was.
        """
        count = len(slots)
        frames = self._gathered(pixels)
        padding = len(frames) - count
        outputs, state = self._run(
            frames, [*slots, *[self.pool.sentinel] * padding], [*reset, *[True] * padding]
        )
        fit = self.pool.commit(slots, [rows[:count] for rows in state])
        values = zip(*(column[:count].tolist() for column in outputs), strict=True)
        return Rows(list(values), fit.tolist())

    def _gathered(self, pixels: Sequence[Picture]) -> Picture:
        pads = self.bundle.runtime.pads_batches
        if len(pixels) == 1 and not pads:
            return pixels[0][np.newaxis]
        for row, picture in zip(self._frames, pixels, strict=False):
            row[...] = picture
        size = len(pixels)
        return self._frames[: self._bucket(size) if pads else size]

    def _bucket(self, size: int) -> int:
        return next(bucket for bucket in self._buckets if bucket >= size)

    def _run(
        self, frames: Picture, slots: Sequence[Slot], reset: Sequence[bool]
    ) -> tuple[Sequence[Array], Sequence[Array]]:
        return self.bundle.step(frames, self.pool.gather(slots, reset))

    def _check(self, outputs: Sequence[Array], state: Sequence[Array], size: int) -> None:
        contract = self.bundle.contract
        for output, values in zip(contract.outputs, outputs, strict=True):
            if values.shape != (size,):
                raise BundleError(f"output {output.tensor!r} came as {values.shape}, not ({size},)")
        for pair, values in zip(contract.state, state, strict=True):
            if values.shape != (size, *pair.shape):
                raise BundleError(f"state {pair.output!r} came as {values.shape}")
