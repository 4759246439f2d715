"""Metrics: what is counted, in the text that Prometheus reads."""

from __future__ import annotations

import re

import pytest

import steerstream
from steerstream_service.domain import Command, ControlValues, Skip, SkipReason, Timings, Validity
from steerstream_service.errors import ErrorReason
from steerstream_service.telemetry.metrics import DURATION_BOUNDS_S, Histogram, Metrics, registry
from steerstream_service.telemetry.observer import ENDINGS, ModelRuntime, ServerState, SlotUse

prometheus = pytest.importorskip("prometheus_client")
parser = pytest.importorskip("prometheus_client.parser")

MS = 1_000_000
BUDGET_NS = 50 * MS


def command(queue=1, decode=2, infer=3, total=7, validity=Validity.VALID):
    values = ControlValues(0.1, 10.0, 0.2)
    timings = Timings(queue * MS, decode * MS, infer * MS, total * MS, 4)
    return Command(0, 1, values, values, (), validity, 0.0, 0, 0, 1, timings)


def skip(reason):
    return Skip(0, 1, reason, "why", None)


def state():
    return ServerState(
        {"tiny": SlotUse(2, 64)},
        load=0.25,
        serving=True,
        late=True,
        provider="cpu",
        runtimes={"tiny": ModelRuntime("int8", "cpu", "it is quicker")},
        settings={"max_sessions": "64"},
    )


