"""The embedded world: a road from a seed, a camera, a vehicle, an expert, and the closed loop.

Everything here is deterministic from a seed. Seeds 0 to 99 are for evaluation and no network is
ever trained on them; training draws its roads from seeds of 1000 and above.
"""
