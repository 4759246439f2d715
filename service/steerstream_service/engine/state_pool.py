"""The recurrent state of all sessions of one model: a pool with one row, a slot, for each session.

The arrays are allocated once. Gather and scatter are single indexing operations for a batch of any
size. One extra row, the sentinel, takes the writes of padding and warm-up.

The event loop's thread allocates and releases slots; the engine's thread gathers and commits. They
meet only in the generation numbers: a step that began before its slot was released finds that the
number has changed, and its rows are not written.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from steerstream_bundle.contract import StateTensor
from steerstream_service.domain import Slot

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

_DOT_ELEMENTS = 10_000
"""Above it, NumPy's OpenBLAS would start threads for a dot product."""


class PoolFullError(Exception):
    """All slots are taken."""


class Slots:
    """Which session holds which row; the rows themselves lie elsewhere.

    A row has no meaning until its session's first step, which starts from the initial value.

    Args:
        count: sessions at once.
    """

    def __init__(self, count: int) -> None:
        self._generations = [0] * (count + 1)
        # First in, first out: a released slot rests as long as possible before its next use.
        self._free = deque(range(count))
        self.sentinel = Slot(count, 0)

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
        return Slot(index, self._generations[index])

    def release(self, slot: Slot) -> None:
        """Give a slot back; giving it back again does nothing."""
        if self.holds(slot) and slot != self.sentinel:
            self._generations[slot.index] += 1
            self._free.append(slot.index)

    def holds(self, slot: Slot) -> bool:
        """Whether a slot is still its session's."""
        return self._generations[slot.index] == slot.generation


class StatePool(Slots):
    """One preallocated float32 array [slots + 1, *shape] for each state tensor.

    Args:
        tensors: the contract's state; may be empty, and the pool then only hands out slots.
        slots: sessions that it holds at once.
    """

    def __init__(self, tensors: Sequence[StateTensor], slots: int) -> None:
        super().__init__(slots)
        self._arrays = [np.zeros((slots + 1, *tensor.shape), np.float32) for tensor in tensors]
        self._initial = [initial_value(tensor) for tensor in tensors]

    def gather(
        self,
        slots: Sequence[Slot],
        reset: Sequence[bool],
        out: Sequence[Floats] | None = None,
    ) -> Sequence[Floats]:
        """Return the state of a batch, one array [N, *shape] for each tensor.

        Args:
            slots: the batch's rows.
            reset: whether a row starts from the initial value. The pool itself changes only when
                the step is committed.
            out: where to write, arrays of the shapes that are returned; new ones if not given.
        """
        if out is None:
            out = [np.empty((len(slots), *rows.shape[1:]), np.float32) for rows in self._arrays]
        if len(slots) == 1:
            sources = self._initial if reset[0] else [rows[slots[0].index] for rows in self._arrays]
            for source, target in zip(sources, out, strict=True):
                target[0] = source
            return out
        indices = _indices(slots)
        for rows, target in zip(self._arrays, out, strict=True):
            # Every mode but "raise" writes straight into the target.
            rows.take(indices, axis=0, out=target, mode="clip")
        if any(reset):
            mask = np.asarray(reset)
            for initial, target in zip(self._initial, out, strict=True):
                target[mask] = initial
        return out

    def write(self, slot: Slot, state: Mapping[int, Floats]) -> None:
        """Put some tensors of a state, by their places, into a slot's rows."""
        for at, new in state.items():
            self._arrays[at][slot.index] = new

    def commit(self, slots: Sequence[Slot], state: Sequence[Floats]) -> list[bool]:
        """Write the state after a step, and return which rows were fit to write.

        A row with a value that is not a number is left as it was before the step. So is a row whose
        slot was released during the step.
        """
        fit = _finite_rows(state, len(slots))
        written = [good and self.holds(slot) for good, slot in zip(fit, slots, strict=True)]
        if len(slots) == 1:
            if written[0]:
                for rows, new in zip(self._arrays, state, strict=True):
                    rows[slots[0].index] = new[0]
            return fit
        indices = _indices(slots)
        if not all(written):
            indices, state = indices[written], [new[written] for new in state]
        for rows, new in zip(self._arrays, state, strict=True):
            rows[indices] = new
        return fit


def initial_value(tensor: StateTensor) -> Floats:
    """Return the state tensor's value at a session's start, of the tensor's shape."""
    values = np.asarray(tensor.initial, np.float32)
    if values.size > 1:
        return values.reshape(tensor.shape)
    return np.full(tensor.shape, values[0], np.float32)


def _finite_rows(state: Sequence[Floats], count: int) -> list[bool]:
    if all(_surely_finite(new.reshape(-1)) for new in state):
        return [True] * count
    finite = np.ones(count, np.bool_)
    for new in state:
        finite &= np.isfinite(new).reshape(count, -1).all(axis=1)
    return finite.tolist()


def _surely_finite(values: Floats) -> bool:
    """Whether a sum of squares shows all values to be numbers: a quarter of an exact check's time.

    A square is never negative, so nothing cancels; huge numbers overflow and get the exact check.
    """
    return values.size <= _DOT_ELEMENTS and math.isfinite(values.dot(values))


def _indices(slots: Sequence[Slot]) -> Indices:
    return np.array([slot.index for slot in slots], np.intp)
