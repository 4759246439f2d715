"""The times of a batch's frames, as a graph takes them."""

from __future__ import annotations

import numpy as np

from steerstream_bundle.contract import Contract
from steerstream_bundle.runtime import Array


def feed_times(
    contract: Contract,
    batch: int,
    *,
    interval_s: Array | None = None,
    act_in_s: Array | None = None,
) -> dict[str, Array]:
    """Return the inputs of a graph that say the times of its frames; none for most networks.

    Args:
        contract: the bundle's.
        batch: frames of the step.
        interval_s: float32 [batch], seconds since the last frame that each state has seen; by
            default one period of the contract's rate.
        act_in_s: float32 [batch], seconds from each frame's capture until its command acts; by
            default what the contract says.
    """
    given = {"interval_s": interval_s, "act_in_s": act_in_s}
    feed: dict[str, Array] = {}
    for item in contract.time_inputs:
        values = given[item.name]
        feed[item.tensor] = np.full(batch, item.default_s, np.float32) if values is None else values
    return feed
