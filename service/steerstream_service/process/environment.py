"""Sets variables that libraries read when they are imported: import this module before them.

A variable that an operator has set stays as it is. The figures behind each choice are in
`docs/decisions/0009-one-process-and-many.md`.
"""

from __future__ import annotations

import importlib.metadata
import os
import re

GRPC_EXPERIMENTS = (
    ((1, 84), "-event_engine_listener,-event_engine_client,-event_engine_dns"),
    ((1, 86), "-event_engine_listener,-event_engine_client"),
)
"""gRPC's older poller, each up to the first release without it or not tried yet.

Its event engine hands every message to another thread and back. A name that a release does not know
is two lines on stderr, which is for JSON alone: a release that nobody has tried gets no names.
"""


def grpc_experiments(version: str) -> str | None:
    """Return the experiments to set for a version of grpcio, or None for one not tried yet."""
    found = re.match(r"(\d+)\.(\d+)", version)
    release = (int(found[1]), int(found[2])) if found else None
    return next((names for end, names in GRPC_EXPERIMENTS if release and release < end), None)


def _set() -> None:
    try:
        names = grpc_experiments(importlib.metadata.version("grpcio"))
    except importlib.metadata.PackageNotFoundError:  # copied in without its metadata
        return
    if names:
        os.environ.setdefault("GRPC_EXPERIMENTS", names)


_set()
