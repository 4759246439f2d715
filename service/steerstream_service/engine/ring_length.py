"""Finds how many frames decide what a network's rings hold.

Nobody has to state it: the network itself is asked. It steps the same frames from two states that
have nothing in common, until its rings are equal to the last bit. From then on nothing of what was
before is left in them, and as many frames bring about the same rings from any state.
"""

from __future__ import annotations

import logging

import numpy as np

from steerstream_service.engine.state_pool import Floats
from steerstream_service.engine.stepper import Stepper
from steerstream_service.telemetry.logs import fields

MOST_FRAMES = 64
"""Frames that a session plays again for its rings: three seconds at 20 Hz. Longer rings cost more
steps at a hand-over than their bytes are worth, and stay in the tickets."""

_LEVELS = ((0, 256), (0, 1), (255, 256))
"""Lowest and highest level of the pixels for each pair of states: noise, black and white. A network
may be flat for one of them, and a state that only fades does so more slowly for another."""
_SPREAD = 4.0
"""Standard deviation of the states' values: far enough from zero to reach every activation."""
_SEED = 7

_log = logging.getLogger(__name__)


def ring_length(stepper: Stepper) -> int:
    """Return how many frames a network's rings can be made again from.

    That is 0 where it has none, and where what they hold depends on more than the last
    `MOST_FRAMES` frames. The network is stepped on the sentinel slot.

    Args:
        stepper: the network, warm.

    Raises:
        StepError: the network fails.
    """
    contract = stepper.bundle.contract
    if not any(pair.kind.is_ring for pair in contract.state):
        return 0
    rng = np.random.default_rng(_SEED)
    lengths = [_frames_until_equal(stepper, rng, levels) for levels in _LEVELS]
    if 0 in lengths:
        _log.warning(
            "rings_without_end", extra=fields(model=contract.name, frames_tried=MOST_FRAMES)
        )
        return 0
    return max(lengths)


def _frames_until_equal(stepper: Stepper, rng: np.random.Generator, levels: tuple[int, int]) -> int:
    """Return after how many frames the rings of two states are the same; 0 for never."""
    contract = stepper.bundle.contract
    elements = sum(int(np.prod(pair.shape)) for pair in contract.state)
    states = [rng.normal(0, _SPREAD, elements).astype(np.float32).tobytes() for _ in range(2)]
    for frames in range(1, MOST_FRAMES + 1):
        picture = rng.integers(*levels, contract.frame.shape, np.uint8)
        states = [_after(stepper, state, picture) for state in states]
        first, second = (_rings(stepper, state) for state in states)
        if all(np.array_equal(one, other) for one, other in zip(first, second, strict=True)):
            return frames
    return 0


def _after(stepper: Stepper, state: bytes, picture: np.ndarray) -> bytes:
    slots = [stepper.pool.sentinel]
    return stepper.step([picture], slots, [False], load={0: state}, save={0: True}).saved[0]


def _rings(stepper: Stepper, state: bytes) -> list[Floats]:
    pairs = stepper.bundle.contract.state
    return [values for at, values in stepper.tensors(state).items() if pairs[at].kind.is_ring]
