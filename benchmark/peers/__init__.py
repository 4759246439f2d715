"""The peers: how each is installed and served, the network behind all of them, the measurements.

Each peer's server runs in an environment of its own and imports a module of `hosts` there, so that
this module imports nothing.
"""
