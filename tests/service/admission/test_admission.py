"""Who gets in, who has to go, and that every slot comes back."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import re
import threading
import time
from types import SimpleNamespace

import pytest

from steerstream import lens
from steerstream_bundle import loading
from steerstream_bundle.contract import TrainedCamera
from steerstream_bundle.pictures import JpegImage, RawImage
from steerstream_bundle.view import Applied
from steerstream_service.admission import admission as admission_module
from steerstream_service.admission.admission import Admission, Taken
from steerstream_service.admission.catalogue import Model
from steerstream_service.admission.fair_queue import CrowdedError
from steerstream_service.admission.shares import Holder
from steerstream_service.config import Config
from steerstream_service.domain import Camera, FramePolicy, Opening
from steerstream_service.errors import (
    BudgetTooSmallError,
    InvalidFieldError,
    ShareTakenError,
    TooManySessionsError,
)
from steerstream_service.session.frame_stages import FrameRecord
from tests.bundle.jpeg_files import of_size
from tests.service import bundles, states

MS = 1_000_000
NUMBERS = itertools.count()
"""Of vehicles, which all have names of their own."""


STATE = states.state()


def opening(**changes):
    fields = {
        "vehicle_id": f"car-{next(NUMBERS)}",
        "model": None,
        "budget_ms": 50.0,
        "policy": FramePolicy.LATEST,
        "camera": Camera(0, 0, 0.0, 0.0, 0.0),
        "ticket": b"",
        "frame_rate_hz": None,
    }
    return Opening(**{**fields, **changes})


@pytest.fixture
def tiny(tmp_path):
    return loading.load(bundles.recurrent(tmp_path / "tiny.onnx"))


def admission(tiny, *, step_ms=1.0, cores=1.0, **settings):
    config = Config(**settings)
    model = Model(tiny, config)
    for size in model.queue.cost.buckets:
        model.queue.cost.measured(size, round(size * step_ms * MS))
    return Admission({"tiny": model}, "tiny", config, cores)


def fill(admitting, **asked):
    """All leases that are to be had, and the refusal of one more."""
    leases = []
    while True:
        try:
            leases.append(admitting.admit(opening(**asked)))
        except TooManySessionsError as error:
            return leases, error


def test_a_session_that_states_no_rate_asks_for_its_model_s(tiny):
    stated, _ = fill(admission(tiny), frame_rate_hz=20.0)
    unstated, error = fill(admission(tiny))
    assert len(stated) == len(unstated) == 13
    assert str(error).startswith("20 Hz within 50 ms asks for 5.8% of the CPU, of which ")


def test_all_sessions_taken_is_a_reason_of_its_own(tiny):
    leases, error = fill(admission(tiny, max_sessions=3))
    assert len(leases) == 3
    assert str(error) == "all 3 sessions are taken; try again later"


def test_a_refusal_takes_no_slot_and_what_is_released_is_room(tiny):
    admitting = admission(tiny)
    leases, _ = fill(admitting)
    pool = admitting.models["tiny"].queue.pool
    assert pool.free == 64 - len(leases)
    for lease in leases:
        assert admitting.release(lease)
        assert not admitting.release(lease)
    assert pool.free == 64
    assert admitting.capacity.load == 0
    assert len(fill(admitting)[0]) == len(leases)


def test_a_budget_below_what_a_frame_takes_cannot_be_kept(tiny):
    admitting = admission(tiny, step_ms=4.0)
    with pytest.raises(BudgetTooSmallError, match=r"ask for 4\.6 ms or more"):
        admitting.admit(opening(budget_ms=4.5))


def test_the_newest_go_first_until_the_rest_fits(tiny):
    admitting = admission(tiny, shed_after_s=0.1, shed_notice_s=0.0)
    leases, _ = fill(admitting)
    cost = admitting.models["tiny"].queue.cost
    assert admitting.review() == []
    for _ in range(400):
        cost.measured(1, 12 * MS)
    going = _review_until_some_go(admitting)
    assert 0 < len(going) < len(leases)
    assert going == leases[: len(leases) - len(going) - 1 : -1]
    assert admitting.capacity.load <= 1.0
    assert admitting.sessions == len(leases), "they are served until they are ended"
    for lease in going:
        admitting.release(lease)
    assert admitting.sessions == len(leases) - len(going)
    for lease in leases:
        admitting.release(lease)
    assert admitting.capacity.load == 0


def test_the_last_session_stays_however_slow_the_server(tiny):
    admitting = admission(tiny, shed_after_s=0.1, shed_notice_s=0.0)
    only = admitting.admit(opening())
    for _ in range(300):
        admitting.models["tiny"].queue.cost.measured(1, 900 * MS)
    assert _review_until_some_go(admitting, reviews=30) == []
    assert admitting.release(only)


VIEW = JpegImage(of_size(200, 66, 6_000))
NOISE = JpegImage(of_size(2000, 1024, 1_840_000))
STUFFED = JpegImage(of_size(2000, 1024, 3_900_000, progressive=True))
LARGE = RawImage(1280, 720, bytes(3 * 1280 * 720))


def takes(lease, image, now_ns=0, *, is_replayed=False, applied=None):
    """One frame, as a stream hands it over; returns its record, and what the stream is told."""
    record = FrameRecord(0, 0, image, None, now_ns)
    record.is_replayed = is_replayed
    record.view_applied = applied
    return record, lease.take(record)


def sends(lease, image, decode_ms, now_ns=0):
    """One frame that is decoded; returns what the stream is told."""
    record, told = takes(lease, image, now_ns)
    lease.pictures.decoded(round(decode_ms * MS), record.decode_estimate_ns)
    return told


def test_those_whose_frames_are_dear_go_before_others_however_new_those_are(tiny):
    admitting = admission(tiny, shed_after_s=0.1, shed_notice_s=0.0)
    dear = [admitting.admit(opening(frame_rate_hz=1.0)) for _ in range(4)]
    vehicles = [admitting.admit(opening(frame_rate_hz=20.0)) for _ in range(3)]
    for lease in dear:
        sends(lease, LARGE, 9.0)
    for lease in vehicles:
        sends(lease, VIEW, 0.1)
    assert admitting.review() == []
    for _ in range(400):
        admitting.models["tiny"].queue.cost.measured(1, 900 * MS)
    going = _review_until_some_go(admitting)
    assert going == dear[::-1], "and no vehicle, though that is not enough"
    for lease in going:
        admitting.release(lease)
    assert _review_until_some_go(admitting) == vehicles[:0:-1], "the newest, where none is dear"
    for lease in vehicles:
        admitting.release(lease)
    assert admitting.capacity.load == 0


def test_a_dear_frame_beyond_what_was_granted_is_served_and_the_next_read_is_in_turn(tiny):
    admitting = admission(tiny)
    crowd = [admitting.admit(opening(frame_rate_hz=1.0)) for _ in range(3)]
    car = admitting.admit(opening(frame_rate_hz=20.0))
    sends(car, VIEW, 0.1)
    admitting.review()
    turns = [sends(lease, LARGE, 9.0) for lease in crowd]
    assert {told.refusal for told in turns} == {None}
    pauses_ms = [told.pause_ns / MS for told in turns]
    assert pauses_ms[0] > 4
    assert pauses_ms == pytest.approx([pauses_ms[0], 2 * pauses_ms[0], 3 * pauses_ms[0]])
    assert sends(car, VIEW, 0.1) == Taken()
    admitting.review()
    assert takes(admitting.admit(opening(frame_rate_hz=1.0)), VIEW)[1] == Taken()


def disguised(admitting, count):
    """Sessions that have sent small pictures for a while, and are granted no more."""
    crowd = [admitting.admit(opening(frame_rate_hz=20.0)) for _ in range(count)]
    for lease in crowd:
        sends(lease, VIEW, 0.1)
    admitting.review()
    return crowd


@pytest.mark.parametrize("image", [NOISE, JpegImage(of_size(2000, 1024, 12_000, progressive=True))])
def test_of_a_crowd_whose_pictures_turn_dear_at_once_most_are_refused_before_they_cost_much(
    tiny, image
):
    crowd = disguised(admission(tiny, cores=8.0), 16)
    told = [takes(lease, image, 10**9)[1] for lease in crowd]
    refused = [answer for answer in told if answer.refusal]
    assert len(refused) >= 13
    assert re.fullmatch(
        r"the picture takes \d+\.\d times what .* send smaller ones, or send on: the next is read "
        r"in \d+ ms",
        refused[0].refusal,
    )
    assert all(answer.pause_ns > 0 for answer in told)
    assert len({answer.pause_ns for answer in told}) == 16, "each has its turn"
    last, answer = crowd[-1], told[-1]
    turn_ns = 10**9 + answer.pause_ns
    assert takes(last, image, turn_ns)[1].refusal is None, "when its turn has come"


def test_a_vehicle_whose_first_picture_is_large_is_served_where_there_is_room(tiny):
    admitting = admission(tiny)
    lease, told = admitting.admit(opening(frame_rate_hz=5.0, budget_ms=500.0)), []
    for frame in range(20):
        told.append(sends(lease, NOISE, 12.0, 10**9 + frame * 200 * MS))
        if frame % 2:
            admitting.review()
    assert {answer.refusal for answer in told} == {None}
    assert told[-1].pause_ns == 0, "it is granted what its pictures cost"
    beside = admitting.admit(opening(frame_rate_hz=20.0))
    assert sends(beside, VIEW, 0.1, 5 * 10**9) == Taken()


def test_dear_pictures_that_are_played_again_are_read_in_turn_and_keep_no_rate(tiny):
    crowd = disguised(admission(tiny), 2)
    pauses = [takes(crowd[0], NOISE, is_replayed=True)[1].pause_ns for _ in range(30)]
    assert pauses[-1] > pauses[0] > 40 * MS
    assert {takes(crowd[1], VIEW, is_replayed=True)[1] for _ in range(100)} == {Taken()}
    assert crowd[1].rate_meter.review().frames == 0


def test_a_bunch_of_dear_pictures_that_were_granted_is_read_slowly_and_not_refused(tiny):
    """A network that stalls for a moment hands over several frames at once."""
    admitting = admission(tiny)
    lease = admitting.admit(opening(frame_rate_hz=5.0, budget_ms=500.0))
    beside = [admitting.admit(opening(frame_rate_hz=5.0, budget_ms=500.0)) for _ in range(2)]
    for car in beside:
        sends(car, VIEW, 0.1)
    for _ in range(10):
        sends(lease, NOISE, 12.0, 10**9)
        admitting.review()
    told = [takes(lease, NOISE, 5 * 10**9)[1] for _ in range(6)]
    assert {answer.refusal for answer in told} == {None}
    assert told[-1].pause_ns > 0


def test_no_session_is_left_unread_for_long_by_the_turns_of_others_and_it_keeps_its_own(tiny):
    crowd = disguised(admission(tiny, cores=8.0, max_sessions=40), 40)
    told = [takes(lease, STUFFED, 10**9)[1] for lease in crowd]
    assert max(answer.pause_ns for answer in told) == 5000 * MS
    last, readable_ns = crowd[-1], 10**9 + 5000 * MS
    turn_ns = last.claim.turn_ns
    later = [takes(last, STUFFED, readable_ns)[1] for _ in range(10)]
    assert last.claim.turn_ns == turn_ns > readable_ns, "however often it asks"
    assert all(answer.refusal and answer.pause_ns == 5000 * MS for answer in later)
    assert takes(last, STUFFED, turn_ns)[1].refusal is None


def test_a_dear_picture_that_is_refused_by_its_header_takes_no_turn(tiny):
    hostile, car = disguised(admission(tiny), 2)
    false_size = JpegImage(of_size(65_535, 65_535, 9_000, progressive=True))
    assert takes(hostile, false_size, 10**9)[1] == Taken()
    no_view = Applied(2000, 1024, 0, 1024, 0, 2000)
    assert takes(hostile, NOISE, 10**9, applied=no_view)[1] == Taken()
    record, told = takes(car, NOISE, 10**9)
    assert told.refusal is None
    assert told.pause_ns < 4.1 * (record.decode_forecast_ns + 2 * MS)


def test_a_crowd_with_long_budgets_does_not_hide_that_the_server_is_late_for_others(tiny):
    """A lag of 0.4 s is less than half of their budgets, and four times that of a vehicle."""
    admitting = admission(tiny)
    for budget_ms in (1000.0, 1000.0, 1000.0, 100.0):
        admitting.admit(opening(budget_ms=budget_ms, frame_rate_hz=5.0))
    for _ in range(10):
        admitting.review([400 * MS])
    assert admitting.capacity.lateness.is_late


def test_a_dear_surplus_is_read_slowly_even_while_there_is_room(tiny):
    admitting = admission(tiny)
    lease, car = (admitting.admit(opening(frame_rate_hz=rate_hz)) for rate_hz in (1.0, 20.0))
    sends(car, VIEW, 0.1)
    sends(lease, LARGE, 1.0)
    admitting.review()
    pauses = [takes(lease, LARGE)[1].pause_ns for _ in range(9)]
    assert 0 < pauses[-1] <= 1000 * MS
    assert pauses[-1] > pauses[3] > 0
    flood = [takes(car, VIEW)[1] for _ in range(50)]
    assert {taken._replace(is_granted=True) for taken in flood} == {Taken()}, (
        "what is cheap is served as long as there is room"
    )


def test_on_a_busy_server_a_surplus_is_refused(tiny):
    admitting = admission(tiny)
    car = admitting.admit(opening(frame_rate_hz=20.0))
    admitting.capacity.is_busy = True
    *within, surplus = (takes(car, VIEW)[1] for _ in range(9))
    assert within == [Taken()] * 8
    assert surplus.pause_ns == 40 * MS
    assert "state it when opening" in surplus.refusal
    assert takes(car, None)[1] == surplus


def _review_until_some_go(admitting, reviews=500):
    """Reviews go by the process's own clock."""
    for _ in range(reviews):
        time.sleep(0.01)
        if going := admitting.review():
            return going
    return []


