"""A window of the log begins with what is counted first, and ends once."""

from __future__ import annotations

import pytest

from steerstream_service.transport.line_window import LineWindow
from tests.service.transport.line_windows import ended_by_hand


@pytest.fixture
def elapse(monkeypatch):
    return ended_by_hand(monkeypatch, 3.0)


def test_what_is_counted_in_a_window_is_one_line_at_its_end(elapse):
    written = []
    window = LineWindow(3.0, lambda: written.append("line"))
    for _ in range(2):
        window.count()
        window.count()
        assert written == []
        elapse()
        assert written == ["line"]
        written.clear()


def test_a_window_that_is_ended_early_is_over_and_one_of_nothing_is_no_line(elapse):
    written = []
    window = LineWindow(3.0, lambda: written.append("line"))
    window.flush()
    assert written == []
    window.count()
    window.flush()
    window.flush()
    assert written == ["line"]
