"""What is kept to be played again, in order and within its bounds."""

from __future__ import annotations

import pytest

from steerstream.answers import TicketIssued
from steerstream.kept_frames import MAX_REPLAYED, Kept, KeptFrames
from steerstream.models import CropFractions, View, ViewEncoding
from steerstream.v1 import frame_pb2


def frame(number, size=10):
    return frame_pb2.Frame(sequence_number=number, capture_time_ns=number + 1, jpeg=bytes(size))


def ticket(number, replay_from=None):
    return TicketIssued(b"sealed", number, 60_000, replay_from)


def numbers(kept, order=-1):
    return [item.frame and item.frame.sequence_number for item in kept.after(order)]


@pytest.fixture
def kept():
    return KeptFrames(10_000)


def test_frames_and_resets_stay_in_order_until_a_ticket_has_seen_them(kept):
    for number in range(4):
        kept.keep(frame(number))
        if number == 1:
            kept.keep(None)
    kept.take_ticket(ticket(1))
    assert numbers(kept) == [None, 2, 3], "the reset came after the frame of the ticket"
    kept.take_ticket(ticket(3))
    assert numbers(kept) == []
    assert kept.size_bytes == 0
    assert kept.ticket == ticket(3)


def test_a_ticket_of_a_frame_that_is_not_kept_is_of_no_use(kept):
    for number in range(4):
        kept.keep(frame(number))
    kept.take_ticket(ticket(2))
    kept.take_ticket(ticket(1))
    kept.take_ticket(ticket(9))
    assert kept.ticket == ticket(2)
    assert numbers(kept) == [3]


def test_frames_that_a_ticket_needs_stay(kept):
    for number in range(6):
        if number == 1:
            kept.keep(None)
        kept.keep(frame(number))
    kept.take_ticket(ticket(4, replay_from=1))
    assert numbers(kept) == [1, 2, 3, 4, 5], "the reset came before those of its state"
    kept.take_ticket(ticket(5, replay_from=4))
    assert numbers(kept) == [4, 5]
    kept.take_ticket(ticket(4, replay_from=4))
    kept.take_ticket(ticket(5, replay_from=5))
    assert kept.ticket == ticket(5, replay_from=4), "the newest stays"
    assert numbers(kept) == [4, 5]


def test_a_ticket_whose_frames_are_not_all_kept_is_of_no_use(kept):
    kept.keep(frame(3))
    kept.keep(frame(4))
    kept.take_ticket(ticket(4, replay_from=2))
    assert (kept.ticket, numbers(kept)) == (None, [3, 4])


def test_a_frame_that_was_skipped_is_not_played_again(kept):
    for number in range(3):
        kept.keep(frame(number))
    kept.seen(0)
    kept.unseen(1)
    kept.unseen(7)
    kept.seen(8)
    assert [(item.frame.sequence_number, item.is_seen) for item in kept.after(-1)] == [
        (0, True),
        (2, False),
    ]


def test_a_place_stays_a_place_where_others_leave(kept):
    places = [kept.keep(frame(number)).order for number in range(5)]
    kept.unseen(2)
    assert numbers(kept, places[1]) == [3, 4]
    kept.take_ticket(ticket(3))
    assert numbers(kept, places[1]) == [4]


@pytest.mark.parametrize(("count", "size"), [(MAX_REPLAYED + 1, 1), (3, 4_000)])
def test_beyond_its_bounds_what_is_kept_is_not_whole_until_the_next_ticket(count, size):
    kept = KeptFrames(10_000 if size > 1 else 1 << 20)
    kept.keep(frame(0, size))
    kept.take_ticket(ticket(0))
    for number in range(1, count + 1):
        kept.keep(frame(number, size))
        if number < count:
            kept.seen(number)
    assert not kept.is_whole
    assert kept.ticket is None
    assert kept.losses == 1
    assert numbers(kept) == [count], "the newest waits for its answer"
    kept.keep(frame(count + 1, 1))
    kept.take_ticket(ticket(count))
    assert kept.is_whole
    assert numbers(kept) == [count + 1]
    for number in range(count + 1, 2 * count + 2):
        kept.seen(number)
        kept.keep(frame(number + 1, size))
    assert kept.losses == 2


def test_frames_that_wait_for_an_answer_stay_however_large_they_are(kept):
    for number in range(4):
        kept.keep(None)
        kept.keep(frame(number, 4_000))
        if number in (0, 1):
            kept.seen(number)
    assert numbers(kept) == [None, 2, None, 3], "each with the reset before it"
    assert not kept.is_whole
    kept.keep(frame(4, 4_000))
    assert kept.losses == 1, "what was not seen is no loss"


