"""Sets up metrics and traces as the command line asks for; by default there are neither.

Their libraries are extras, and are imported only where they are used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from steerstream.extras import command_needs
from steerstream_service.address import Place
from steerstream_service.telemetry.observer import Observer, Observers, ServerState

if TYPE_CHECKING:
    from steerstream_service.telemetry.metrics import Metrics
    from steerstream_service.telemetry.metrics_endpoint import Endpoint
    from steerstream_service.telemetry.tracing import Tracing


class Telemetry:
    """Metrics and traces of one process.

    Args:
        models: names of the served models.
        metrics: where Prometheus may scrape; None for no metrics.
        traces: URL of an OpenTelemetry collector; None for no traces.
        trace_every_frames: one in this many frames is traced.
        worker: number of this worker, None for a server alone. Worker n serves metrics on the
            given port plus n.
    """

    def __init__(
        self,
        models: Iterable[str],
        *,
        metrics: Place | None,
        traces: str | None,
        trace_every_frames: int,
        worker: int | None,
    ) -> None:
        self._place = metrics and metrics.for_worker(worker)
        self._metrics = _metrics(models) if metrics else None
        self._tracing = _tracing(traces, trace_every_frames, worker) if traces else None
        self._endpoint: Endpoint | None = None
        self.observer = _together([self._metrics, self._tracing])
        """Receives the server's events; None where nobody wants them."""

    def start(self, state: Callable[[], ServerState]) -> None:
        """Serve metrics, if asked for.

        Args:
            state: returns the server's state.

        Raises:
            ListenError: the address for metrics cannot be had.
        """
        if self._metrics and self._place:
            from steerstream_service.telemetry.metrics import registry  # noqa: PLC0415
            from steerstream_service.telemetry.metrics_endpoint import Endpoint  # noqa: PLC0415

            self._endpoint = Endpoint(registry(self._metrics, state))
            self._endpoint.start(self._place)

    async def stop(self) -> None:
        """Send the last traces and stop serving metrics."""
        if self._tracing:
            await asyncio.to_thread(self._tracing.stop)
        if self._endpoint:
            await asyncio.to_thread(self._endpoint.stop)


def _metrics(models: Iterable[str]) -> Metrics:
    with command_needs("steerstream serve", "metrics"):
        from steerstream_service.telemetry.metrics import Metrics  # noqa: PLC0415
    return Metrics(models)


def _tracing(url: str, every: int, worker: int | None) -> Tracing:
    with command_needs("steerstream serve", "otel"):
        from steerstream_service.telemetry.tracing import Tracing  # noqa: PLC0415
    return Tracing.to(url, every=every, worker=worker)


def _together(observers: Sequence[Observer | None]) -> Observer | None:
    present = [observer for observer in observers if observer is not None]
    if not present:
        return None
    return present[0] if len(present) == 1 else Observers(present)
