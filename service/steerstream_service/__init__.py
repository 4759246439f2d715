"""The steerstream server: sessions, state, scheduling and the network's runtime.

Run it with `steerstream serve`. It imports `steerstream` for the wire contract and never
torch.
"""
