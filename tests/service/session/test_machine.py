"""The session machine under any order of events, and each of its rules by example."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from steerstream.checksum import ALIVE_COUNTER_MODULUS
from steerstream_bundle.pictures import RawImage
from steerstream_service.domain import (
    NEVER_NS,
    Command,
    ExpiringNotice,
    FramePolicy,
    Skip,
    SkipReason,
    Validity,
)
from steerstream_service.errors import BadTicketError, IdleError, InternalError
from steerstream_service.session.frame_stages import End, FrameRecord, Stage
from steerstream_service.session.ticket import ticket_bytes
from tests.service import bundles
from tests.service.shell import COST_NS, IMAGE, MS, TENSORS, Shell

FRESH = {Validity.VALID, Validity.WARMING_UP}


class Machine(RuleBasedStateMachine):
    """Any order of frames, resets, decoder, engine, recalls and time."""

    policy = FramePolicy.LATEST

    def __init__(self):
        super().__init__()
        self.shell = Shell(self.policy)
        self.capture_ms = 1000
        self.last_number = -1
        self.resets = []  # numbers of frames received before each reset

    @rule(step=st.integers(1, 3), interval_ms=st.sampled_from([1, 50, 50, 50, 300, 301, 5000]))
    def frame(self, step, interval_ms):
        self.last_number += step
        self.capture_ms += interval_ms
        self.shell.frame(self.last_number, self.capture_ms)

    @rule(back=st.integers(0, 100))
    def frame_again(self, back):
        self.shell.frame(max(self.last_number - back, 0), self.capture_ms)
        self.last_number = max(self.last_number, 0)

    @rule()
    def frame_from_the_past(self):
        self.last_number += 1
        self.shell.frame(self.last_number, 1)

    @rule(ms=st.sampled_from([-3_600_000, -500, 3_600_000]))
    def clock_is_set(self, ms):
        self.capture_ms = max(self.capture_ms + ms, 0)

    @rule()
    def frame_with_an_invalid_field(self):
        self.last_number += 1
        self.capture_ms += 50
        self.shell.frame(self.last_number, self.capture_ms, invalid="a speed that is no number")

    @rule()
    def reset(self):
        self.shell.session.reset()
        self.resets.append(len(self.shell.received))

    @precondition(lambda self: self.shell.decoding)
    @rule(works=st.sampled_from([True, True, True, False]))
    def decoder(self, works):
        self.shell.decode() if works else self.shell.decode_fails()

    @rule(waits=st.booleans())
    def decoder_is_busy(self, waits):
        self.shell.waits_for_decoder = waits

    @precondition(lambda self: self.shell.decoding)
    @rule()
    def decoder_gives_up(self):
        self.shell.decoder_gives_up()

    @precondition(lambda self: self.shell.submitted)
    @rule()
    def engine_begins(self):
        self.shell.begin()

    @precondition(lambda self: self.shell.submitted)
    @rule(how=st.sampled_from(["step", "step", "step", "bad", "fail", "late"]))
    def engine(self, how):
        if how == "step":
            self.shell.step()
        elif how == "bad":
            self.shell.step((float("nan"), 10.0, 0.0))
        else:
            self.shell.step_fails(SkipReason.FAILED if how == "fail" else SkipReason.LATE)

    @rule(ms=st.sampled_from([0.5, 1, 10, 49, 60]))
    def time(self, ms):
        self.shell.wait(ms).tick()

    @invariant()
    def bounded(self):
        every = self.policy is FramePolicy.EVERY
        assert len(self.shell.session._waiting) <= (3 if every else 1)

    @invariant()
    def never_two_answers(self):
        unanswered = len(self.shell.received) - len(self.shell.answers)
        assert unanswered == self.shell.session.unanswered >= 0

    def teardown(self):
        shell = self.shell
        while shell.decoding or shell.submitted:
            if shell.decoding:
                shell.decode()
            if shell.submitted:
                shell.step()
        assert {record.stage for record in shell.records} <= {Stage.ANSWERED}
        answered = [answer.sequence_number for answer in shell.answers]
        assert sorted(answered) == sorted(shell.received)
        if self.policy is FramePolicy.EVERY:
            assert answered == shell.received
        self.check_counters()
        self.check_epochs()
        self.check_ages()

    def check_counters(self):
        for index, answer in enumerate(self.shell.answers, start=1):
            command = answer if isinstance(answer, Command) else answer.held
            if command is not None:
                assert command.alive_counter == index % ALIVE_COUNTER_MODULUS

    def check_epochs(self):
        """Epoch and step count follow from the frames that were stepped, and from no others."""
        fresh = {
            answer.sequence_number: answer
            for answer in self.shell.answers
            if isinstance(answer, Command)
        }
        assert list(fresh) == [record.sequence_number for record in self.shell.stepped]
        epoch = applied = count = 0
        last_ms = None
        for record in self.shell.stepped:
            resets = record.resets_before - applied
            gap = last_ms is not None and not 0 < record.capture_time_ns - last_ms <= 300 * MS
            epoch += resets or int(gap)
            count = 1 if resets or gap else count + 1
            applied, last_ms = record.resets_before, record.capture_time_ns
            command = fresh[record.sequence_number]
            assert (command.state_epoch, command.step_count) == (epoch, count)

    def check_ages(self):
        """A held command is the last good one, and as old as the frame that it was for."""
        arrived_ns = {record.sequence_number: record.arrived_ns for record in self.shell.stepped}
        good = None
        for answer, answered_ns in zip(self.shell.answers, self.shell.answered_ns, strict=True):
            command = answer if isinstance(answer, Command) else answer.held
            if isinstance(answer, Command) and answer.validity in FRESH:
                good = answer
            elif isinstance(answer, Skip) and answer.reason is SkipReason.DUPLICATE:
                continue
            if good is None:
                assert command is None or command.validity is Validity.FALLBACK
            else:
                assert command.limited == good.limited
                age_ns = answered_ns - arrived_ns[good.sequence_number]
                assert command.age_ms == pytest.approx(age_ns / MS)


class EveryMachine(Machine):
    policy = FramePolicy.EVERY


TestLatest = Machine.TestCase
TestLatest.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestEvery = EveryMachine.TestCase
TestEvery.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_latest_supersedes_the_frame_that_waits():
    shell = Shell().frame(0, 0).frame(1, 50).frame(2, 100)
    (answer,) = shell.answers
    assert (answer.sequence_number, answer.reason) == (1, SkipReason.SUPERSEDED)


@pytest.mark.parametrize(("waited_ms", "is_overdue"), [(24, False), (25, True)])
def test_a_frame_that_is_superseded_after_half_its_budget_was_missed(waited_ms, is_overdue):
    """A camera with another budget or a burst of the network supersedes sooner."""
    shell = Shell().wait(1000).frame(0, 0).frame(1, 1)
    shell.now_ns += waited_ms * MS
    (answer,) = shell.frame(2, 1 + waited_ms).answers
    assert (answer.reason, answer.is_overdue) == (SkipReason.SUPERSEDED, is_overdue)


def test_latest_replaces_a_frame_that_the_decoder_has_not_begun_and_takes_over_its_turn():
    shell = Shell()
    shell.waits_for_decoder = True
    shell.frame(0, 0)
    turn_ns = shell.decoding.turn_ns
    for number in (1, 2):
        shell.wait(20).frame(number, 50 * number)
    assert [(a.sequence_number, a.reason) for a in shell.answers] == [
        (0, SkipReason.SUPERSEDED),
        (1, SkipReason.SUPERSEDED),
    ]
    assert shell.decoding.sequence_number == 2
    assert shell.decoding.turn_ns == turn_ns < shell.decoding.deadline_ns


def test_under_every_no_frame_is_replaced_before_its_decoder():
    shell = Shell(FramePolicy.EVERY)
    shell.waits_for_decoder = True
    shell.frame(0, 0).frame(1, 50)
    assert shell.decoding.sequence_number == 0
    assert not shell.answers


def test_a_frame_that_the_decoder_gives_up_is_late_and_the_next_one_goes_on():
    shell = Shell(FramePolicy.EVERY).frame(0, 0).frame(1, 50).decoder_gives_up()
    (answer,) = shell.answers
    assert (answer.sequence_number, answer.reason, answer.was_decoded) == (
        0,
        SkipReason.LATE,
        False,
    )
    assert shell.decoding.sequence_number == 1


@pytest.mark.parametrize("waits", [True, False])
def test_a_frame_whose_time_is_over_leaves_the_decoder_if_that_has_not_begun(waits):
    shell = Shell().frame(0, 0)
    shell.waits_for_decoder = waits
    shell.wait(60).tick()
    assert [answer.reason for answer in shell.answers] == [SkipReason.LATE]
    assert (shell.decoding is None) == waits


def test_a_frame_tells_when_its_session_had_a_command_last():
    shell = Shell().frame(0, 0)
    assert shell.decoding.served_ns == 0
    shell.decode().wait(7).step().wait(40).frame(1, 50)
    assert shell.decoding.served_ns == 7 * MS


def test_latest_takes_an_older_frame_back_from_the_engine():
    shell = Shell().frame(0, 0).decode().frame(1, 50).decode()
    assert [(a.sequence_number, a.reason) for a in shell.answers] == [(0, SkipReason.SUPERSEDED)]
    assert shell.submitted.sequence_number == 1


def test_a_step_that_began_is_not_taken_back():
    shell = Shell().frame(0, 0).decode().begin().frame(1, 50).decode()
    assert shell.answers == []
    shell.step().step()
    assert [a.sequence_number for a in shell.answers] == [0, 1]


def test_every_answers_one_frame_too_many_with_overloaded_in_order():
    shell = Shell(FramePolicy.EVERY, max_waiting=2)
    for number in range(5):
        shell.frame(number, 50 * number)
    assert shell.answers == []
    for _ in range(4):
        shell.decode()
        if shell.submitted:
            shell.step()
        if not shell.decoding:
            break
    assert [a.sequence_number for a in shell.answers] == [0, 1, 2, 3, 4][: len(shell.answers)]
    reasons = [a.reason for a in shell.answers if isinstance(a, Skip)]
    assert reasons == [SkipReason.OVERLOADED] * 2


def test_a_frame_that_is_refused_costs_neither_a_decode_nor_the_frame_that_waits():
    shell = Shell().frame(0, 0).frame(1, 50).frame(2, 100, refusal="no time")
    (skip,) = shell.answers
    assert (skip.sequence_number, skip.reason) == (2, SkipReason.OVERLOADED)
    assert skip.detail == "no time"
    shell.decode().step().decode().step()
    assert [a.sequence_number for a in shell.answers] == [2, 0, 1]
    assert {record.stage for record in shell.records} == {Stage.ANSWERED}


def test_a_session_that_has_ended_holds_no_picture():
    """It may be in memory until the next collection, and an idle server has none."""
    shell = Shell(FramePolicy.EVERY, max_waiting=4).frame(0, 0)
    shell.decode()
    for number in range(1, 6):
        shell.frame(number, 50 * number)
    shell.decode()
    assert all(record.image is not None for record in shell.records)
    shell.session.let_go_of_pictures()
    assert [record.stage for record in shell.records] == [
        Stage.SUBMITTED,
        Stage.READY,
        *[Stage.WAITING] * 4,
    ]
    assert {record.image for record in shell.records} == {None}
    Shell().session.let_go_of_pictures()


@pytest.mark.parametrize("with_horizon", [True, False])
def test_a_command_brings_what_comes_next_where_the_session_wants_it(with_horizon):
    shell = Shell(with_horizon=with_horizon, horizon=bundles.HORIZON)
    command = shell.drive(0, 0, (0.1, 10.0, 0.2, *[0.1] * 3, *[10.0] * 3, 0.05))
    assert (command.horizon is not None) is with_horizon


def test_under_every_a_frame_only_waits_where_another_would_be_refused():
    shell = Shell(FramePolicy.EVERY).frame(0, 0, refusal="no time")
    assert isinstance(shell.decode().step().answers[0], Command)


def test_a_duplicate_of_a_frame_in_flight_is_known():
    shell = Shell().frame(0, 0).frame(0, 0)
    assert shell.answers[0].reason is SkipReason.DUPLICATE
    assert shell.answers[0].held is None


@pytest.mark.parametrize(("number", "capture_ms"), [(3, 2000), (6, 1000), (6, 999)])
def test_numbers_and_times_only_go_up(number, capture_ms):
    shell = Shell()
    shell.drive(5, 1000)
    skip = shell.frame(number, capture_ms).answers[-1]
    assert skip.reason is SkipReason.OUT_OF_ORDER
    assert skip.held.validity is Validity.HELD
    assert shell.drive(7, 1050).step_count == 2


def test_a_refused_number_may_come_again_and_its_age_is_the_second_frames():
    shell = Shell().frame(0, 1).frame(1, 1).wait(0.5).frame(1, 1000)
    refused = shell.answers[0]
    assert (refused.sequence_number, refused.reason) == (1, SkipReason.OUT_OF_ORDER)
    shell.decode().step().decode().step()
    taken = shell.answers[-1]
    assert isinstance(taken, Command)
    assert (taken.sequence_number, taken.age_ms) == (1, 0.0)
    held = shell.wait(2).frame(2, 1000).answers[-1].held
    assert (held.sequence_number, held.age_ms) == (1, 2.0)


def test_a_frame_that_would_be_late_is_answered_in_time_and_costs_no_step():
    shell = Shell()
    shell.drive(0, 0)
    shell.frame(1, 50).wait(47.9).tick()
    assert len(shell.answers) == 1
    assert shell.session.give_up_ns - shell.now_ns == pytest.approx(0.1 * MS)
    shell.wait(0.1).tick()
    skip = shell.answers[-1]
    assert (skip.reason, skip.held.validity) == (SkipReason.LATE, Validity.HELD)
    assert skip.held.age_ms == pytest.approx(48)
    shell.decode()
    assert shell.submitted is None
    assert shell.drive(2, 100).step_count == 2


def test_a_late_frame_is_taken_back_from_the_engine():
    shell = Shell().frame(0, 0).decode().wait(50).tick()
    assert shell.answers[0].reason is SkipReason.LATE
    assert shell.submitted is None


def test_frames_given_up_at_once_are_counted_in_the_order_of_their_answers():
    shell = Shell()
    shell.drive(0, 0)
    shell.frame(1, 50).decode().frame(2, 100).wait(60).tick()
    assert [a.sequence_number for a in shell.answers[1:]] == [2, 1]
    assert [a.held.alive_counter for a in shell.answers[1:]] == [2, 3]


def test_a_step_that_began_is_answered_even_if_late():
    shell = Shell().frame(0, 0).decode().begin().wait(60).tick()
    assert shell.answers == []
    assert isinstance(shell.step().answers[0], Command)


def test_a_session_without_frames_gets_a_notice_and_then_ends():
    shell = Shell().wait(7_999).tick()
    assert shell.sent == []
    shell.wait(1).tick().tick()
    assert shell.sent == [ExpiringNotice(2000)]
    shell.wait(2_000).tick()
    assert isinstance(shell.sent[-1], IdleError)


def test_a_frame_keeps_an_idle_session():
    shell = Shell().wait(9_000).tick()
    shell.drive(0, 0)
    shell.wait(7_999).tick()
    assert [type(message) for message in shell.sent] == [ExpiringNotice, Command]


def test_an_invalid_field_spoils_its_frame_alone():
    shell = Shell()
    shell.drive(0, 0)
    skip = shell.frame(1, 50, invalid="frame.vehicle_speed_mps must be a number").answers[-1]
    assert (skip.reason, skip.held.sequence_number) == (SkipReason.INVALID_FIELD, 0)
    assert shell.drive(1, 50).step_count == 2


def test_the_frames_of_a_client_that_reads_nothing_are_refused_without_a_decode():
    for policy in FramePolicy:
        shell = Shell(policy)
        frame = FrameRecord(0, 0, IMAGE, None, 0)
        shell.perform(shell.session.receive(frame, COST_NS, is_unread=True))
        assert shell.answers[0].reason is SkipReason.OVERLOADED
        assert shell.decoding is None


# To the nanosecond, and word for word.


def test_a_frame_s_times_follow_from_its_budget_and_the_cost_of_a_step():
    shell = Shell().wait(7)
    shell.frame(0, 0)
    record = shell.decoding
    assert record.deadline_ns == record.turn_ns == 57 * MS
    assert record.start_by_ns == (57 - 2) * MS
    assert shell.session.give_up_ns == record.start_by_ns


def test_a_cost_that_looks_too_high_leaves_a_frame_half_its_budget():
    shell = Shell()
    frame = FrameRecord(0, 0, IMAGE, None, 0)
    shell.perform(shell.session.receive(frame, 1000 * MS))
    assert shell.decoding is frame
    assert frame.start_by_ns == 25 * MS
    assert isinstance(frame.start_by_ns, int)


@pytest.mark.parametrize(("early_ns", "reasons"), [(1, []), (0, [SkipReason.LATE])])
def test_a_frame_is_given_up_when_a_step_could_no_longer_end_in_time(early_ns, reasons):
    shell = Shell().frame(0, 0)
    shell.now_ns = 48 * MS - early_ns
    assert [answer.reason for answer in shell.tick().answers] == reasons


@pytest.mark.parametrize(("early_ns", "reason"), [(1, SkipReason.SUPERSEDED), (0, SkipReason.LATE)])
def test_a_frame_that_comes_back_is_late_if_its_time_is_over(early_ns, reason):
    shell = Shell().frame(0, 0).decode().frame(1, 40)
    shell.now_ns = 48 * MS - early_ns
    assert shell.decode().answers[0].reason is reason


@pytest.mark.parametrize("is_decoded", [True, False])
def test_a_frame_that_was_given_up_while_it_was_decoded_has_one_answer(is_decoded):
    shell = Shell().frame(0, 0).wait(50).tick()
    if is_decoded:
        shell.decode()
    else:
        shell.decode_fails()
    assert [answer.reason for answer in shell.answers] == [SkipReason.LATE]


def test_without_frames_nothing_is_to_be_given_up():
    shell = Shell()
    assert shell.session.give_up_ns == NEVER_NS
    assert (shell.session.step_count, shell.session.state_epoch) == (0, 0)
    shell.frame(0, 0).decode().begin().wait(60).tick()
    assert shell.session.give_up_ns == NEVER_NS, "it was asked back already"


def test_a_frame_is_asked_back_once():
    shell = Shell().frame(0, 0).decode().begin()
    shell.now_ns = 60 * MS
    assert len(shell.session.tick(shell.now_ns)) == 1
    assert shell.session.tick(shell.now_ns) == []


def test_skips_say_what_to_do():
    shell = Shell(FramePolicy.EVERY, max_waiting=1)
    shell.drive(5, 1000)
    details = [shell.frame(5, 1000).answers[-1].detail, shell.frame(4, 1050).answers[-1].detail]
    shell.frame(6, 1050).frame(7, 1100).frame(8, 1150).wait(48).tick().decode()
    details += [answer.detail for answer in shell.answers[-3:]]
    late = "no answer was possible within the budget of 50 ms; hold the last command"
    assert details == [
        "a frame of this number was seen before",
        "sequence_number must be above 5, the last one",
        late,
        late,
        "1 frames wait already; send fewer at once",
    ]
    latest = Shell().frame(0, 0).frame(1, 50).frame(2, 100).frame(3, 150, refusal="no time")
    unread = FrameRecord(4, 200 * MS, IMAGE, None, 0)
    latest.perform(latest.session.receive(unread, COST_NS, is_unread=True))
    assert [answer.detail for answer in latest.answers] == [
        "a newer frame took its place",
        "no time",
        "the client does not take its answers; read them, and send frames no faster",
    ]
    assert latest.decode_fails().answers[-1].detail == "broken"
    assert Shell().frame(0, 0).decode().step_fails().answers[0].detail == "why"


@pytest.mark.parametrize("reason", [SkipReason.LATE, SkipReason.FAILED])
def test_a_frame_that_was_not_stepped_is_skipped_for_the_engine_s_reason(reason):
    (skip,) = Shell().frame(0, 0).decode().step_fails(reason).answers
    assert (skip.reason, skip.detail) == (reason, "why")


def test_each_reset_counts():
    shell = Shell()
    assert shell.drive(0, 0).state_epoch == 0
    epochs = []
    for number, resets in enumerate([1, 2, 1], start=1):
        for _ in range(resets):
            shell.session.reset()
        epochs.append(shell.drive(number, 50 * number).state_epoch)
    assert epochs == [1, 3, 4]


def test_what_could_not_be_decoded_holds_the_last_command_at_its_age():
    shell = Shell()
    shell.drive(0, 0)
    skip = shell.wait(7).frame(1, 50).decode_fails().answers[-1]
    assert (skip.reason, skip.detail) == (SkipReason.UNDECODABLE, "broken")
    assert skip.held.age_ms == 7.0


def test_frames_that_come_back_say_why():
    late = "no answer was possible within the budget of 50 ms; hold the last command"
    superseded = Shell().frame(0, 0).decode().frame(1, 40).decode()
    assert superseded.answers[0].detail == "a newer frame took its place"
    assert Shell().frame(0, 0).decode().wait(50).tick().answers[0].detail == late
    assert Shell().frame(0, 0).decoder_gives_up().answers[0].detail == late


def test_when_time_gives_a_ready_frame_up_the_one_that_waits_is_decoded_at_once():
    shell = Shell(FramePolicy.EVERY).frame(0, 0).decode().begin().frame(1, 50).decode()
    shell.wait(20).frame(2, 100)
    assert shell.decoding is None
    shell.wait(28).tick()
    assert shell.decoding
    assert shell.decoding.sequence_number == 2


def test_an_idle_session_is_told_to_the_millisecond():
    shell = Shell()
    assert shell.session.idle_check_ns == 8_000 * MS
    shell.now_ns = 8_000 * MS - 1
    assert shell.tick().sent == []
    shell.now_ns = 8_500 * MS + 1
    assert shell.tick().sent == [ExpiringNotice(1499)]
    assert shell.session.idle_check_ns == 10_000 * MS
    shell.now_ns = 10_000 * MS - 1
    assert shell.tick().sent == [ExpiringNotice(1499)]
    shell.now_ns += 1
    error = shell.tick().sent[-1]
    assert str(error) == "no frame came for 10 s; open a new session"


def test_the_time_in_which_the_server_reads_no_frame_does_not_count_as_idle():
    shell = Shell()
    shell.session.receive(FrameRecord(0, 0, IMAGE, None, 0), COST_NS, pause_ns=7_000 * MS)
    assert shell.session.idle_check_ns == 15_000 * MS
    assert not any(isinstance(do, End) for do in shell.session.tick(17_000 * MS - 1))
    assert any(isinstance(do, End) for do in shell.session.tick(17_000 * MS))


def test_a_frame_is_faulty_for_what_it_says_of_itself_and_not_for_the_server_s_load():
    shell = Shell()
    records = [FrameRecord(number, 50 * MS * number, IMAGE, None, 0) for number in (0, 0, 1)]
    for record, refusal in zip(records, (None, None, "no time"), strict=True):
        shell.session.receive(record, COST_NS, refusal=refusal)
    assert [record.is_faulty for record in records] == [False, True, False]


def test_after_a_frame_an_idle_session_is_told_again():
    shell = Shell().wait(8_000).tick().frame(0, 0).wait(8_000).tick()
    assert shell.sent.count(ExpiringNotice(2000)) == 2


def test_the_first_step_is_a_period_of_the_network_s_rate_after_nothing():
    shell = Shell()
    shell.drive(0, 0)
    assert shell.stepped[0].interval_s == 0.05


@pytest.mark.parametrize(("stated_s", "told_s"), [(None, 0.05), (0.12, 0.12), (0.4, 0.25)])
def test_the_network_is_told_when_the_command_acts_within_what_was_trained(stated_s, told_s):
    shell = Shell(act_in_tensor="act_in_s", max_act_in_s=0.25, default_act_in_s=0.05)
    shell.frame(0, 0, act_in_s=stated_s).decode().step()
    assert shell.stepped[0].act_in_s == told_s


@pytest.mark.parametrize(
    ("policy", "refused"),
    [(FramePolicy.LATEST, [SkipReason.CAPTURE_TIME]), (FramePolicy.EVERY, [])],
)
def test_only_a_live_vehicle_s_clock_is_compared_with_the_server_s(policy, refused):
    shell = Shell(policy).frame(0, 0).frame(1, 60_000)
    assert [answer.reason for answer in shell.answers] == refused


@pytest.mark.parametrize(("policy", "seconds"), [(FramePolicy.LATEST, 0.5), (FramePolicy.EVERY, 1)])
def test_a_live_vehicle_s_wheel_moves_no_faster_than_time_passes_here(policy, seconds):
    """Half a second more at most, which a network's jitter may take."""
    shell = Shell(policy)
    shell.drive(0, 0, outputs=(0.0, 10.0, 0.0), speed=2.0)
    for number in range(1, 5):
        shell.drive(number, 250 * number, outputs=(6.0, 10.0, 0.0), speed=2.0)
    rate_radps = math.radians(250)
    angle_rad = shell.answers[-1].limited.steering_wheel_angle_rad
    assert angle_rad == pytest.approx(rate_radps * seconds)


