"""The recurrent state of all sessions of one model: a pool with one row, a slot, for each session.

The arrays are allocated once. Gather and scatter are single indexing operations, whatever the size
of the batch. One row more than there are slots, the sentinel, takes what padding and warm-up write.

The event loop's thread allocates and releases slots; the engine's thread gathers and commits. They
meet only in the generation numbers: a step that began before its slot was released finds that the
number has changed, and its rows go nowhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.contract import StateTensor

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Slot:
    """A session's row, valid while the row's generation is this one."""

    index: int
    generation: int


class PoolFullError(Exception):
    """All slots are taken."""


class StatePool:
    """One preallocated float32 array [slots + 1, *shape] for each state tensor.

    A row has no meaning until its session's first step, which starts from the initial value.

    Args:
        tensors: the contract's state; may be empty, and the pool then only hands out slots.
        slots: sessions that it holds at once.
    """

    def __init__(self, tensors: Sequence[StateTensor], slots: int) -> None:
        self._arrays = [np.zeros((slots + 1, *tensor.shape), np.float32) for tensor in tensors]
        self._initial = [_initial(tensor) for tensor in tensors]
        self._generations = np.zeros(slots + 1, np.int64)
        # First in, first out: a released slot rests as long as possible before its next use.
        self._free = deque(range(slots))
        self.sentinel = Slot(slots, 0)

    @property
    def free(self) -> int:
        """Slots that are not taken."""
        return len(self._free)

    def allocate(self) -> Slot:
        """Take a slot.

        Raises:
            PoolFullError: all slots are taken.
        """
        if not self._free:
            raise PoolFullError
        index = self._free.popleft()
        return Slot(index, int(self._generations[index]))

    def release(self, slot: Slot) -> None:
        """Give a slot back; giving it back again does nothing."""
        if self._generations[slot.index] == slot.generation and slot != self.sentinel:
            self._generations[slot.index] += 1
            self._free.append(slot.index)

    def gather(self, slots: Sequence[Slot], reset: Sequence[bool]) -> list[Floats]:
        """Return the state of a batch, one array [N, *shape] for each tensor.

        Args:
            slots: the batch's rows.
            reset: whether a row starts from the initial value. The pool itself changes only when
                the step is committed.
        """
        rows = _indices(slots)
        state = [array[rows] for array in self._arrays]
        if any(reset):
            for array, initial in zip(state, self._initial, strict=True):
                array[np.asarray(reset)] = initial
        return state

    def commit(self, slots: Sequence[Slot], state: Sequence[Floats]) -> Bools:
        """Write the state after a step, and return which rows were fit to write.

        A row with a value that is not a number is left as it was before the step. So is a row whose
        slot was released meanwhile; nobody waits for it.
        """
        rows = _indices(slots)
        finite = np.ones(len(slots), np.bool_)
        for new in state:
            finite &= np.isfinite(new).reshape(len(slots), -1).all(axis=1)
        current = self._generations[rows] == [slot.generation for slot in slots]
        written = finite & current
        for array, new in zip(self._arrays, state, strict=True):
            array[rows[written]] = new[written]
        return finite


def _initial(tensor: StateTensor) -> Floats:
    values = np.asarray(tensor.initial, np.float32)
    if values.size > 1:
        return values.reshape(tensor.shape)
    return np.full(tensor.shape, values[0], np.float32)


def _indices(slots: Sequence[Slot]) -> Indices:
    return np.fromiter((slot.index for slot in slots), np.intp, len(slots))
