"""Sessions that change their server: every answer is as if nothing had happened."""

from __future__ import annotations

import asyncio
import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steerstream.v1 import session_pb2
from steerstream_bundle import loading
from steerstream_bundle.pictures import RawImage
from steerstream_service.admission.ticket_office import TicketOffice
from steerstream_service.domain import FramePolicy, SkipReason, Stepped
from steerstream_service.engine.host_stepper import HostStepper
from steerstream_service.engine.ring_length import ring_length
from steerstream_service.session.frame_stages import Decode, FrameRecord, Issue, Send, Submit
from steerstream_service.session.machine import MAX_REPLAYED, Session, Terms
from steerstream_service.session.vehicle_limits import PROFILES
from tests.service import bundles
from tests.service.shell import MS, Shell
from tests.service.vehicle import Vehicle, pictures, running, values

FILM = pictures(40, 5)
EVERY_FRAMES = 4
PERIOD_MS = 50
BUNDLES = [
    bundles.recurrent,
    bundles.feedback,
    bundles.ring,
    bundles.remembering,
    bundles.timed,
    bundles.stateless,
]


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"fleet = {base64.b64encode(bytes(32)).decode()}\n")
    return path


class Server:
    """A server's parts that hold a session, without the network, one frame at a time."""

    def __init__(self, bundle, office, policy, *, replays_rings=False):
        self.bundle, self.office, self.policy = bundle, office, policy
        self.stepper = HostStepper(bundle, sessions=2, buckets=[1])
        self.ring_length = ring_length(self.stepper) if replays_rings else 0

    def open(self, ticket=None, vehicle_id="car"):
        state = ticket and self.office.open(ticket, vehicle_id, self.bundle)
        return Driven(self, vehicle_id, state)


class Driven:
    """One session of such a server."""

    def __init__(self, server, vehicle_id, state):
        self.server, self.vehicle_id = server, vehicle_id
        terms = Terms(
            contract=server.bundle.contract,
            profile=PROFILES["passenger_car"],
            policy=server.policy,
            budget_ns=50 * MS,
            max_waiting_frames=8,
            idle_timeout_ns=10**18,
            expiring_notice_ns=1,
            ticket_every_frames=EVERY_FRAMES,
            ring_length=server.ring_length,
            with_horizon=True,
        )
        self.now_ns = 10**9
        self.session = Session(terms, self.now_ns, state)
        self.slot = server.stepper.pool.allocate()
        self.ticket, self.ticket_number, self.replay_from = None, -1, 0

    def frame(self, number, gap_ms=0, *, replayed=False, passed_ms=PERIOD_MS):
        """Drive one frame all the way; returns its answer."""
        self.now_ns += passed_ms * MS
        capture_ns = (PERIOD_MS * (number + 1) + gap_ms) * MS
        record = FrameRecord(number, capture_ns, RawImage(16, 8, bytes(9000)), 10.0, self.now_ns)
        record.is_replayed = replayed
        actions = self.session.receive(record, MS)
        answer = None
        for action in actions:
            match action:
                case Decode(record):
                    record.pixels = FILM[number % len(FILM)]
                    actions += self.session.decoded(record, self.now_ns)
                case Submit(record):
                    self._step(record)
                    actions += self.session.finished(record, self.now_ns)
                case Send(message):
                    answer = message
                case Issue(state):
                    office, bundle = self.server.office, self.server.bundle
                    self.ticket = office.seal(state, self.vehicle_id, bundle, "0" * 16)
                    self.ticket_number = state.sequence_number
                    self.replay_from = min([*state.ring_frames, state.sequence_number + 1])
        return answer

    def _step(self, record):
        rows = self.server.stepper.step(
            [record.pixels],
            [self.slot],
            [record.reset],
            [[getattr(record, item.name)] for item in self.server.bundle.contract.time_inputs],
            load={} if record.state is None else {0: record.state},
            save={0: record.saves_rings} if record.saves_state else {},
        )
        state = rows.saved[0] if rows.saved else None
        record.outcome = Stepped(rows.outputs[0], self.now_ns, 0, 1, state)


