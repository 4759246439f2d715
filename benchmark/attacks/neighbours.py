"""Neighbours of a server: processes that take the cores that it runs on."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence


def be_busy(*, count: int, cores: Sequence[int], seconds: float, delay_s: float = 0.0) -> int:
    """Keep cores busy with processes that the server knows nothing of.

    Args:
        count: how many of them.
        cores: where they run.
        seconds: how long.
        delay_s: until then.

    Returns:
        How many there were.
    """
    time.sleep(delay_s)
    end_s = time.monotonic() + seconds
    first = os.fork()
    if not first:
        # Linux shares a core between sessions first, and then between the processes of each: a
        # neighbour is another session, as it is in another container.
        os.setsid()
        os.sched_setaffinity(0, cores)
        for _ in range(count - 1):
            if not os.fork():
                break
        while time.monotonic() < end_s:
            pass
        os._exit(0)
    os.waitpid(first, 0)
    return count
