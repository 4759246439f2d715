"""What a server tells the outside of its work, as its command line asks for; nothing by default.

The libraries for it are extras, and are imported only where they are used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from steerstream.extras import command_needs
from steerstream_service.address import Place
from steerstream_service.telemetry.observer import Observer, Observers, SlotUse

if TYPE_CHECKING:
    from steerstream_service.telemetry.metrics import Metrics
    from steerstream_service.telemetry.metrics_endpoint import Endpoint
    from steerstream_service.telemetry.tracing import Tracing


class Reporting:
    """Metrics and traces of one process.

    Args:
        metrics: where Prometheus may scrape; None for no metrics.
        traces: URL of an OpenTelemetry collector; None for no traces.
        trace_every_frames: of how many frames one is traced.
        worker: which of several workers this process is. Each has a port of its own for metrics,
            the given one and those after it.
    """

    def __init__(
        self,
        *,
        metrics: Place | None,
        traces: str | None,
        trace_every_frames: int,
        worker: int | None,
    ) -> None:
        self._place = metrics and _for_worker(metrics, worker)
        self._metrics = _metrics() if metrics else None
        self._tracing = _tracing(traces, trace_every_frames, worker) if traces else None
        self._endpoint: Endpoint | None = None
        self.observer = _together([self._metrics, self._tracing])
        """To be told of the server's work."""

    async def start(self, slots: Callable[[], Mapping[str, SlotUse]]) -> None:
        """Let metrics be scraped.

        Args:
            slots: returns the present use of each model's state pool, by the model's name.

        Raises:
            ListenError: the address for metrics cannot be had.
        """
        if self._metrics and self._place:
            from steerstream_service.telemetry.metrics import registry  # noqa: PLC0415
            from steerstream_service.telemetry.metrics_endpoint import Endpoint  # noqa: PLC0415

            self._endpoint = Endpoint(registry(self._metrics, slots))
            await self._endpoint.start(self._place)

    async def stop(self) -> None:
        """Send the last traces, and let nothing be scraped any more."""
        if self._tracing:
            await asyncio.to_thread(self._tracing.stop)
        if self._endpoint:
            await self._endpoint.stop()


def _metrics() -> Metrics:
    with command_needs("steerstream serve", "metrics"):
        from steerstream_service.telemetry.metrics import Metrics  # noqa: PLC0415
    return Metrics()


def _tracing(url: str, every: int, worker: int | None) -> Tracing:
    with command_needs("steerstream serve", "otel"):
        from steerstream_service.telemetry.tracing import Tracing  # noqa: PLC0415
    return Tracing.to(url, every=every, worker=worker)


def _together(observers: Sequence[Observer | None]) -> Observer:
    present = [observer for observer in observers if observer is not None]
    if not present:
        return Observer()
    return present[0] if len(present) == 1 else Observers(present)


def _for_worker(place: Place, worker: int | None) -> Place:
    return Place(place.host, place.port + (worker or 0)) if place.port else place