# Tickets, and sessions that go on.


def test_without_tickets_no_state_is_asked_for():
    shell = Shell()
    shell.drive(0, 0)
    assert not shell.stepped[0].saves_state
    assert shell.stepped[0].state is None
    shell.session.hurry_ticket()
    shell.drive(1, 50)
    assert shell.issued == []


def test_a_ticket_holds_the_state_after_its_frame():
    shell = Shell(ticket_every=2)
    picture = RawImage(16, 8, bytes(100_000))
    for number in range(5):
        shell.wait(50).drive(number, 1000 + 50 * number, image=picture)
    first, second = shell.issued
    assert (first.sequence_number, second.sequence_number) == (1, 3)
    assert (first.capture_time_ns, first.epoch, first.step_count) == (1050 * MS, 0, 2)
    assert (first.alive_counter, first.tensors) == (2, TENSORS)
    assert first.held is not None
    assert (first.held.sequence_number, first.held.age_ms) == (1, 0.0)


@pytest.mark.parametrize("ring_length", [0, 3])
@pytest.mark.parametrize(("more_bytes", "is_due"), [(-1, False), (0, True)])
def test_a_frame_without_a_picture_adds_nothing_to_the_traffic(more_bytes, is_due, ring_length):
    shell = Shell(ticket_every=1, ring_length=ring_length)
    shell.frame(0, 0, image=None).decode_fails()
    # A ticket may be a twentieth of the pictures.
    size_bytes = 20 * ticket_bytes(bundles.contract(), ring_length) + more_bytes
    picture = RawImage(16, 8, bytes(size_bytes))
    assert shell.frame(1, 50, image=picture).decode().submitted.saves_state is is_due


