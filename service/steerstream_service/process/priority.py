"""Lowers a thread's priority, so that what need not be quick leaves the core to drives."""

from __future__ import annotations

import contextlib
import os
import threading


def lower(niceness: int) -> None:
    """Lower this thread's priority, where the system lets it.

    A sandbox may refuse the call. Then the thread keeps its priority: its work goes on, and drives
    share the core with it.

    Args:
        niceness: 0 is an ordinary thread's, 19 the lowest priority; it cannot be raised again.
    """
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
