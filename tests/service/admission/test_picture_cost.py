"""What the pictures of a session cost, and what is typical."""

from __future__ import annotations

import pytest

from steerstream_bundle.pictures import JpegImage, RawImage
from steerstream_service.admission.picture_cost import (
    NOTHING_SPENT,
    PictureMeter,
    PictureTime,
    Spent,
    guess,
    typical,
)

MS = 1_000_000
VIEW = JpegImage(bytes(6_000))
LARGE = RawImage(1280, 720, bytes(3 * 1280 * 720))


def test_the_first_picture_is_judged_by_its_size():
    meter = PictureMeter()
    assert meter.mean is None
    assert meter.forecast_ns(VIEW) < 0.1 * MS
    assert meter.forecast_ns(JpegImage(bytes(2_000_000))) > 10 * MS
    assert MS < meter.forecast_ns(LARGE) < 3 * MS


def test_later_ones_are_judged_by_what_was_measured():
    meter = PictureMeter()
    for _ in range(10):
        meter.received(VIEW)
        meter.decoded(2 * MS)
    meter.review()
    assert meter.decode_ns(VIEW) == 2 * MS
    assert meter.forecast_ns(VIEW) == pytest.approx(2 * MS, rel=0.01)
    assert meter.forecast_ns(LARGE) == pytest.approx(3.4 * MS, rel=0.05), "its size still counts"


def test_a_client_that_sent_small_pictures_is_not_trusted_with_a_large_one():
    meter = PictureMeter()
    for _ in range(20):
        meter.received(VIEW)
        meter.decoded(MS // 4)
        meter.review()
    assert meter.decode_ns(VIEW) == MS // 4
    assert meter.decode_ns(JpegImage(bytes(11_000))) == MS // 4, "such is a drive into the light"
    assert meter.decode_ns(JpegImage(bytes(2_000_000))) > 10 * MS
    assert meter.decode_ns(JpegImage(bytes(13_000))) == MS // 4, "never cheaper than others were"


def test_pictures_that_turn_dear_are_known_by_the_second_one_and_a_stall_is_not():
    meter = PictureMeter()
    meter.received(VIEW)
    for _ in range(2):
        meter.decoded(MS)
    meter.review()
    meter.decoded(20 * MS)
    assert meter.decode_ns(VIEW) == MS, "one may be a stall"
    meter.decoded(15 * MS)
    assert meter.decode_ns(VIEW) == 15 * MS
    meter.decoded(MS)
    assert meter.decode_ns(VIEW) == MS
    meter.review()
    assert MS < meter.decode_ns(VIEW) < 15 * MS, "the mean remembers"


def test_a_lasting_change_is_known_after_a_few_reviews_and_one_review_is_not_enough():
    meter = PictureMeter()
    costs = []
    for decode_ms in (1, 1, 3, 3, 3, 3, 3, 3):
        meter.received(VIEW)
        meter.decoded(decode_ms * MS)
        meter.review()
        costs.append(meter.mean.decode_ns / MS)
    assert costs[1] == 1
    assert costs[2] == pytest.approx(1.6)
    assert costs[-1] > 2.7


def test_what_was_spent_counts_pictures_that_were_refused_too_and_is_told_once():
    meter = PictureMeter()
    for _ in range(4):
        meter.received(LARGE)
    meter.decoded(MS)
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


def test_decoding_is_work_of_the_event_loop_only_where_it_runs_there():
    for in_loop, loop_ns in ((False, 0.0), (True, 2 * MS)):
        receive, decode = Spent(MS, 2 * MS).by_thread(in_loop=in_loop)
        assert decode == PictureTime(2 * MS, loop_ns)
        assert 0 < receive.loop_ns < receive.cpu_ns == MS
        assert (guess(in_loop=in_loop).loop_ns > 0) is in_loop


def test_half_of_the_pictures_cost_what_is_typical_at_most():
    vehicle, dear = PictureTime(MS, 0.0), PictureTime(9 * MS, 0.0)
    assert typical([(20.0, vehicle)]) == vehicle
    assert typical([(1.0, dear)] * 16 + [(20.0, vehicle)] * 6) == vehicle, "by their rates"
    assert typical([(20.0, dear)] * 7 + [(20.0, vehicle)] * 6) == dear
    assert typical([(20.0, dear), (20.0, vehicle)]) == vehicle


def test_the_sum_of_what_was_spent_is_taken_apart_again():
    total = Spent(1.0, 2.0).plus(Spent(10.0, 20.0))
    assert total == Spent(11.0, 22.0)
    assert total.since(Spent(1.0, 2.0)) == Spent(10.0, 20.0)
