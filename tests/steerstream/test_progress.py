from __future__ import annotations

import io

import pytest

from steerstream.progress import Progress, ProgressLine, bar, tracked


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("steerstream.progress.time.monotonic", lambda: now[0])
    return now


def test_a_log_gets_the_first_state_and_one_a_minute(clock):
    log = io.StringIO()
    with ProgressLine(log) as line:
        for second in range(130):
            clock[0] = 1000.0 + second
            line.show(f"{second} done")
    assert log.getvalue() == "0 done\n60 done\n120 done\n"


def test_a_terminal_gets_one_line_that_is_redrawn_cut_to_its_width_and_removed(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "11")
    terminal = Terminal()
    with ProgressLine(terminal) as line:
        line.show("first, and much too long")
        line.show("too soon")
        clock[0] += 0.1
        line.show("second")
    assert terminal.getvalue() == "\rfirst, and\x1b[K\rsecond\x1b[K\r\x1b[K"


@pytest.mark.parametrize(("done", "filled"), [(0, 0), (5, 14), (10, 28), (15, 28)])
def test_a_bar_is_filled_by_what_is_done(done, filled):
    assert bar(done, 10) == "#" * filled + "." * (28 - filled)


def test_a_bar_of_nothing_is_full():
    assert bar(0, 0) == "#" * 28


def test_steps_are_counted_with_their_rate_and_the_time_that_is_left(clock):
    log = io.StringIO()
    with Progress("encoding", 400, "frames", done=100, stream=log) as progress:
        clock[0] += 10.0
        progress.reach(120, "loss 0.5")
    assert log.getvalue().endswith("120/400 frames, 2/s, 2.3 min left  loss 0.5\n")


def test_nothing_is_estimated_from_the_first_second(clock):
    log = io.StringIO()
    with Progress("encoding", 400, "frames", stream=log) as progress:
        clock[0] += 0.5
        progress.reach(2)
    assert log.getvalue().endswith("2/400 frames\n")


def test_a_loop_is_tracked_without_a_change_of_its_items(clock, capsys):
    assert list(tracked("abc", "reading", 3, "letters")) == ["a", "b", "c"]
    assert "reading" in capsys.readouterr().err
