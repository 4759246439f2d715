"""Refused streams in the log: one line a second for all of them, however many there are.

A crowd asks again and again. A line for each refusal would cost more than the refusal, and would
bury all other lines.
"""

from __future__ import annotations

import logging
from collections import Counter

from steerstream_service.errors import StreamError
from steerstream_service.telemetry.logs import fields
from steerstream_service.transport.line_window import LineWindow

LINE_EVERY_S = 1.0
_LONGEST_EXAMPLE = 200
"""Characters; some texts name what the client sent."""

_log = logging.getLogger(__name__)


class Refusals:
    """Counts refusals by their reason, and logs them. It belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()
        self._last = ""
        self._last_address: str | None = None
        self._window = LineWindow(LINE_EVERY_S, self._write)

    def note(self, error: StreamError, address: str | None) -> None:
        """Count a refusal; the first one since the last line sets the time of the next.

        Args:
            error: says why.
            address: the host that was refused; None where it is not known, as for a Unix socket.
        """
        self._reasons[error.reason.name] += 1
        self._last, self._last_address = str(error), address
        self._window.count()

    def flush(self) -> None:
        """Log the refusals since the last line, if there are any."""
        self._window.flush()

    def _write(self) -> None:
        _log.warning(
            "streams_refused",
            extra=fields(
                refused=self._reasons.total(),
                reasons=dict(self._reasons),
                last=self._last[:_LONGEST_EXAMPLE],
                last_address=self._last_address,
            ),
        )
        self._reasons.clear()