def seen(answer):
    """What must not depend on which server answers, and which limits or counters stand there."""
    return (
        answer.sequence_number,
        answer.raw,
        answer.limited,
        answer.stddevs,
        answer.active_limits,
        answer.validity,
        answer.alive_counter,
        answer.state_epoch,
        answer.step_count,
    )


@pytest.mark.parametrize("policy", list(FramePolicy), ids=lambda policy: policy.name)
@pytest.mark.parametrize(
    ("write", "replays_rings"),
    [(write, False) for write in BUNDLES]
    + [(write, True) for write in (bundles.ring, bundles.remembering)],
)
def test_answers_after_a_break_at_any_moment_are_those_of_an_unbroken_run(
    tmp_path, write, policy, replays_rings
):
    bundle = loading.load(write(tmp_path / "a.onnx"))
    office = TicketOffice(None, 60)
    first, second = (Server(bundle, office, policy, replays_rings=replays_rings) for _ in range(2))

    @settings(max_examples=40, deadline=None)
    @given(
        breaks=st.lists(st.integers(1, 30), max_size=3, unique=True).map(sorted),
        gaps_ms=st.lists(st.sampled_from([0, 0, 0, 120, 400]), min_size=36, max_size=36),
        reset_at=st.none() | st.integers(0, 35),
    )
    def every_answer_is_the_same(breaks, gaps_ms, reset_at):
        late_ms = np.cumsum(gaps_ms)
        whole, broken, ticket = first.open(), first.open(), (None, -1, 0)
        for number in range(36):
            if number in breaks:
                if broken.ticket is not None:
                    ticket = broken.ticket, broken.ticket_number, broken.replay_from
                broken.server.stepper.pool.release(broken.slot)
                sealed, ticket_number, replay_from = ticket
                broken = (second if broken.server is first else first).open(sealed)
                for again in range(replay_from, number):
                    if again == reset_at and again > ticket_number:
                        broken.session.reset()
                    broken.frame(again, late_ms[again], replayed=True, passed_ms=1)
            if number == reset_at:
                whole.session.reset()
                broken.session.reset()
            passed_ms = int(PERIOD_MS + gaps_ms[number])
            expected = whole.frame(number, late_ms[number], passed_ms=passed_ms)
            found = broken.frame(number, late_ms[number], passed_ms=passed_ms)
            assert seen(found) == seen(expected)
        for driven in (whole, broken):
            driven.server.stepper.pool.release(driven.slot)

    every_answer_is_the_same()


def test_a_new_session_gives_the_limits_no_more_time_than_the_old_one_had(tmp_path):
    bundle = loading.load(bundles.recurrent(tmp_path / "a.onnx"))
    server = Server(bundle, TicketOffice(None, 60), FramePolicy.LATEST)
    whole = server.open()
    # Captures of 600 ms come within 12: the limits have nearly used up what a network may hold up.
    for number in range(12):
        whole.frame(number, passed_ms=1)
    assert whole.replay_from == 12
    resumed = server.open(whole.ticket)
    server.stepper.step([FILM[0]], [resumed.slot], [True])
    limited = [driven.frame(12, passed_ms=1).limited.speed_mps for driven in (whole, resumed)]
    assert limited[0] == pytest.approx(limited[1], abs=1e-2)


def test_replayed_frames_keep_no_budget_and_are_stepped_in_order():
    shell = Shell(max_waiting=3)
    records = []
    for number in range(3):
        records.append(FrameRecord(number, 50 * MS * (number + 1), None, 10.0, shell.now_ns))
        records[-1].is_replayed = True
        shell.perform(shell.session.receive(records[-1], MS, refusal="no time"))
    shell.wait(5_000).tick()
    assert shell.answers == []
    live = FrameRecord(3, 200 * MS, None, 10.0, shell.now_ns)
    shell.perform(shell.session.receive(live, MS))
    for _ in range(3):
        shell.decode().step()
    shell.decode().step()
    assert [answer.sequence_number for answer in shell.answers] == [0, 1, 2, 3]
    assert [answer.step_count for answer in shell.answers] == [1, 2, 3, 4]