def test_a_frame_is_seen_as_long_as_it_is_kept(kept):
    kept.keep(frame(0))
    assert not kept.has_seen(0)
    kept.seen(0)
    assert kept.has_seen(0)
    kept.take_ticket(ticket(0))
    assert not kept.has_seen(0)


def test_a_ticket_that_cannot_be_used_leaves_the_frames(kept):
    kept.keep(frame(0))
    kept.take_ticket(ticket(0))
    kept.keep(frame(1))
    kept.forget_ticket()
    assert (kept.ticket, kept.is_whole, numbers(kept)) == (None, False, [1])


VIEW = View(CropFractions(0.0, 0.0, 0.0, 0.0), 200, 66, (ViewEncoding.JPEG_444,), 90)


def test_a_picture_that_is_a_view_stays_with_the_view_that_it_is(kept):
    whole, view = frame(0), frame(1)
    view.view_applied.SetInParent()
    found = [kept.keep(each, VIEW) for each in (whole, view, None)]
    assert [item.view for item in found] == [None, VIEW, None]
    assert [item.view for item in kept.after(-1)] == [None, VIEW, None]
    assert kept.keep(frame(2)).view is None


def test_a_whole_picture_has_no_view():
    assert Kept(0, frame(0)).view is None


def test_what_is_kept_is_counted_from_nothing(kept):
    assert (len(kept), kept.size_bytes, kept.ticket, kept.is_whole) == (0, 0, None, True)
    assert kept.losses == 0
    orders = [kept.keep(frame(number)).order for number in range(3)]
    assert orders == [0, 1, 2]
    assert len(kept) == 3
    assert kept.size_bytes == sum(frame(number).ByteSize() for number in range(3))


@pytest.mark.parametrize("beyond", [0, 1])
def test_the_bounds_are_exact(beyond):
    size = sum(frame(number).ByteSize() for number in range(3))
    by_bytes = KeptFrames(size - beyond)
    by_count = KeptFrames(1 << 20)
    for kept, count in ((by_bytes, 3), (by_count, 1024 + beyond)):
        for number in range(count):
            kept.seen(number - 1)
            kept.keep(frame(number))
        assert kept.is_whole is (not beyond)
        assert numbers(kept) == list(range(count - 1 if beyond else 0, count))


def test_of_resets_beyond_the_bounds_those_before_the_last_frame_that_was_seen_go(kept):
    for number in range(3):
        kept.keep(None)
        kept.keep(frame(number))
        kept.seen(number)
    kept.keep(None)
    kept.keep(frame(3, 10_000))
    assert numbers(kept) == [None, 3]


def test_of_more_resets_than_are_kept_the_last_in_each_row_stays(kept):
    kept.keep(frame(0))
    kept.take_ticket(ticket(0))
    kept.keep(frame(1))
    kept.seen(1)
    for _ in range(MAX_REPLAYED - 2):
        kept.keep(None)
    kept.keep(frame(2))
    assert len(kept) == MAX_REPLAYED
    for _ in range(2 * MAX_REPLAYED):
        kept.keep(None)
        assert len(kept) <= MAX_REPLAYED
    assert numbers(kept)[:4] == [1, None, 2, None]
    assert set(numbers(kept)[3:]) == {None}
    assert kept.is_whole
    assert kept.ticket == ticket(0)
    assert kept.losses == 0


def test_the_place_of_what_came_last_is_told(kept):
    assert kept.last_order == -1
    for place in range(3):
        kept.keep(frame(10 + place))
        assert kept.last_order == place
    kept.unseen(12)
    assert kept.last_order == 2, "a place stays taken"


def test_where_the_state_is_lost_before_it_has_seen_anything_all_stays(kept):
    kept.keep(None)
    kept.keep(frame(1))
    kept.forget_state()
    assert numbers(kept) == [None, 1]
    assert (kept.ticket, kept.is_whole, kept.losses) == (None, False, 1)


def test_resets_stand_in_a_row_up_to_the_next_frame_that_is_kept(kept):
    for item in (frame(0), None, None, frame(3), None, frame(5)):
        kept.keep(item)
    assert [item.order for item in kept.resets_at(1)] == [1, 2]
    assert [item.order for item in kept.resets_at(2)] == [2]
    assert [item.order for item in kept.resets_at(4)] == [4]
    kept.unseen(3)
    assert [item.order for item in kept.resets_at(1)] == [1, 2, 4]
