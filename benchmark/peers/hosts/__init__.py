"""What runs in the peers' own environments: their servers around one shared network.

Each module needs the packages of its peer only and imports no other peer's.
"""
