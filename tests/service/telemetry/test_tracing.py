"""Traces: what reaches a collector, over the wire."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

import steerstream
from steerstream_service.domain import Command, ControlValues, Skip, SkipReason, Timings, Validity

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from steerstream_service.telemetry import tracing
from steerstream_service.telemetry.tracing import Tracing

MS = 1_000_000


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector that keeps what it gets."""

    def __init__(self):
        self.spans = []
        self.resources = []
        self._server = grpc.server(ThreadPoolExecutor(1))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request, context):  # noqa: N802 - the name in the wire contract
        for batch in request.resource_spans:
            self.resources.append(attributes(batch.resource))
            self.spans += [span for scope in batch.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name):
        return [span for span in self.spans if span.name == name]

    def stop(self):
        self._server.stop(None).wait()


def attributes(holder):
    return {
        item.key: getattr(item.value, item.value.WhichOneof("value")) for item in holder.attributes
    }


@pytest.fixture
def collector():
    found = Collector()
    yield found
    found.stop()


def command(number, total_ms=7):
    values = ControlValues(0.1, 10.0, 0.2)
    timings = Timings(MS, 2 * MS, 3 * MS, total_ms * MS, 4)
    return Command(number, 1, values, values, (), Validity.VALID, 0.0, 0, 0, 1, timings)


def test_a_session_and_some_of_its_frames_become_one_trace(collector):
    tracing = Tracing.to(collector.url, every=10, worker=3)
    tracing.opened("session", "vehicle", "tiny")
    for number in range(25):
        tracing.answered("session", 50 * MS, command(number))
    tracing.ended("session", "client")
    tracing.stop()
    (session,) = collector.named("session")
    assert attributes(session) == {
        "session_id": "session",
        "vehicle_id": "vehicle",
        "model": "tiny",
        "ended_by": "client",
    }
    frames = collector.named("frame")
    assert [attributes(frame)["sequence_number"] for frame in frames] == [0, 10, 20]
    for frame in frames:
        assert frame.trace_id == session.trace_id
        assert frame.parent_span_id == session.span_id
        assert frame.end_time_unix_nano - frame.start_time_unix_nano == 7 * MS
    assert attributes(frames[0]) == {
        "session_id": "session",
        "vehicle_id": "vehicle",
        "sequence_number": 0,
        "validity": "VALID",
        "queue_us": 1000,
        "decode_us": 2000,
        "infer_us": 3000,
        "batch_size": 4,
        "late": False,
    }
    assert collector.resources[0]["service.name"] == "steerstream"
    assert collector.resources[0]["service.instance.id"] == "3"
    assert collector.resources[0]["service.version"] == steerstream.__version__
    assert session.parent_span_id == b""


def test_a_session_belongs_to_the_vehicle_s_own_trace(collector):
    tracing = Tracing.to(collector.url, every=1)
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    tracing.opened("session", "vehicle", "tiny", f"00-{trace}-{span}-01")
    tracing.ended("session", "client")
    tracing.stop()
    (session,) = collector.named("session")
    assert session.trace_id.hex() == trace
    assert session.parent_span_id.hex() == span


@pytest.mark.parametrize("parent", ["", "nonsense", "00-0-0-01", "00-" + "0" * 32 + "-1-01"])
def test_a_malformed_parent_is_none(collector, parent):
    tracing = Tracing.to(collector.url, every=1)
    tracing.opened("session", "vehicle", "tiny", parent)
    tracing.ended("session", "client")
    tracing.stop()
    (session,) = collector.named("session")
    assert session.parent_span_id == b""


def test_a_late_command_and_a_skip_are_marked(collector):
    tracing = Tracing.to(collector.url, every=1)
    tracing.opened("session", "vehicle", "tiny")
    tracing.answered("session", 50 * MS, command(1, total_ms=51))
    tracing.skipped("session", Skip(2, 1, SkipReason.LATE, "why", None))
    tracing.ended("session", "client")
    tracing.stop()
    late, skipped = collector.named("frame")
    assert attributes(late)["late"] is True
    assert skipped.status.message == "LATE"
    assert attributes(skipped)["sequence_number"] == 2


def test_a_collector_that_takes_nothing_does_not_keep_the_server(monkeypatch):
    monkeypatch.setattr(tracing, "_LAST_SPANS_S", 0.01)
    taking = threading.Event()

    class Stuck(SpanExporter):
        def export(self, spans):
            taking.wait()
            return SpanExportResult.SUCCESS

    traces = Tracing(Stuck(), every=1)
    traces.opened("a", "car", "tiny")
    traces.ended("a", "client")
    traces.stop()  # or the test never ends
    assert not taking.is_set()
    taking.set()


def test_events_after_a_session_s_end_are_not_traced(collector):
    tracing = Tracing.to(collector.url, every=1)
    tracing.answered("gone", 50 * MS, command(1))
    tracing.skipped("gone", Skip(2, 1, SkipReason.LATE, "why", None))
    tracing.ended("gone", "client")
    tracing.stop()
    assert collector.spans == []
