"""What runs in the peers' own environments: their servers around one shared network.

Each is a module of its own that needs its peer's packages only. Nothing here imports another
peer's.
"""