def test_a_frame_is_replayed_before_all_others_or_not_at_all():
    shell = Shell()
    shell.drive(0, 50)
    record = FrameRecord(1, 100 * MS, None, 10.0, shell.now_ns)
    record.is_replayed = True
    shell.perform(shell.session.receive(record, MS))
    assert shell.answers[-1].reason is SkipReason.INVALID_FIELD
    assert "must not be set after a frame that was not replayed" in shell.answers[-1].detail
    assert shell.drive(2, 150).step_count == 2


def test_frames_that_are_replayed_are_bounded():
    shell = Shell(FramePolicy.EVERY)
    for number in range(MAX_REPLAYED + 1):
        record = FrameRecord(number, 50 * MS * (number + 1), None, 10.0, shell.now_ns)
        record.is_replayed = True
        shell.perform(shell.session.receive(record, MS))
        if number < MAX_REPLAYED:
            shell.decode().step()
    assert shell.answers[-1].reason is SkipReason.INVALID_FIELD
    assert f"set for {MAX_REPLAYED} frames" in shell.answers[-1].detail


async def drive(vehicle, numbers, **fields):
    """Drive frames of the film one by one; returns what was answered."""
    return [
        await vehicle.drive(FILM[number], sequence_number=number, **fields) for number in numbers
    ]


def told(answer):
    limits = list(answer.active_limits)
    counts = answer.state_epoch, answer.step_count, answer.alive_counter, answer.validity
    return values(answer.raw), values(answer.limited), limits, counts


@pytest.mark.parametrize("policy", ["LATEST", "EVERY"])
async def test_a_session_goes_on_at_another_server(tmp_path, keys, policy):
    path = bundles.recurrent(tmp_path / "a.onnx")
    fields = {"frame_policy": session_pb2.FramePolicy.Value(f"FRAME_POLICY_{policy}")}
    options = {"ticket_keys": str(keys), "ticket_every_frames": EVERY_FRAMES}
    async with running(path, **options) as first, running(path, **options) as second:
        whole = await first.vehicle(**fields)
        broken = await first.vehicle(vehicle_id="car-a", **fields)
        film = FILM[:30]
        expected = [told(answer) for answer in await drive(whole, range(len(film)))]
        found = await drive(broken, range(21))
        ticket = broken.notices[-1].ticket
        assert ticket.valid_for_ms == 60_000
        broken.call.cancel()
        resumed = await second.vehicle(vehicle_id="car-a", ticket=ticket.ticket, **fields)
        assert resumed.opened.resumed
        await drive(resumed, range(ticket.sequence_number + 1, 21), replayed=True)
        found += await drive(resumed, range(21, len(film)))
        if policy == "EVERY":
            assert [told(answer) for answer in found] == expected
        else:
            # The limits of a live session count the time that passes here.
            assert [told(answer)[0] for answer in found] == [raw for raw, *_ in expected]
        assert broken.opened.session_id != resumed.opened.session_id


@pytest.mark.parametrize("replays_rings", [False, True])
async def test_a_ticket_leaves_rings_out_where_the_vehicle_plays_them_again(
    tmp_path, keys, replays_rings
):
    path = bundles.remembering(tmp_path / "a.onnx")
    fields = {"frame_policy": session_pb2.FRAME_POLICY_EVERY, "replays_rings": replays_rings}
    options = {"ticket_keys": str(keys), "ticket_every_frames": EVERY_FRAMES}
    async with running(path, **options) as first, running(path, **options) as second:
        whole = await first.vehicle(**fields)
        expected = [told(answer) for answer in await drive(whole, range(30))]
        broken = await first.vehicle(vehicle_id="car-a", **fields)
        found = await drive(broken, range(21))
        ticket = broken.notices[-1].ticket
        assert ticket.HasField("replay_from") is replays_rings
        first_frame = ticket.sequence_number - 3 if replays_rings else ticket.sequence_number + 1
        assert not replays_rings or ticket.replay_from == first_frame
        broken.call.cancel()
        resumed = await second.vehicle(vehicle_id="car-a", ticket=ticket.ticket, **fields)
        await drive(resumed, range(first_frame, 21), replayed=True)
        found += await drive(resumed, range(21, 30))
        assert [told(answer) for answer in found] == expected