# A second session of a vehicle.


def test_a_second_session_has_the_slot_and_the_load_of_the_first(tiny):
    admitting = admission(tiny, max_sessions=1)
    first = admitting.admit(opening(vehicle_id="car"))
    load = admitting.capacity.load
    second = admitting.admit(opening(vehicle_id="car"))
    assert (first.took_over, second.took_over) == (None, first.session_id)
    assert (admitting.sessions, admitting.capacity.load) == (1, load)
    assert not admitting.release(first)
    assert admitting.release(second)
    assert (admitting.sessions, admitting.capacity.load) == (0, 0.0)
    assert second.model.queue.pool.free == 1


def test_a_second_session_for_which_there_is_no_room_leaves_the_first_all_that_it_has(tiny):
    admitting = admission(tiny)
    first = admitting.admit(opening(vehicle_id="car", frame_rate_hz=1.0))
    fill(admitting, frame_rate_hz=1.0)
    sessions, load = admitting.sessions, admitting.capacity.load
    with pytest.raises(TooManySessionsError, match="1000 Hz within 50 ms asks for"):
        admitting.admit(opening(vehicle_id="car", frame_rate_hz=1000.0))
    assert (admitting.sessions, admitting.capacity.load) == (sessions, load)
    assert first.model.queue.pool.holds(first.slot)
    assert admitting.admit(opening(vehicle_id="car", frame_rate_hz=1.0)).took_over


