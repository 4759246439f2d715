"""Events reach every observer, and an observer without methods of its own ignores them."""

from __future__ import annotations

import inspect

from steerstream_service.errors import ErrorReason
from steerstream_service.telemetry.observer import ENDINGS, Observer, Observers

EVENTS = {
    "opened": ("session", "vehicle", "model", "00-1-2-01"),
    "served": ("model",),
    "refused": (ErrorReason.IDLE,),
    "received": ("session", "a frame"),
    "answered": ("session", 50_000_000, "a command"),
    "skipped": ("session", "a skip"),
    "stepped": ("model", 3, 1_000_000, 2),
    "ended": ("session", "client"),
    "lagged": (25_000_000,),
}


def recorder(log, name):
    """An observer that writes down what it is told."""

    def method(event):
        return lambda _, *arguments: log.append((name, event, arguments))

    return type("Recorder", (Observer,), {event: method(event) for event in EVENTS})()


def test_the_events_are_all_that_there_are():
    methods = inspect.getmembers(Observer, inspect.isfunction)
    assert {name for name, _ in methods} == set(EVENTS)


def test_every_event_reaches_every_observer_in_order():
    for event, arguments in EVENTS.items():
        log = []
        both = Observers([recorder(log, "a"), recorder(log, "b")])
        getattr(both, event)(*arguments)
        assert log == [("a", event, arguments), ("b", event, arguments)]


def test_an_observer_without_methods_ignores_everything():
    for event, arguments in EVENTS.items():
        assert getattr(Observer(), event)(*arguments) is None


def test_an_ending_has_one_name():
    assert len(ENDINGS) == len(set(ENDINGS)) == 3 + len(ErrorReason)
