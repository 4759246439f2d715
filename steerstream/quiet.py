"""Keeps gRPC's core from writing to stderr past Python's logging; imported before gRPC.

A server that goes away is told to the program as a typed error; the core would print it as well,
in the middle of a program's own output. `GRPC_VERBOSITY` in the environment brings it back.
"""

import os

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