def test_a_session_that_was_told_to_leave_gives_its_load_back_once(tiny):
    admitting = admission(tiny)
    stays, leaves = (admitting.admit(opening(vehicle_id=name)) for name in ("a", "b"))
    load = admitting.capacity.load
    assert admitting._let_go(0.0) == [leaves]
    back = admitting.admit(opening(vehicle_id="b"))
    assert (back.took_over, admitting.capacity.load) == (leaves.session_id, load)
    for lease in (stays, back):
        assert admitting.release(lease)
    assert (admitting.sessions, admitting.capacity.load, admitting._leaving) == (0, 0.0, set())


def test_sessions_that_have_ended_count_for_nobody(tiny):
    admitting = admission(tiny, max_sessions_per_identity=1, max_sessions_per_address=1)
    for _ in range(3):
        assert admitting.release(admitting.admit(opening(), Holder("fleet", "10.0.0.1")))
    admitting.admit(opening(), Holder("fleet", "10.0.0.1"))
    with pytest.raises(ShareTakenError):
        admitting.admit(opening(), Holder("fleet", "10.0.0.2"))


def test_a_fault_in_the_middle_of_a_change_leaves_no_load_behind(tiny, monkeypatch):
    admitting = admission(tiny)
    first = admitting.admit(opening(vehicle_id="car"))

    def fails():
        raise MemoryError

    monkeypatch.setattr(first.model.queue.pool, "allocate", fails)
    with pytest.raises(MemoryError):
        admitting.admit(opening(vehicle_id="car"))
    assert (admitting.sessions, admitting.capacity.load) == (0, 0.0)