@pytest.mark.parametrize(("ring_length", "saves_rings"), [(0, True), (3, False)])
def test_a_state_is_saved_with_its_rings_where_no_frames_are_played_again_for_them(
    ring_length, saves_rings
):
    shell = Shell(ring_length=ring_length, ticket_every=1)
    shell.drive(0, 0)
    assert shell.stepped[0].saves_rings is saves_rings


def test_a_session_that_ends_gives_out_its_next_state():
    shell = Shell(ticket_every=1000)
    shell.drive(0, 0)
    shell.session.hurry_ticket()
    for number in (1, 2):
        shell.drive(number, 50 * number)
    assert [state.sequence_number for state in shell.issued] == [1]


def resumed(**changes):
    """The state of a session whose last frame was number 7."""
    shell = Shell(ticket_every=1000)
    shell.session.hurry_ticket()
    shell.wait(10).drive(7, 350)
    return dataclasses.replace(shell.issued[0], epoch=2, step_count=9, **changes)


def test_a_session_goes_on_where_another_one_was():
    shell = Shell(resumed=resumed())
    assert (shell.session.state_epoch, shell.session.step_count) == (2, 9)
    refused = shell.frame(7, 350).answers[-1]
    assert refused.reason is SkipReason.OUT_OF_ORDER
    assert (refused.held.sequence_number, refused.held.alive_counter) == (7, 2)
    command = shell.wait(50).drive(8, 400)
    assert (command.state_epoch, command.step_count, command.alive_counter) == (2, 10, 3)
    assert shell.stepped[0].state == TENSORS
    assert shell.wait(50).drive(9, 450).step_count == 11
    assert shell.stepped[1].state is None, "the pool has it by now"


