"""Keeps gRPC's core from writing to stderr past Python's logging; imported before gRPC.

A lost server is a typed error, and the core would print it as well, in the middle of the program's
output. Set `GRPC_VERBOSITY` in the environment to see the core's messages.
"""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
