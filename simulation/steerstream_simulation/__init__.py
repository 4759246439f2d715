"""The embedded world: a road from a seed, a camera, a vehicle, an expert, and the closed loop.

Everything here is deterministic from a seed. Seeds 0 to 99 are for evaluation and no network is
ever trained on them; training draws its roads from seeds of 1000 and above.
"""

import sys

if sys.modules.get("gymnasium"):
    # `gymnasium.make("steerstream_simulation:steerstream/Road-v0")` imports this package so that
    # it registers its environment. Without Gymnasium the package works as well.
    from steerstream_simulation import environment as _environment  # noqa: F401