def test_a_state_that_no_step_has_taken_goes_to_the_next_one():
    shell = Shell(resumed=resumed())
    shell.frame(8, 400).decode().step_fails()
    shell.drive(9, 450)
    assert shell.stepped[0].state == TENSORS


def test_replayed_frames_keep_their_order_and_no_budget():
    shell = Shell(resumed=resumed(), max_waiting=3)
    for number in (8, 9, 10):
        shell.frame(number, 50 * number, is_replayed=True)
    assert shell.decoding.deadline_ns == 10_000 * MS
    shell.frame(11, 550)
    assert shell.answers == []
    for _ in range(4):
        shell.decode().step()
    assert [answer.sequence_number for answer in shell.answers] == [8, 9, 10, 11]


def test_replayed_frames_wait_up_to_a_bound():
    shell = Shell(resumed=resumed(), max_waiting=1)
    for number in (8, 9, 10):
        shell.frame(number, 50 * number, is_replayed=True)
    (skip,) = shell.answers
    assert (skip.sequence_number, skip.reason) == (10, SkipReason.OVERLOADED)


def test_after_a_frame_of_its_own_a_session_replays_no_more():
    shell = Shell()
    shell.drive(0, 0)
    skip = shell.frame(1, 50, is_replayed=True).answers[-1]
    assert (skip.reason, skip.detail) == (
        SkipReason.INVALID_FIELD,
        "frame.replayed must not be set after a frame that was not replayed",
    )


