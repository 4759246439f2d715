"""`python -m steerstream_service`: the process behind `steerstream serve`."""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":
    # Ctrl-C during the imports is no traceback; the server handles signals once it starts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from steerstream_service.process.command import main

    sys.exit(main())
