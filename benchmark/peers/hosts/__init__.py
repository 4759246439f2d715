"""Programs that run in the peers' environments: their servers around one shared network.

Each module needs the packages of its peer only and imports no other peer's.
"""