def samples(observer, state=state):
    text = prometheus.generate_latest(registry(observer, state)).decode()
    return {
        (sample.name, *sorted(sample.labels.values(), key=_is_bound)): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def _is_bound(label):
    return label[0].isdigit() or label == "+Inf"


def test_a_command_counts_in_every_stage():
    observer = Metrics(["tiny", "other"])
    observer.answered("a", BUDGET_NS, command())
    observer.answered("a", BUDGET_NS, command(validity=Validity.WARMING_UP))
    found = samples(observer)
    stage = "steerstream_stage_seconds"
    for name, seconds in (("queue", 0.001), ("decode", 0.002), ("infer", 0.003), ("total", 0.007)):
        assert found[f"{stage}_count", name] == 2
        assert found[f"{stage}_sum", name] == pytest.approx(2 * seconds)
        assert found[f"{stage}_bucket", name, "+Inf"] == 2
    assert found[f"{stage}_bucket", "infer", "0.002"] == 0
    assert found[f"{stage}_bucket", "infer", "0.003"] == 2
    assert found["steerstream_commands_total", "valid"] == 1
    assert found["steerstream_commands_total", "warming_up"] == 1


def test_a_late_command_is_a_miss_of_the_stage_that_took_longest():
    observer = Metrics(["tiny", "other"])
    observer.answered("a", BUDGET_NS, command(queue=40, total=50))
    observer.answered("a", BUDGET_NS, command(queue=45, total=51))
    observer.answered("a", BUDGET_NS, command(decode=45, total=51))
    found = samples(observer)
    assert found["steerstream_misses_total", "queue"] == 1
    assert found["steerstream_misses_total", "decode"] == 1


def test_only_skips_of_the_servers_doing_are_misses():
    observer = Metrics(["tiny", "other"])
    for reason in SkipReason:
        observer.skipped("a", skip(reason))
    found = samples(observer)
    for reason in SkipReason:
        assert found["steerstream_skips_total", reason.name.lower()] == 1
    causes = {key[1]: n for key, n in found.items() if key[0] == "steerstream_misses_total"}
    assert {cause for cause, n in causes.items() if n} == {"late", "overloaded", "failed"}


def test_a_frame_that_is_superseded_late_is_a_miss():
    observer = Metrics(["tiny"])
    observer.skipped("a", Skip(0, 1, SkipReason.SUPERSEDED, "why", None, is_overdue=True))
    observer.skipped("a", skip(SkipReason.SUPERSEDED))
    found = samples(observer)
    assert found["steerstream_skips_total", "superseded"] == 2
    assert found["steerstream_misses_total", "superseded"] == 1


def test_how_late_the_event_loop_is_counts():
    observer = Metrics(["tiny"])
    observer.lagged(3 * MS)
    observer.lagged(80 * MS)
    found = samples(observer)
    assert found["steerstream_loop_lag_seconds_bucket", "0.05"] == 1
    assert found[("steerstream_loop_lag_seconds_sum",)] == pytest.approx(0.083)


def test_steps_batches_and_what_waits_are_kept_by_model():
    observer = Metrics(["tiny", "other"])
    observer.stepped("tiny", 3, 2 * MS, 5)
    observer.stepped("other", 32, 9 * MS, 0)
    found = samples(observer)
    assert found["steerstream_step_seconds_sum", "tiny"] == pytest.approx(0.002)
    assert found["steerstream_step_frames_bucket", "tiny", "2.0"] == 0
    assert found["steerstream_step_frames_bucket", "tiny", "4.0"] == 1
    assert found["steerstream_waiting_frames_sum", "tiny"] == 5
    assert found["steerstream_step_frames_sum", "other"] == 32


def test_sessions_refusals_and_slots():
    observer = Metrics(["tiny", "other"])
    observer.opened("a", "vehicle", "tiny")
    observer.ended("a", "client")
    observer.refused(ErrorReason.TOO_MANY_SESSIONS)
    found = samples(observer)
    assert found["steerstream_sessions_opened_total", "tiny"] == 1
    assert found["steerstream_sessions_ended_total", "client"] == 1
    assert found["steerstream_streams_refused_total", "too_many_sessions"] == 1
    assert found["steerstream_slots_used", "tiny"] == 2
    assert found["steerstream_slots", "tiny"] == 64


def test_answers_count_as_frames_of_their_session_s_model():
    observer = Metrics(["tiny", "other"])
    observer.opened("a", "vehicle", "other")
    observer.answered("a", BUDGET_NS, command())
    observer.skipped("a", skip(SkipReason.LATE))
    observer.ended("a", "client")
    observer.answered("a", BUDGET_NS, command())  # the last answer of a session that has ended
    found = samples(observer)
    assert found["steerstream_frames_total", "other"] == 2
    assert found["steerstream_frames_total", "tiny"] == 0


def test_settings_are_shown():
    text = prometheus.generate_latest(registry(Metrics(["tiny"]), state)).decode()
    assert 'steerstream_settings_info{max_sessions="64"} 1.0' in text


def test_load_state_and_build_are_shown():
    found = samples(Metrics(["tiny"]))
    assert found[("steerstream_load",)] == 0.25
    assert found[("steerstream_serving",)] == 1
    assert found[("steerstream_late",)] == 1
    assert found["steerstream_build_info", *sorted([steerstream.__version__, "cpu"], key=_is_bound)]


def test_the_end_of_the_certificate_is_shown_where_there_is_one():
    name = ("steerstream_certificate_expires_in_seconds",)
    assert name not in samples(Metrics(["tiny"]))
    with_tls = state()._replace(certificate_expires_in_s=3600.0)
    assert samples(Metrics(["tiny"]), lambda: with_tls)[name] == 3600.0


def test_the_age_of_the_key_of_tickets_is_shown_where_it_is_known():
    name = ("steerstream_ticket_key_age_seconds",)
    assert name not in samples(Metrics(["tiny"]))
    with_day = state()._replace(ticket_key_age_s=86400.0)
    assert samples(Metrics(["tiny"]), lambda: with_day)[name] == 86400.0


def test_what_recordings_lack_is_shown_where_sessions_are_recorded():
    name = ("steerstream_recording_lost_total",)
    assert name not in samples(Metrics(["tiny"]))
    recording = state()._replace(recording_lost=0)
    assert samples(Metrics(["tiny"]), lambda: recording)[name] == 0


def test_a_model_s_provider_and_the_reason_are_shown():
    text = prometheus.generate_latest(registry(Metrics(["tiny"]), state)).decode()
    labels = 'model="tiny",precision="int8",provider="cpu",reason="it is quicker"'
    assert f"steerstream_model_info{{{labels}}} 1.0" in text


def test_the_process_is_shown_too():
    found = samples(Metrics(["tiny", "other"]))
    assert found[("process_resident_memory_bytes",)] > 0
    assert ("python_gc_collections_total", "2") in found


@pytest.mark.parametrize("value", [0, 1, 2, 3, 10**12])
def test_a_histogram_puts_each_value_at_or_below_its_bound(value):
    bounds = (0, 1, 2)
    histogram = Histogram(bounds)
    histogram.add(value)
    family = prometheus.core.HistogramMetricFamily("h", "text", labels=[])
    histogram.put(family, [])
    counts = {s.labels["le"]: s.value for s in family.samples if s.name == "h_bucket"}
    assert counts == {**{str(float(b)): float(value <= b) for b in bounds}, "+Inf": 1.0}


def test_bounds_ascend():
    assert list(DURATION_BOUNDS_S) == sorted(set(DURATION_BOUNDS_S))


MISSED = {"late", "overloaded", "failed", "superseded"}


def test_every_series_is_there_before_anything_has_happened():
    found = samples(Metrics(["tiny"]))
    names = {name for name, *_ in found if name.startswith("steerstream_")}
    assert {
        "steerstream_stage_seconds_count",
        "steerstream_step_seconds_count",
        "steerstream_step_frames_count",
        "steerstream_waiting_frames_count",
        "steerstream_sessions_opened_total",
        "steerstream_frames_total",
    } <= names
    labels = {
        "steerstream_commands_total": {item.name.lower() for item in Validity},
        "steerstream_skips_total": {item.name.lower() for item in SkipReason},
        "steerstream_misses_total": {"queue", "decode", "infer", *MISSED},
        "steerstream_streams_refused_total": {item.name.lower() for item in ErrorReason},
        "steerstream_sessions_ended_total": set(ENDINGS),
    }
    for name, expected in labels.items():
        assert {label for other, label in _pairs(found) if other == name} == expected
    assert {value for key, value in found.items() if key[0] in labels} == {0.0}
    assert all(re.fullmatch("[a-z_]+", word) for words in labels.values() for word in words)


def _pairs(found):
    return [key for key in found if len(key) == 2]