@pytest.mark.parametrize(("max_load", "asks"), [(0.8, False), (1.0, False), (100.0, True)])
def test_a_pace_is_asked_for_only_where_load_bounds_no_admission(tiny, max_load, asks):
    """Sessions that were admitted by a forecast keep the rates that they were granted."""
    admitting = admission(tiny, max_load=max_load)
    lease = admitting.admit(opening())
    for review in range(3):
        for frame in range(20):
            lease.rate_meter.take(review * 10**9 + frame * 50 * MS)
            lease.rate_meter.count_late(was_decoded=False)
        admitting.review()
    assert (admitting.pace.share < 1.0) == asks


# Cameras, whose mapping takes a while to find.

WIDE = Camera(160, 120, 60.0, 1.3, 0.45)


@pytest.fixture
def mapped(monkeypatch):
    """The thread of each mapping that is found, with none remembered from before."""
    threads, found = [], lens.mapping

    def find(*arguments, **options):
        threads.append(threading.get_ident())
        return found(*arguments, **options)

    monkeypatch.setattr(lens, "mapping", find)
    return threads


@pytest.fixture
def seeing(tmp_path):
    network = TrainedCamera(
        horizontal_fov_deg=30.0, aspect_ratio=4 / 3, mount_height_m=1.3, horizon_fraction=0.45
    )
    return loading.load(bundles.recurrent(tmp_path / "tiny.onnx", camera=network))


