"""Prometheus metrics: plain integers that are counted up, and made into families for a scrape.

The library's own counters take a lock for each observation. Here each number has one thread that
writes it, the event loop's or the engine's, and a scrape reads it from its own thread at any time.
Every series is there from the start, so that a first increment is seen as one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from steerstream import __version__
from steerstream_service.domain import Command, Skip, SkipReason, Timings, Validity
from steerstream_service.errors import ErrorReason
from steerstream_service.telemetry.observer import ENDINGS, SERVER_SKIPS, Observer, ServerState

_NS_PER_S = 1e9

DURATION_BOUNDS_S = (
    *(0.0001, 0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 1.0),
)
"""Dense where steps lie, on an accelerator or not, and up to the 50 ms of a 20 Hz camera; beyond
that only the order of magnitude matters."""
COUNT_BOUNDS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)

STAGES = ("queue", "decode", "infer", "total")
_MISSES = tuple(reason.name for reason in SERVER_SKIPS)


class Histogram:
    """Counts of integers by upper bound, and their sum; one thread writes.

    Args:
        bounds: the upper bounds, each inclusive; one more bucket takes what is above.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[int]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0

    def add(self, value: int) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def put(self, family: HistogramMetricFamily, labels: Sequence[str], unit: float = 1.0) -> None:
        """Add the counts to a family.

        Args:
            family: the family.
            labels: values of the family's labels.
            unit: how many of the counted units make one of the family's, 1e9 for ns in s.
        """
        bounds = [*(str(bound / unit) for bound in self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        family.add_metric(labels, buckets, self._sum / unit)


def _durations() -> Histogram:
    return Histogram([round(bound * _NS_PER_S) for bound in DURATION_BOUNDS_S])


def _counts() -> Histogram:
    return Histogram(COUNT_BOUNDS)


class Metrics(Observer, Collector):
    """Counts events.

    Args:
        models: names of the served models.
    """

    def __init__(self, models: Iterable[str]) -> None:
        # Written by the event loop's thread.
        self._queue, self._decode, self._infer, self._total = (_durations() for _ in STAGES)
        self._commands = [0] * (1 + max(Validity))
        self._skips = [0] * (1 + max(SkipReason))
        self._late = Counter(dict.fromkeys(STAGES[:-1], 0))
        self._overdue = 0
        self._lag = _durations()
        self._opened: Counter[str] = Counter()
        self._frames: Counter[str] = Counter()
        self._models: dict[str, str] = {}
        self._refused = Counter({reason.name: 0 for reason in ErrorReason})
        self._ended = Counter(dict.fromkeys(ENDINGS, 0))
        # Written by the engine's thread.
        self._steps: dict[str, Histogram] = {}
        self._batches: dict[str, Histogram] = {}
        self._waiting: dict[str, Histogram] = {}
        for model in models:
            self.served(model)

    def opened(
        self, session_id: str, vehicle_id: str, model: str, trace_parent: str | None = None
    ) -> None:
        """Count a session."""
        del vehicle_id, trace_parent
        self._opened[model] += 1
        self._models[session_id] = model

    def served(self, model: str) -> None:
        """Show a model's series, which begin at 0 unless it was served before."""
        self._opened[model] += 0
        self._frames[model] += 0
        self._steps.setdefault(model, _durations())
        self._batches.setdefault(model, _counts())
        self._waiting.setdefault(model, _counts())

    def refused(self, reason: ErrorReason) -> None:
        """Count a refusal."""
        self._refused[reason.name] += 1

    def answered(self, session_id: str, budget_ns: int, command: Command) -> None:
        """Count a command, the time of its stages, and a miss if it is over its budget."""
        self._count_frame(session_id)
        timings = command.timings
        self._queue.add(timings.queue_ns)
        self._decode.add(timings.decode_ns)
        self._infer.add(timings.infer_ns)
        self._total.add(timings.total_ns)
        self._commands[command.validity] += 1
        if timings.total_ns > budget_ns:
            self._late[_longest(timings)] += 1

    def skipped(self, session_id: str, skip: Skip) -> None:
        """Count a skip."""
        self._count_frame(session_id)
        self._skips[skip.reason] += 1
        self._overdue += skip.is_overdue

    def stepped(self, model: str, batch_size: int, step_ns: int, waiting: int) -> None:
        """Count a step."""
        self._steps[model].add(step_ns)
        self._batches[model].add(batch_size)
        self._waiting[model].add(waiting)

    def ended(self, session_id: str, ended_by: str) -> None:
        """Count an end."""
        self._models.pop(session_id, None)
        self._ended[ended_by] += 1

    def lagged(self, lag_ns: int) -> None:
        """Count how late a timer fired."""
        self._lag.add(lag_ns)

    def collect(self) -> Iterable[Metric]:
        """Return all families; called for a scrape."""
        commands = {validity.name: self._commands[validity] for validity in Validity}
        skips = {reason.name: self._skips[reason] for reason in SkipReason}
        yield self._stages()
        yield _counter("commands", "Frames that got a command.", "validity", commands)
        yield _counter("skips", "Frames that got none.", "reason", skips)
        yield _counter(
            "misses",
            "Frames without a command within their budget, by the stage that took longest, "
            "or by why there was none.",
            "cause",
            {
                **self._late,
                **{reason: skips[reason] for reason in _MISSES},
                SkipReason.SUPERSEDED.name: self._overdue,
            },
        )
        lag = HistogramMetricFamily(
            "steerstream_loop_lag_seconds", "How late timers of the event loop fire."
        )
        self._lag.put(lag, [], _NS_PER_S)
        yield lag
        yield _by_model("step_seconds", "Duration of a step.", self._steps, _NS_PER_S)
        yield _by_model("step_frames", "Frames in a step.", self._batches)
        yield _by_model("waiting_frames", "Frames left for the next step.", self._waiting)
        yield _counter("frames", "Frames that were answered.", "model", self._frames)
        yield _counter("sessions_opened", "Sessions admitted.", "model", self._opened)
        yield _counter("sessions_ended", "Sessions ended.", "ended_by", self._ended)
        yield _counter("streams_refused", "Streams refused.", "reason", self._refused)

    def _count_frame(self, session_id: str) -> None:
        # A last answer may come after its session's end.
        if model := self._models.get(session_id):
            self._frames[model] += 1

    def _stages(self) -> Metric:
        family = HistogramMetricFamily(
            "steerstream_stage_seconds",
            "Time of a command in each stage; total is from the frame's arrival to its answer.",
            labels=["stage"],
        )
        histograms = (self._queue, self._decode, self._infer, self._total)
        for stage, histogram in zip(STAGES, histograms, strict=True):
            histogram.put(family, [stage], _NS_PER_S)
        return family


class State(Collector):
    """The server's state at the moment of a scrape.

    Args:
        state: returns it.
    """

    def __init__(self, state: Callable[[], ServerState]) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        """Return all families; called for a scrape."""
        state = self._state()
        yield GaugeMetricFamily(
            "steerstream_load",
            "Predicted load of the admitted sessions; at 1 the next one is refused.",
            state.load,
        )
        yield GaugeMetricFamily(
            "steerstream_serving", "1 where sessions can open, else 0.", state.serving
        )
        yield GaugeMetricFamily(
            "steerstream_late",
            "1 where the server misses frames for want of time and refuses newcomers, else 0.",
            state.late,
        )
        if state.certificate_expires_in_s is not None:
            yield GaugeMetricFamily(
                "steerstream_certificate_expires_in_seconds",
                "Until the server's TLS certificate is no longer valid.",
                state.certificate_expires_in_s,
            )
        if state.ticket_key_age_s is not None:
            yield GaugeMetricFamily(
                "steerstream_ticket_key_age_seconds",
                "Since the day on which the key that seals tickets was made.",
                state.ticket_key_age_s,
            )
        if state.recording_lost is not None:
            yield CounterMetricFamily(
                "steerstream_recording_lost",
                "Messages of recorded sessions that were not written.",
                state.recording_lost,
            )
        yield InfoMetricFamily(
            "steerstream_build",
            "Version of the server, and what runs its networks.",
            {"version": __version__, "provider": state.provider},
        )
        yield InfoMetricFamily(
            "steerstream_settings", "The server's settings.", dict(state.settings)
        )
        runtimes = InfoMetricFamily(
            "steerstream_model",
            "What runs each model, and why that was chosen.",
            labels=["model"],
        )
        for model, runtime in state.runtimes.items():
            runtimes.add_metric([model], runtime._asdict())
        yield runtimes
        for name, text, index in (
            ("slots_used", "Sessions that hold a slot in the state pool.", 0),
            ("slots", "Slots of the state pool.", 1),
        ):
            family = GaugeMetricFamily(f"steerstream_{name}", text, labels=["model"])
            for model, slots in state.slots.items():
                family.add_metric([model], slots[index])
            yield family


def registry(metrics: Metrics, state: Callable[[], ServerState]) -> CollectorRegistry:
    """Return all that a scrape shows: counts, state, the process, and garbage collection."""
    whole = CollectorRegistry()
    whole.register(metrics)
    whole.register(State(state))
    ProcessCollector(registry=whole)
    GCCollector(registry=whole)
    return whole


def _longest(timings: Timings) -> str:
    spent = (timings.queue_ns, timings.decode_ns, timings.infer_ns)
    return STAGES[spent.index(max(spent))]


def _counter(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"steerstream_{name}", text, labels=[label])
    for value, count in dict(counts).items():
        family.add_metric([value.lower()], count)
    return family


def _by_model(
    name: str, text: str, histograms: Mapping[str, Histogram], unit: float = 1.0
) -> Metric:
    family = HistogramMetricFamily(f"steerstream_{name}", text, labels=["model"])
    for model, histogram in dict(histograms).items():
        histogram.put(family, [model], unit)
    return family
