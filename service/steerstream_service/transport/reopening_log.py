"""Vehicles that come and go in the log: one line a minute for all of them, with counts.

A vehicle that cannot keep a session opens one after the other. Each opening and each ending is an
ordinary line by itself; only together they say that nobody drives there.
"""

from __future__ import annotations

import logging
from collections import Counter

from steerstream_service.telemetry.logs import fields
from steerstream_service.transport.line_window import LineWindow

WINDOW_S = 60.0
MANY = 5
"""Sessions of one vehicle in a window. A token's renewal, or a hand-over, ends one at times."""
MOST_VEHICLES = 500
"""Vehicles that are counted in a window. A crowd of more is seen by its refusals."""

_log = logging.getLogger(__name__)


class Reopenings:
    """Counts the sessions that ended by their vehicle, and logs those of vehicles with many.

    It belongs to the event loop's thread.
    """

    def __init__(self) -> None:
        self._endings: dict[str, Counter[str]] = {}
        self._window = LineWindow(WINDOW_S, self._write)

    def ended(self, vehicle_id: str, ended_by: str) -> None:
        """Count a session; the first one since the last window begins the next.

        Args:
            vehicle_id: the vehicle's name.
            ended_by: how the session ended.
        """
        if vehicle_id not in self._endings:
            if len(self._endings) >= MOST_VEHICLES:
                return
            self._endings[vehicle_id] = Counter()
        self._endings[vehicle_id][ended_by] += 1
        self._window.count()

    def flush(self) -> None:
        """End the window, and log its vehicles that came and went many times, if there are any."""
        self._window.flush()

    def _write(self) -> None:
        often = {
            vehicle_id: ended_by
            for vehicle_id, ended_by in self._endings.items()
            if ended_by.total() >= MANY
        }
        self._endings.clear()
        if not often:
            return
        worst = max(often, key=lambda vehicle_id: often[vehicle_id].total())
        _log.warning(
            "vehicle_comes_and_goes",
            extra=fields(
                vehicles=len(often),
                vehicle_id=worst,
                sessions=often[worst].total(),
                within_s=WINDOW_S,
                ended_by=dict(often[worst]),
            ),
        )
