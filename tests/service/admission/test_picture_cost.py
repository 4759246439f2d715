"""What the pictures of a session cost, and what is typical."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream_bundle import pictures
from steerstream_bundle.contract import Crop, FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.pictures import JpegImage, RawImage
from steerstream_bundle.view import Applied
from steerstream_service.admission.picture_cost import (
    NOTHING_SPENT,
    PictureMeter,
    PictureTime,
    Spent,
    decode_estimate_ns,
    guess,
    typical,
)
from tests.bundle.jpeg_files import of_size

MS = 1_000_000
INPUT = FrameInput(tensor="frames", height_px=66, width_px=200, crop=Crop())
VIEW = JpegImage(of_size(200, 66, 6_000))
ROAD = JpegImage(of_size(640, 480, 60_000))
NOISE = JpegImage(of_size(2000, 1024, 1_840_000))
LARGE = RawImage(1280, 720, bytes(3 * 1280 * 720))


MAX_PIXELS = 2_100_000


def seems(image, applied=None):
    return decode_estimate_ns(image, INPUT, MAX_PIXELS, applied=applied)


def test_what_a_picture_costs_is_told_by_its_header():
    """Figures of one core: see the constants."""
    assert seems(VIEW) == pytest.approx(0.15 * MS, rel=0.1)
    assert seems(ROAD) == pytest.approx(0.6 * MS, rel=0.1)
    assert seems(NOISE) == pytest.approx(12 * MS, rel=0.1)
    assert seems(LARGE) < 0.5 * MS
    assert seems(JpegImage(b"no picture")) == 0.0, "it is refused before it costs anything"


def test_a_progressive_picture_is_known_to_cost_four_times_as_much_and_one_of_few_bytes_too():
    noise = JpegImage(of_size(2000, 1024, 1_675_000, progressive=True))
    assert 47 * MS < seems(noise) < 70 * MS
    grey = JpegImage(of_size(2000, 1024, 12_500, progressive=True))
    assert seems(grey) > 2.7 * MS, "ten scans took so long, and 64 are accepted"
    narrow, grey = (JpegImage(of_size(*size, 34_600)) for size in ((390, 5300), (2000, 1024)))
    assert seems(narrow) > 2 * MS > 4 * seems(grey) / 2, "it is decoded at its whole size"


def test_the_mapping_of_a_camera_says_at_which_size_its_pictures_are_decoded():
    warp = cast(Any, SimpleNamespace(least_px=(480, 640), check_shape=lambda *_: None))
    assert decode_estimate_ns(ROAD, INPUT, MAX_PIXELS, warp=warp) > seems(ROAD) + 0.15 * MS


@pytest.mark.parametrize(
    ("image", "applied"),
    [
        (JpegImage(of_size(65_535, 65_535, 9_000, progressive=True)), None),
        (JpegImage(of_size(65_535, 8, 9_000)), None),
        (RawImage(307_200, 1, bytes(3 * 307_200)), None),
        (RawImage(2_000, 2_000, bytes(12_000_000)), None),
        (ROAD, Applied(200, 66, 0, 66, 0, 200)),
        (VIEW, Applied(200, 66, 33, 66, 0, 200)),
    ],
    ids=["false size", "one row", "raw row", "too large", "no view", "another part"],
)
def test_what_is_refused_by_its_header_seems_to_cost_nothing(image, applied):
    with pytest.raises(UndecodableError):
        pictures.to_input(image, INPUT, MAX_PIXELS, applied=applied)
    assert seems(image, applied) == 0


def test_any_raw_picture_costs_something_beside_its_bytes():
    assert seems(RawImage(16, 2, bytes(96))) > 0.02 * MS


def meter_of(*costs, estimate_ns=MS, each=1):
    """A meter after reviews, of pictures that took so many milliseconds."""
    meter = PictureMeter()
    for cost_ms in costs:
        for _ in range(each):
            meter.received(VIEW)
            meter.decoded(round(cost_ms * MS), estimate_ns)
        meter.review()
    return meter


def test_the_first_picture_is_believed_to_cost_what_it_seems_to():
    meter = PictureMeter()
    assert meter.mean is None
    assert meter.decode_ns(12 * MS) == 12 * MS


def test_later_ones_are_judged_by_what_the_first_took():
    meter = meter_of(*[2.0] * 10)
    assert meter.decode_ns(MS) == 2 * MS
    assert meter.decode_ns(1.5 * MS) == 3 * MS, "and by their headers"
    assert meter_of(*[0.5] * 10).decode_ns(MS) == 0.5 * MS


def test_a_client_that_sent_cheap_pictures_is_not_trusted_with_a_dear_one():
    meter = meter_of(*[0.5] * 20)
    assert meter.decode_ns(1.9 * MS) == 0.95 * MS, "such is a drive into the light"
    assert meter.decode_ns(12 * MS) == 12 * MS
    stuffed = meter_of(*[0.01] * 20)
    assert stuffed.decode_ns(MS) == MS / 4, "bytes that nobody decodes earn no more than that"


def test_a_client_whose_pictures_are_cheap_and_dear_by_turns_is_known_for_each():
    meter = PictureMeter()
    for _ in range(20):
        for cost_ms in (0.1, 12.0):
            meter.received(VIEW)
            meter.decoded(round(cost_ms * MS), cost_ms * MS)
        meter.review()
    assert meter.decode_ns(0.1 * MS) == pytest.approx(0.1 * MS)
    assert meter.decode_ns(12 * MS) == pytest.approx(12 * MS)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=30),
    st.floats(0.01, 100),
)
def test_no_history_makes_a_picture_look_cheaper_than_a_quarter_of_what_it_seems(seen, seems_ms):
    meter = PictureMeter()
    for cost_ms, seemed_ms in seen:
        meter.received(VIEW)
        meter.decoded(round(cost_ms * MS), seemed_ms * MS)
        meter.review()
    told_ns = meter.decode_ns(seems_ms * MS)
    assert 0.25 * seems_ms * MS <= told_ns * 1.001
    assert told_ns <= 8.001 * seems_ms * MS
    if all(seems_ms > 2 * seemed_ms for _, seemed_ms in seen):
        assert told_ns >= seems_ms * MS


def test_pictures_that_turn_dear_are_known_by_the_third_one():
    meter = meter_of(1.0, each=2)
    for cost in (7, 6):
        meter.decoded(cost * MS, MS)
        assert meter.decode_ns(MS) == MS, "they may be stalls"
    meter.decoded(5 * MS, MS)
    assert meter.decode_ns(MS) == 5 * MS
    meter.decoded(MS, MS)
    assert meter.decode_ns(MS) == MS
    meter.review()
    assert MS < meter.decode_ns(MS) < 7 * MS, "the mean remembers"


def test_pictures_of_a_crowded_server_make_no_session_dear_at_once():
    """A vehicle's took three times what they seemed to while 64 sessions began beside it."""
    meter = meter_of(1.0, each=2)
    for _ in range(10):
        meter.decoded(3 * MS, MS)
        assert meter.decode_ns(MS) == MS
    meter.review()
    assert meter.decode_ns(MS) == pytest.approx(1.6 * MS)