async def test_a_camera_is_mapped_once_and_not_by_the_event_loop(seeing, mapped):
    admitting = admission(seeing)
    for _ in range(2):
        asked = opening(camera=WIDE)
        await admitting.map_camera(asked)
        assert admitting.admit(asked).warp is not None
    assert len(mapped) == 1
    assert threading.get_ident() not in mapped
    await admitting.map_camera(opening())
    assert len(mapped) == 1, "a camera that is not described needs none"


@pytest.mark.parametrize("settings", [{"max_sessions": 2}, {"max_load": 0.2}])
async def test_who_is_refused_costs_no_mapping(seeing, mapped, settings):
    admitting = admission(seeing, **settings)
    fill(admitting)
    mapped.clear()
    load, sessions = admitting.capacity.load, admitting.sessions
    for _ in range(3):
        with pytest.raises(TooManySessionsError):
            await admitting.map_camera(opening(camera=WIDE))
    assert mapped == []
    assert (admitting.capacity.load, admitting.sessions) == (load, sessions)


async def test_of_a_crowd_only_those_that_find_room_are_mapped(seeing, mapped):
    admitting = admission(seeing, max_sessions=1)

    async def come(number):
        asked = opening(camera=dataclasses.replace(WIDE, horizontal_fov_deg=50.0 + number))
        await admitting.map_camera(asked)
        return admitting.admit(asked)

    found = await asyncio.gather(*map(come, range(5)), return_exceptions=True)
    assert [type(item) for item in found[1:]] == [TooManySessionsError] * 4
    assert len(mapped) == 1


async def test_vehicles_that_are_gone_before_their_cameras_are_mapped_keep_one_thread_busy(
    seeing, monkeypatch
):
    at_work, go_on, most = threading.Semaphore(0), threading.Event(), []

    def find(*arguments, **options):
        most.append(len(most))
        at_work.release()
        go_on.wait(60)
        raise lens.UnsuitableCameraError("no road in it")

    monkeypatch.setattr(lens, "mapping", find)
    admitting = admission(seeing)
    for number in range(5):
        camera = dataclasses.replace(WIDE, horizontal_fov_deg=40.0 + number)
        coming = asyncio.create_task(admitting.map_camera(opening(camera=camera)))
        if number == 0:
            await asyncio.to_thread(at_work.acquire)
        await asyncio.sleep(0)
        coming.cancel()
        await asyncio.wait([coming])
    assert most == [0], "the others were gone before it was their turn"
    go_on.set()
    with pytest.raises(InvalidFieldError, match="no road in it"):
        await admitting.map_camera(opening(camera=WIDE))
    assert most == [0, 1]


