"""What operators see of a running server, event by event."""

from __future__ import annotations

import contextlib

import pytest

from steerstream_bundle.pictures import JpegImage
from steerstream_service.domain import SkipReason, Validity
from steerstream_service.errors import ErrorReason
from steerstream_service.session.frame_stages import FrameRecord
from steerstream_service.telemetry.live_board import LiveBoard
from tests.service.telemetry.test_metrics import BUDGET_NS, command, skip

IMAGE = JpegImage(b"a picture")


@pytest.fixture
def board():
    board = LiveBoard()
    for name in ("a", "b", "c"):
        board.opened(name, f"car-{name}", "tiny")
    return board


@pytest.fixture
def look_at(board):
    """A function that looks at a session until the test's end."""
    with contextlib.ExitStack() as looking:

        def look_at(name, *, wants_pictures=True):
            return looking.enter_context(board.closeup(name, wants_pictures=wants_pictures))

        yield look_at


def tally(board, name):
    return dict(board.sessions(10)).get(name)


def frame(number, image):
    return FrameRecord(number, 1, image, None, 0)


def names(board, most=10):
    return [name for name, _ in board.sessions(most)]


def test_a_good_answer_is_counted_and_no_trouble(board):
    board.answered("a", BUDGET_NS, command(total=7))
    found = tally(board, "a")
    assert (found.answers, found.misses, found.held) == (1, 0, 0)
    assert (found.validity, found.total_ns) == (Validity.VALID, 7_000_000)
    assert found.vehicle_id == "car-a"
    assert (board.answers, board.misses) == (1, 0)
    assert names(board) == ["a", "b", "c"]


def test_a_command_over_its_budget_is_a_miss(board):
    board.answered("b", BUDGET_NS, command(total=51))
    assert (tally(board, "b").misses, tally(board, "b").held, board.misses) == (1, 0, 1)
    assert names(board) == ["b", "a", "c"]


@pytest.mark.parametrize("validity", [Validity.HELD, Validity.FALLBACK])
def test_values_that_are_not_of_the_frame_are_held(board, validity):
    board.answered("b", BUDGET_NS, command(validity=validity))
    assert (tally(board, "b").misses, tally(board, "b").held) == (0, 1)


@pytest.mark.parametrize(("reason", "misses"), [(SkipReason.LATE, 1), (SkipReason.DUPLICATE, 0)])
def test_a_skip_is_held_and_a_miss_where_the_server_caused_it(board, reason, misses):
    board.skipped("b", skip(reason))
    found = tally(board, "b")
    assert (found.answers, found.misses, found.held) == (1, misses, 1)
    assert found.validity is Validity.HELD


def test_sessions_in_trouble_come_first_and_the_last_one_before_the_others(board):
    board.skipped("b", skip(SkipReason.LATE))
    board.skipped("c", skip(SkipReason.LATE))
    assert names(board) == ["c", "b", "a"]
    assert names(board, most=1) == ["c"]
    board.skipped("b", skip(SkipReason.LATE))
    assert names(board, most=2) == ["b", "c"]


def test_a_session_that_ends_while_others_are_read_is_left_out(board):
    found = board.sessions(10)
    assert next(found)[0] == "a"
    board.ended("b", "client")
    assert [name for name, _ in found] == ["c"]


def test_trouble_is_forgotten_once_a_session_is_well_again(board):
    board.skipped("b", skip(SkipReason.LATE))
    later_ns = tally(board, "b").answered_ns + 1
    board.calm(later_ns)
    assert names(board)[0] == "b", "its last answer was held"
    board.answered("b", BUDGET_NS, command())
    board.calm(tally(board, "b").answered_ns)
    assert names(board)[0] == "b", "its last answer is not old enough"
    board.calm(tally(board, "b").answered_ns + 1)
    assert names(board) == ["a", "b", "c"]


def test_timings_are_taken_once_and_bounded(board):
    for total in range(2000):
        board.answered("a", BUDGET_NS, command(total=total % 40))
    taken = board.take_timings()
    assert len(taken) == 1024
    assert taken[-1].total_ns == (1999 % 40) * 1_000_000
    assert list(board.take_timings()) == []


def test_a_closeup_gets_what_happens_while_it_is_there(board, look_at):
    board.answered("a", BUDGET_NS, command())
    closeup = look_at("a")
    given = [command(), skip(SkipReason.LATE)]
    board.received("a", frame(3, IMAGE))
    board.answered("a", BUDGET_NS, given[0])
    board.skipped("a", given[1])
    board.answered("b", BUDGET_NS, command())
    board.received("b", frame(4, JpegImage(b"another's")))
    board.received("a", frame(5, None))
    assert list(closeup.answers) == given
    assert closeup.shown == (3, IMAGE, None)
    assert closeup.ended_by == ""
    board.ended("a", "client")
    assert closeup.ended_by == "client"


def test_no_picture_is_kept_for_those_who_may_not_see_it(board, look_at):
    closeup = look_at("a", wants_pictures=False)
    board.received("a", frame(3, IMAGE))
    assert closeup.shown is None


def test_a_closeup_that_is_not_read_keeps_the_last_answers_only(board, look_at):
    closeup = look_at("a")
    given = [command(total=at % 40) for at in range(100)]
    for answer in given:
        board.answered("a", BUDGET_NS, answer)
    assert list(closeup.answers) == given[-64:]


def test_an_end_is_remembered_and_its_session_is_gone(board):
    board.skipped("b", skip(SkipReason.LATE))
    board.ended("b", "cancelled")
    assert names(board) == ["a", "c"]
    assert tally(board, "b") is None
    [ending] = board.endings
    assert ending[:3] == ("b", "car-b", "cancelled")
    assert ending.ended_ns >= board.began_ns


def test_the_last_ends_alone_are_remembered():
    board = LiveBoard()
    for at in range(40):
        board.opened(str(at), f"car-{at}", "tiny")
        board.ended(str(at), "client")
    assert [ending.session_id for ending in board.endings] == [str(at) for at in range(8, 40)]


def test_events_of_a_session_that_is_not_told_to_be_open_change_no_session(board):
    board.answered("x", BUDGET_NS, command())
    board.skipped("x", skip(SkipReason.LATE))
    board.received("x", frame(1, IMAGE))
    board.ended("x", "cancelled")
    assert names(board) == ["a", "b", "c"]
    assert not board.endings
    assert board.answers == 2


def test_refusals_are_counted(board):
    board.refused(ErrorReason.IDLE)
    assert board.refusals == 1


def test_who_does_not_look_any_more_gets_nothing(board):
    with board.closeup("a", wants_pictures=True) as closeup:
        pass
    board.received("a", frame(3, IMAGE))
    board.answered("a", BUDGET_NS, command())
    board.ended("a", "client")
    assert (closeup.shown, list(closeup.answers), closeup.ended_by) == (None, [], "")


def test_there_is_nothing_to_see_of_a_session_that_is_not_open(board):
    with board.closeup("x", wants_pictures=True) as closeup:
        assert closeup is None