async def test_a_ticket_without_its_frames_ends_the_stream(tmp_path, keys):
    path = bundles.remembering(tmp_path / "a.onnx")
    async with running(path, ticket_keys=str(keys), ticket_every_frames=1) as run:
        car = await run.vehicle(vehicle_id="car-a", replays_rings=True)
        await drive(car, range(40))
        ticket = car.notices[-1].ticket
        other = await run.vehicle(vehicle_id="car-a", ticket=ticket.ticket)
        assert other.opened.resumed
        await other.frame(FILM[1], sequence_number=ticket.sequence_number + 1, replayed=True)
        code, reason, text = await other.failure()
        assert (code.name, reason) == ("INVALID_ARGUMENT", "ERROR_REASON_BAD_TICKET")
        assert f"frame {ticket.replay_from} must be played again next" in text


async def test_a_ticket_opens_for_its_vehicle_alone(tmp_path, keys):
    path = bundles.recurrent(tmp_path / "a.onnx")
    async with running(path, ticket_keys=str(keys), ticket_every_frames=1) as run:
        car = await run.vehicle(vehicle_id="car-a")
        await drive(car, range(40))
        assert car.notices, "a ticket came"
        thief = Vehicle(run.stub())
        ticket = car.notices[-1].ticket.ticket
        await thief.send(open=session_pb2.OpenSession(vehicle_id="car-b", ticket=ticket))
        code, reason, text = await thief.failure()
        assert (code.name, reason) == ("INVALID_ARGUMENT", "ERROR_REASON_BAD_TICKET")
        assert "another vehicle" in text


async def test_where_second_sessions_are_refused_the_last_ticket_takes_over_and_only_once(
    tmp_path, keys
):
    path = bundles.recurrent(tmp_path / "a.onnx")
    options = {"ticket_keys": str(keys), "ticket_every_frames": EVERY_FRAMES}
    async with running(path, second_session="refuse", **options) as run:
        car = await run.vehicle(vehicle_id="car-a")
        await drive(car, range(40))
        ticket = car.notices[-1].ticket
        renewed = await run.vehicle(vehicle_id="car-a", ticket=ticket.ticket)
        assert renewed.opened.resumed
        assert (await car.failure())[1] == "ERROR_REASON_TAKEN_OVER"
        await drive(renewed, range(ticket.sequence_number + 1, 40), replayed=True)
        thief = Vehicle(run.stub())
        await thief.send(open=session_pb2.OpenSession(vehicle_id="car-a", ticket=ticket.ticket))
        assert (await thief.failure())[1] == "ERROR_REASON_SHARE_TAKEN"
        assert (await renewed.drive(FILM[0], sequence_number=40)).step_count == 41


async def test_a_drain_gives_every_session_a_ticket_with_its_next_frame(tmp_path, keys):
    path = bundles.ring(tmp_path / "a.onnx")
    options = {"ticket_keys": str(keys), "ticket_every_frames": 1000, "drain_s": 5.0}
    async with running(path, **options) as first, running(path, **options) as second:
        car = await first.vehicle(vehicle_id="car-a")
        await drive(car, range(5))
        assert not car.notices
        first.server.admission.draining = True
        task = asyncio.create_task(first.server._service.drain(5.0))
        await asyncio.sleep(0)
        await drive(car, range(5, 7))
        kinds = [notice.WhichOneof("notice") for notice in car.notices]
        assert kinds[0] == "draining"
        assert "ticket" in kinds
        ticket = car.notices[kinds.index("ticket")].ticket
        other = await second.vehicle(vehicle_id="car-a", ticket=ticket.ticket)
        assert other.opened.resumed
        await car.done()
        await task
