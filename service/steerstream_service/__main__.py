"""`python -m steerstream_service`: the process behind `steerstream serve`."""

from __future__ import annotations

import os
import sys

from steerstream_service.process.stop_signals import end_at_once


def _open_closed_descriptors() -> None:
    """Point closed standard descriptors at /dev/null, before a socket takes the number of one."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest number that is free, so this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003
    # Python has set None where a descriptor was closed.
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


if __name__ == "__main__":
    end_at_once()
    _open_closed_descriptors()
    from steerstream_service.process.command import main

    sys.exit(main())