def test_1024_frames_may_be_replayed():
    shell = Shell()
    for number in range(1024):
        assert isinstance(shell.drive(number, 50 * number, is_replayed=True), Command)
    skip = shell.frame(1024, 51_200, is_replayed=True).answers[-1]
    assert (skip.reason, skip.detail) == (
        SkipReason.INVALID_FIELD,
        "frame.replayed may be set for 1024 frames of a session",
    )


RING_FRAMES = (3, 6, 7)
LARGE = RawImage(16, 8, bytes(20_000))
"""So many bytes that a ticket comes with every frame."""


def for_rings(**options):
    """A session that has to step three frames again for its rings."""
    return Shell(ring_length=3, ticket_every=1, resumed=resumed(ring_frames=RING_FRAMES), **options)


def test_frames_for_the_rings_are_stepped_from_the_beginning_and_hold_the_command():
    shell = for_rings()
    commands = [shell.drive(number, 50 * number, is_replayed=True) for number in RING_FRAMES]
    assert [record.reset for record in shell.stepped] == [True, False, False]
    assert [record.interval_s for record in shell.stepped] == [0.05, 0.15, 0.05]
    assert [record.state for record in shell.stepped] == [None] * 3
    for command in commands:
        assert command.validity is Validity.HELD
        assert command.limited == resumed().held.limited
        assert (command.state_epoch, command.step_count) == (2, 9)
    assert [command.alive_counter for command in commands] == [65_535, 0, 1]
    assert not shell.issued, "the vehicle has that state"


