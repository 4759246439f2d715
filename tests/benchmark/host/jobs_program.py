"""A process that does jobs, for the tests of `jobs`."""

from __future__ import annotations

import os
import sys

from benchmark.host.jobs import serve


def _noisy(*, value):
    print("this is not an answer")
    return value


serve(
    {
        "noisy": _noisy,
        "place": lambda: [sorted(os.sched_getaffinity(0)), os.nice(0), sys.argv[1:]],
        "end": lambda: os._exit(1),
    }
)