def test_a_lasting_change_is_known_after_a_few_reviews_and_one_review_is_not_enough():
    meter = PictureMeter()
    costs = []
    for decode_ms in (1, 1, 3, 3, 3, 3, 3, 3):
        meter.received(VIEW)
        meter.decoded(decode_ms * MS, MS)
        meter.review()
        costs.append(meter.mean.decode_ns / MS)
    assert costs[1] == 1
    assert costs[2] == pytest.approx(1.6)
    assert costs[-1] > 2.7


def test_what_was_spent_counts_pictures_that_were_refused_too_and_is_told_once():
    meter = PictureMeter()
    for _ in range(4):
        meter.received(LARGE)
    meter.decoded(MS, MS)
    spent = meter.review()
    assert spent.receive_ns > 4 * MS
    assert spent.decode_ns == MS
    assert meter.review() == NOTHING_SPENT
    assert meter.mean.receive_ns == pytest.approx(spent.receive_ns / 4)
    assert meter.mean.decode_ns == MS


def test_a_session_whose_pictures_are_never_decoded_is_known_by_what_it_sends():
    meter = PictureMeter()
    meter.received(LARGE)
    meter.review()
    assert meter.mean.receive_ns > MS
    assert meter.mean.decode_ns == 0


def test_decoding_is_work_of_the_thread_that_did_it_on_every_server():
    """Cheap pictures are decoded on the event loop where others have threads, too."""
    receive, decode = Spent(MS, 3 * MS, MS).by_thread()
    assert decode == PictureTime(3 * MS, 2 * MS)
    assert 0 < receive.loop_ns < receive.cpu_ns == MS
    for in_loop in (False, True):
        assert (guess(in_loop=in_loop).loop_ns > 0) is in_loop


def test_half_of_the_pictures_cost_what_is_typical_at_most():
    vehicle, dear = PictureTime(MS, 0.0), PictureTime(9 * MS, 0.0)
    assert typical([(20.0, vehicle)]) == vehicle
    assert typical([(1.0, dear)] * 16 + [(20.0, vehicle)] * 6) == vehicle, "by their rates"
    assert typical([(20.0, dear)] * 7 + [(20.0, vehicle)] * 6) == dear
    assert typical([(20.0, dear), (20.0, vehicle)]) == vehicle


def test_the_sum_of_what_was_spent_is_taken_apart_again():
    total = Spent(1.0, 2.0, 0.5).plus(Spent(10.0, 20.0, 5.0))
    assert total == Spent(11.0, 22.0, 5.5)
    assert total.since(Spent(1.0, 2.0, 0.5)) == Spent(10.0, 20.0, 5.0)


def test_what_another_thread_took_is_known_as_that():
    meter = PictureMeter()
    for beside in (False, True):
        meter.received(VIEW)
        meter.decoded(4 * MS, 4 * MS, beside=beside)
    assert meter.review()[1:] == (8 * MS, 4 * MS)
    assert meter.mean is not None
    assert meter.mean[1:] == (4 * MS, 2 * MS)