def test_the_command_of_a_ticket_gets_no_younger_where_its_frame_is_played_again():
    state = resumed(ring_frames=RING_FRAMES)
    held = dataclasses.replace(state.held, age_ms=500.0)
    shell = Shell(ring_length=3, resumed=dataclasses.replace(state, held=held))
    for at, number in enumerate(RING_FRAMES, start=1):
        assert shell.wait(10).drive(number, 50 * number, is_replayed=True).age_ms == 500 + 10 * at
    skip = shell.wait(10).frame(8, 400, invalid="wrong").answers[-1]
    assert (skip.held.sequence_number, skip.held.age_ms) == (7, 540.0)


def test_the_rest_of_the_state_is_put_in_place_after_the_frames_for_its_rings():
    shell = for_rings()
    for number in RING_FRAMES:
        shell.drive(number, 50 * number, is_replayed=True)
    command = shell.drive(8, 400, is_replayed=True, image=LARGE)
    assert (shell.stepped[3].state, shell.stepped[3].reset) == (TENSORS, False)
    assert (command.state_epoch, command.step_count, command.alive_counter) == (2, 10, 2)
    assert command.validity is Validity.VALID
    (ticket,) = shell.issued
    assert ticket.ring_frames == (6, 7, 8)
    assert not shell.stepped[3].saves_rings
    shell.drive(9, 450, image=LARGE)
    assert shell.stepped[4].state is None
    assert shell.issued[-1].ring_frames == (7, 8, 9)


