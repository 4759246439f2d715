"""OpenTelemetry traces: a span for each session, and below it one for every n-th frame.

A session's span lies below the vehicle's own span where the vehicle says which that is, in the
metadata `traceparent` (https://www.w3.org/TR/trace-context/).

A frame's span is made when its answer is known, from the timings in the answer, so a frame that is
not traced costs one division. A thread of the SDK sends the spans, as OTLP over gRPC.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import NamedTuple, Self

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from steerstream import __version__
from steerstream_service.domain import Command, Skip
from steerstream_service.errors import ErrorReason
from steerstream_service.telemetry.observer import Observer

_W3C = TraceContextTextMapPropagator()
_NS_PER_US = 1_000
_LAST_SPANS_S = 1.0
"""For the spans of the last seconds, after all sessions have ended."""


class _Session(NamedTuple):
    span: Span
    context: Context
    ids: Mapping[str, str]


class Tracing(Observer):
    """Makes spans of events.

    Args:
        exporter: where spans go.
        every: one in this many frames of a session is traced, by sequence number.
        worker: number of this worker; None for a server alone.
    """

    def __init__(self, exporter: SpanExporter, *, every: int, worker: int | None = None) -> None:
        resource = {"service.name": "steerstream", "service.version": __version__}
        if worker is not None:
            resource["service.instance.id"] = str(worker)
        self._provider = TracerProvider(resource=Resource.create(resource), shutdown_on_exit=False)
        # The processor's queue is bounded: spans that the exporter cannot take in time are dropped.
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(__name__)
        self._every = every
        self._sessions: dict[str, _Session] = {}

    @classmethod
    def to(cls, url: str, *, every: int, worker: int | None = None) -> Self:
        """Send spans to a collector.

        Args:
            url: the collector, such as `http://HOST:4317`.
            every: one in this many frames of a session is traced.
            worker: number of this worker; None for a server alone.
        """
        return cls(OTLPSpanExporter(endpoint=url), every=every, worker=worker)

    def stop(self) -> None:
        """Send the last spans; give up where the collector does not take them within a second."""
        # Shutting down tries again and again for 13 s, and nothing can end that but the process.
        flushing = threading.Thread(target=self._provider.shutdown, daemon=True)
        flushing.start()
        flushing.join(_LAST_SPANS_S)

    def opened(
        self, session_id: str, vehicle_id: str, model: str, trace_parent: str | None = None
    ) -> None:
        """Begin a session's span, which is the root of its trace unless the vehicle has one."""
        ids = {"session_id": session_id, "vehicle_id": vehicle_id}
        span = self._tracer.start_span(
            "session",
            # A malformed parent is none, as the standard asks.
            context=_W3C.extract({"traceparent": trace_parent} if trace_parent else {}, Context()),
            kind=SpanKind.SERVER,
            attributes={**ids, "model": model},
        )
        self._sessions[session_id] = _Session(span, set_span_in_context(span), ids)

    def refused(self, reason: ErrorReason) -> None:
        """Make no span: a refused stream has no session."""

    def answered(self, session_id: str, budget_ns: int, command: Command) -> None:
        """Make the span of a frame that was answered with a command."""
        if command.sequence_number % self._every:
            return
        timings = command.timings
        cost: dict[str, str | int | bool] = {
            "validity": command.validity.name,
            "queue_us": timings.queue_ns // _NS_PER_US,
            "decode_us": timings.decode_ns // _NS_PER_US,
            "infer_us": timings.infer_ns // _NS_PER_US,
            "batch_size": timings.batch_size,
            "late": timings.total_ns > budget_ns,
        }
        self._frame(session_id, command.sequence_number, timings.total_ns, cost)

    def skipped(self, session_id: str, skip: Skip) -> None:
        """Make the span of a skipped frame; how long it waited is not known."""
        if skip.sequence_number % self._every:
            return
        status = Status(StatusCode.ERROR, skip.reason.name)
        self._frame(session_id, skip.sequence_number, 0, {}, status)

    def ended(self, session_id: str, ended_by: str) -> None:
        """End a session's span."""
        if session := self._sessions.pop(session_id, None):
            session.span.set_attribute("ended_by", ended_by)
            session.span.end()

    def _frame(
        self,
        session_id: str,
        sequence_number: int,
        took_ns: int,
        attributes: Mapping[str, str | int | bool],
        status: Status | None = None,
    ) -> None:
        session = self._sessions.get(session_id)
        if session is None:
            return
        now_ns = time.time_ns()
        span = self._tracer.start_span(
            "frame",
            context=session.context,
            start_time=now_ns - took_ns,
            attributes={**session.ids, "sequence_number": sequence_number, **attributes},
        )
        if status is not None:
            span.set_status(status)
        span.end(now_ns)
