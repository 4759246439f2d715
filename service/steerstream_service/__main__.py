"""`python -m steerstream_service`: the process behind `steerstream serve`."""

from __future__ import annotations

import sys

from steerstream_service.process.command import main

if __name__ == "__main__":
    sys.exit(main())