@pytest.fixture
def held_up(monkeypatch):
    """The fields of view of cameras that are mapped; the first one only after `go_on` is set."""
    began, go_on, mapping = [], threading.Event(), lens.mapping

    def find(camera, *arguments, **options):
        began.append(camera.horizontal_fov_deg)
        go_on.wait(60)
        return mapping(camera, *arguments, **options)

    monkeypatch.setattr(lens, "mapping", find)
    yield SimpleNamespace(began=began, go_on=go_on)
    go_on.set()


def camera(fov_deg):
    return dataclasses.replace(WIDE, horizontal_fov_deg=float(fov_deg))


async def crowd(admitting, holder, count, first_fov_deg=40):
    """Vehicles of one holder that wait until their cameras are mapped, the first one's at work."""
    tasks = [
        asyncio.create_task(
            admitting.map_camera(opening(camera=camera(first_fov_deg + at)), holder)
        )
        for at in range(count)
    ]
    await asyncio.sleep(0)
    return tasks


async def test_a_camera_that_is_known_waits_for_no_others(seeing, held_up):
    admitting, stranger = admission(seeing), Holder(address="10.0.0.9")
    held_up.go_on.set()
    admitting.admit(opening(camera=WIDE))
    held_up.go_on.clear()
    tasks = await crowd(admitting, stranger, 5)
    known = asyncio.create_task(admitting.map_camera(opening(camera=WIDE), stranger))
    await asyncio.sleep(0)
    assert known.done()
    assert not any(task.done() for task in tasks)
    held_up.go_on.set()
    await asyncio.gather(*tasks, known)


@pytest.mark.parametrize("who", ["another address", "another identity", "with a ticket"])
async def test_a_crowd_of_strangers_keeps_a_vehicle_waiting_for_one_of_them(seeing, held_up, who):
    admitting, stranger = admission(seeing), Holder(address="10.0.0.9")
    holders = {
        "another address": Holder(address="10.0.0.1"),
        "another identity": Holder("car-7", stranger.address),
    }
    own = opening(vehicle_id="car-7", camera=camera(70))
    if who == "with a ticket":
        before = admitting.admit(opening(vehicle_id="car-7"), stranger)
        ticket = before.ticket(STATE).ticket
        admitting.release(before)
        own = dataclasses.replace(own, ticket=ticket)
    tasks = await crowd(admitting, stranger, 20)
    tasks.append(asyncio.create_task(admitting.map_camera(own, holders.get(who, stranger))))
    await asyncio.sleep(0)
    held_up.go_on.set()
    await asyncio.gather(*tasks)
    assert held_up.began[:3] == [40.0, 41.0, 70.0]


async def test_a_crowd_of_strangers_is_bounded_and_whoever_else_comes_is_not_refused(
    seeing, held_up, monkeypatch
):
    monkeypatch.setattr(admission_module, "_MOST_MAPPINGS", 3)
    admitting = admission(seeing)
    tasks = await crowd(admitting, Holder(address="10.0.0.9"), 5)
    tasks += await crowd(admitting, Holder(address="10.0.0.1"), 1, first_fov_deg=70)
    held_up.go_on.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [at for at, item in enumerate(found) if isinstance(item, CrowdedError)]
    assert refused == [3, 4]
    assert held_up.began == [40.0, 41.0, 70.0, 42.0]


async def test_a_vehicle_that_comes_again_to_a_full_server_is_mapped(seeing, mapped):
    admitting = admission(seeing)
    leases, _ = fill(admitting, camera=WIDE)
    mapped.clear()
    again = dataclasses.replace(leases[0].opening, camera=dataclasses.replace(WIDE, width_px=320))
    load = admitting.capacity.load
    await admitting.map_camera(again)
    assert admitting.capacity.load == pytest.approx(load)
    assert len(mapped) == 1
    assert admitting.admit(again).took_over == leases[0].session_id


async def test_a_camera_that_cannot_be_mapped_takes_nothing(seeing):
    admitting = admission(seeing)
    with pytest.raises(InvalidFieldError, match=r"open\.camera cannot be used with tiny"):
        await admitting.map_camera(opening(camera=dataclasses.replace(WIDE, mount_height_m=0.0)))
    assert (admitting.capacity.load, admitting.sessions) == (0, 0)
