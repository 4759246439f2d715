"""What libraries read from the environment when they are imported: import this before them.

Nothing here overrules an operator: what is set already stays. The figures behind each choice are in
`docs/decisions/0009-one-process-and-many.md`.
"""

from __future__ import annotations

import os

os.environ.setdefault(
    # gRPC's older poller: its event engine hands every message to another thread and back.
    "GRPC_EXPERIMENTS",
    "-event_engine_listener,-event_engine_client,-event_engine_dns",
)