@pytest.mark.parametrize(
    ("number", "is_replayed"), [(8, True), (3, False), (6, True)], ids=["after", "live", "later"]
)
def test_without_the_frames_for_its_rings_a_ticket_is_of_no_use(number, is_replayed):
    shell = for_rings().frame(number, 50 * number, is_replayed=is_replayed)
    (error,) = shell.sent
    assert isinstance(error, BadTicketError)
    assert "frame 3 must be played again next" in str(error)


def test_a_frame_for_the_rings_that_cannot_be_decoded_ends_the_session():
    shell = for_rings().frame(3, 150, is_replayed=True).decode_fails()
    (error,) = shell.sent
    assert isinstance(error, BadTicketError)
    assert str(error).endswith("frame 3 was not stepped: broken")


def test_a_failed_step_of_a_frame_for_the_rings_is_the_servers_fault():
    shell = for_rings().frame(3, 150, is_replayed=True).decode().step_fails()
    (error,) = shell.sent
    assert isinstance(error, InternalError)


def test_a_reset_makes_frames_for_the_rings_needless():
    shell = for_rings()
    shell.drive(3, 150, is_replayed=True)
    shell.session.reset()
    command = shell.drive(8, 400, image=LARGE)
    assert (command.state_epoch, command.step_count) == (3, 1)
    assert shell.stepped[1].reset
    assert shell.issued[-1].ring_frames == (8,)


def test_after_a_reset_in_their_place_numbers_go_on_from_those_for_the_rings():
    shell = for_rings()
    shell.session.reset()
    before = shell.frame(RING_FRAMES[0] - 1, 100).answers[-1]
    assert before.reason is SkipReason.OUT_OF_ORDER
    assert isinstance(shell.drive(RING_FRAMES[0], 150), Command)


def test_a_state_whose_rings_nobody_played_again_is_given_out_when_its_frames_are_known():
    shell = Shell(ring_length=2, ticket_every=1, resumed=resumed())
    for number in (8, 9, 10):
        shell.drive(number, 50 * number, image=LARGE)
    assert [state.ring_frames for state in shell.issued] == [(9, 10)]


def test_an_epoch_that_is_young_has_rings_of_its_own_frames_alone():
    shell = Shell(ring_length=3, ticket_every=1)
    shell.drive(0, 0, image=LARGE)
    shell.drive(1, 50, image=LARGE)
    shell.session.reset()
    shell.drive(2, 100, image=LARGE)
    shell.drive(3, 500, image=LARGE)  # after a gap
    assert [state.ring_frames for state in shell.issued] == [(0,), (0, 1), (2,), (3,)]
