"""The session machine under any order of events, and each of its rules by example."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.domain import (
    Command,
    ExpiringNotice,
    Frame,
    FramePolicy,
    NotStepped,
    RawImage,
    Skip,
    SkipReason,
    Stepped,
    Validity,
)
from service.errors import IdleError
from service.limits import PROFILES
from service.session import (
    ALIVE_COUNTER_MODULUS,
    REMEMBERED_ANSWERS,
    TRANSITIONS,
    Decode,
    End,
    Event,
    Recall,
    Send,
    Session,
    Stage,
    Submit,
    Terms,
)
from tests.service import bundles

MS = 1_000_000
BUDGET_NS, COST_NS = 50 * MS, 1 * MS
FRESH = {Validity.VALID, Validity.WARMING_UP}
IMAGE = RawImage(16, 8, b"")


class Shell:
    """Carries out what a session decides, one event at a time, in place of stream and engine."""

    def __init__(self, policy=FramePolicy.LATEST, *, max_waiting=3, **contract):
        self.session = Session(
            Terms(
                contract=bundles.contract(**contract),
                profile=PROFILES["passenger_car"],
                policy=policy,
                budget_ns=BUDGET_NS,
                max_waiting_frames=max_waiting,
                idle_timeout_ns=10_000 * MS,
                expiring_notice_ns=2_000 * MS,
            ),
            opened_ns=0,
        )
        self.now_ns = 0
        self.decoding = None
        self.submitted = None
        self.begun = False
        self.answers = []
        self.answered_ns = []
        self.sent = []
        self.received = []
        self.arrived_ns = {}
        self.stepped = []

    def perform(self, actions):
        for action in actions:
            match action:
                case Send(message):
                    self.sent.append(message)
                    if not isinstance(message, ExpiringNotice):
                        self.answers.append(message)
                        self.answered_ns.append(self.now_ns)
                case Decode(pending):
                    assert self.decoding is None, "two frames with the decoder"
                    self.decoding = pending
                case Submit(pending):
                    assert self.submitted is None, "two frames with the engine"
                    self.submitted, self.begun = pending, False
                case Recall(pending):
                    assert pending is self.submitted
                    if not self.begun:
                        self.submitted = None
                        self.perform(self.session.recalled(pending, self.now_ns))
                case End(error):
                    self.sent.append(error)
        return self

    def frame(self, number, capture_ms, *, speed=10.0):
        frame = Frame(number, capture_ms * MS, IMAGE, speed, self.now_ns)
        self.received.append(number)
        self.arrived_ns.setdefault(number, self.now_ns)
        return self.perform(self.session.receive(frame, COST_NS))

    def decode(self):
        pending, self.decoding = self.decoding, None
        return self.perform(self.session.decoded(pending, "pixels", 0))

    def decode_fails(self):
        pending, self.decoding = self.decoding, None
        return self.perform(self.session.undecodable(pending, "broken", self.now_ns))

    def begin(self):
        self.begun = True
        return self

    def step(self, outputs=(0.1, 10.0, 0.2)):
        pending, self.submitted = self.submitted, None
        self.stepped.append(pending)
        outcome = Stepped(outputs, self.now_ns, 0, 1)
        return self.perform(self.session.finished(pending, outcome, self.now_ns))

    def step_fails(self, reason=SkipReason.FAILED):
        pending, self.submitted = self.submitted, None
        return self.perform(self.session.finished(pending, NotStepped(reason, "why"), self.now_ns))

    def wait(self, ms):
        self.now_ns += round(ms * MS)
        return self

    def tick(self):
        return self.perform(self.session.tick(self.now_ns))

    def drive(self, number, capture_ms, outputs=(0.1, 10.0, 0.2), **frame):
        """One frame all the way."""
        self.frame(number, capture_ms, **frame).decode().step(outputs)
        return self.answers[-1]


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

    @rule()
    def reset(self):
        self.shell.session.reset()
        self.resets.append(len(self.shell.received))

    @precondition(lambda self: self.shell.decoding)
    @rule(works=st.sampled_from([True, True, True, False]))
    def decoder(self, works):
        self.shell.decode() if works else self.shell.decode_fails()

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
        assert list(fresh) == [pending.frame.sequence_number for pending in self.shell.stepped]
        epoch = applied = count = 0
        last_ms = None
        for pending in self.shell.stepped:
            resets = pending.resets_before - applied
            gap = last_ms is not None and pending.frame.capture_time_ns - last_ms > 300 * MS
            epoch += resets or int(gap)
            count = 1 if resets or gap else count + 1
            applied, last_ms = pending.resets_before, pending.frame.capture_time_ns
            command = fresh[pending.frame.sequence_number]
            assert (command.state_epoch, command.step_count) == (epoch, count)

    def check_ages(self):
        """A held command is the last good one, and as old as the frame that it was for."""
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
                age_ns = answered_ns - self.shell.arrived_ns[good.sequence_number]
                assert command.age_ms == pytest.approx(age_ns / MS)


class EveryMachine(Machine):
    policy = FramePolicy.EVERY


TestLatest = Machine.TestCase
TestLatest.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestEvery = EveryMachine.TestCase
TestEvery.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_the_table_leads_every_frame_to_one_answer():
    reachable = {Stage.WAITING}
    for _ in Stage:
        reachable |= {after for (before, _), after in TRANSITIONS.items() if before in reachable}
    assert reachable == set(Stage)
    assert all(
        after is Stage.ANSWERED
        for (before, _), after in TRANSITIONS.items()
        if before is Stage.ANSWERED
    )


def test_an_impossible_event_is_a_fault():
    shell = Shell().frame(0, 0)
    with pytest.raises(KeyError):
        shell.decoding.move(Event.STEP)


def test_a_frame_gets_its_command():
    shell = Shell()
    shell.frame(7, 1000).wait(2).decode().wait(3)
    command = shell.step((0.1, 10.0, 0.2)).answers[0]
    assert isinstance(command, Command)
    assert (command.sequence_number, command.capture_time_ns) == (7, 1000 * MS)
    assert command.raw == command.limited
    assert command.age_ms == 5.0
    assert (command.state_epoch, command.step_count, command.alive_counter) == (0, 1, 1)


def test_the_first_frames_of_an_epoch_are_warming_up():
    shell = Shell()
    kinds = [shell.drive(n, 1000 + 50 * n).validity for n in range(4)]
    assert kinds == [Validity.WARMING_UP] * 2 + [Validity.VALID] * 2
    shell.session.reset()
    assert shell.drive(4, 1200).validity is Validity.WARMING_UP


def test_latest_supersedes_the_frame_that_waits():
    shell = Shell().frame(0, 0).frame(1, 50).frame(2, 100)
    (answer,) = shell.answers
    assert (answer.sequence_number, answer.reason) == (1, SkipReason.SUPERSEDED)


def test_latest_takes_an_older_frame_back_from_the_engine():
    shell = Shell().frame(0, 0).decode().frame(1, 50).decode()
    assert [(a.sequence_number, a.reason) for a in shell.answers] == [(0, SkipReason.SUPERSEDED)]
    assert shell.submitted.frame.sequence_number == 1


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


def test_a_duplicate_is_answered_from_memory_and_steps_nothing():
    shell = Shell()
    first = shell.drive(0, 0, (0.3, 10.0, 0.0))
    shell.drive(1, 50, (0.2, 10.0, 0.0))
    shell.wait(7).frame(0, 0)
    skip = shell.answers[-1]
    assert (skip.reason, skip.held.sequence_number) == (SkipReason.DUPLICATE, 0)
    assert skip.held.limited == first.limited
    assert skip.held.validity is first.validity
    assert skip.held.age_ms == 7.0
    assert shell.session.step_count == 2


def test_a_duplicate_of_a_frame_in_flight_is_known():
    shell = Shell().frame(0, 0).frame(0, 0)
    assert shell.answers[0].reason is SkipReason.DUPLICATE
    assert shell.answers[0].held is None


def test_numbers_older_than_the_memory_are_out_of_order():
    shell = Shell()
    for number in range(REMEMBERED_ANSWERS + 1):
        shell.drive(number, 50 * number)
    shell.frame(1, 50)
    assert shell.answers[-1].reason is SkipReason.DUPLICATE
    shell.frame(0, 0)
    assert shell.answers[-1].reason is SkipReason.OUT_OF_ORDER


@pytest.mark.parametrize(("number", "capture_ms"), [(3, 2000), (6, 1000), (6, 999)])
def test_numbers_and_times_only_go_up(number, capture_ms):
    shell = Shell()
    shell.drive(5, 1000)
    skip = shell.frame(number, capture_ms).answers[-1]
    assert skip.reason is SkipReason.OUT_OF_ORDER
    assert skip.held.validity is Validity.HELD
    assert shell.drive(7, 1050).step_count == 2


def test_a_frame_that_would_be_late_is_answered_in_time_and_costs_no_step():
    shell = Shell()
    shell.drive(0, 0)
    shell.frame(1, 50).wait(48.9).tick()
    assert len(shell.answers) == 1
    assert shell.session.next_wake_ns - shell.now_ns == pytest.approx(0.1 * MS)
    shell.wait(0.1).tick()
    skip = shell.answers[-1]
    assert (skip.reason, skip.held.validity) == (SkipReason.LATE, Validity.HELD)
    assert skip.held.age_ms == pytest.approx(49)
    shell.decode()
    assert shell.submitted is None
    assert shell.drive(2, 100).step_count == 2


def test_a_late_frame_is_taken_back_from_the_engine():
    shell = Shell().frame(0, 0).decode().wait(50).tick()
    assert shell.answers[0].reason is SkipReason.LATE
    assert shell.submitted is None


def test_a_step_that_began_is_answered_even_if_late():
    shell = Shell().frame(0, 0).decode().begin().wait(60).tick()
    assert shell.answers == []
    assert isinstance(shell.step().answers[0], Command)


def test_a_failed_step_leaves_the_state_as_it_was():
    shell = Shell()
    shell.drive(0, 0)
    shell.frame(1, 50).decode().step_fails()
    assert shell.answers[-1].reason is SkipReason.FAILED
    assert shell.drive(2, 100).step_count == 2


def test_an_undecodable_frame_holds_the_last_command():
    shell = Shell()
    good = shell.drive(0, 0)
    skip = shell.frame(1, 50).wait(3).decode_fails().answers[-1]
    assert (skip.reason, skip.detail) == (SkipReason.UNDECODABLE, "broken")
    assert skip.held.limited == good.limited
    assert (skip.held.sequence_number, skip.held.age_ms) == (0, 3.0)


def test_a_gap_begins_a_new_epoch():
    shell = Shell()
    assert shell.drive(0, 0).state_epoch == 0
    within, beyond = shell.drive(1, 300), shell.drive(2, 601)
    assert (within.state_epoch, within.step_count) == (0, 2)
    assert (beyond.state_epoch, beyond.step_count) == (1, 1)


def test_the_gap_is_between_frames_that_the_network_saw():
    shell = Shell()
    shell.drive(0, 0)
    shell.frame(1, 200).decode_fails()
    assert shell.drive(2, 400).state_epoch == 1


def test_a_reset_divides_the_frames_before_it_from_those_after():
    shell = Shell(FramePolicy.EVERY)
    shell.frame(0, 0).frame(1, 50)
    shell.session.reset()
    shell.frame(2, 100)
    while shell.decoding or shell.submitted:
        if shell.decoding:
            shell.decode()
        shell.step()
    assert [(a.state_epoch, a.step_count) for a in shell.answers] == [(0, 1), (0, 2), (1, 1)]


def test_a_reset_outlives_the_frame_after_it():
    shell = Shell()
    shell.drive(0, 0)
    shell.session.reset()
    shell.frame(1, 50).decode().step_fails()
    assert shell.drive(2, 100).state_epoch == 1


def test_each_reset_counts():
    shell = Shell()
    shell.session.reset()
    shell.session.reset()
    assert shell.drive(0, 0).state_epoch == 2


def test_unusable_outputs_fall_back_or_hold():
    shell = Shell()
    bad = (float("nan"), 10.0, 0.0)
    first = shell.drive(0, 0, bad)
    assert (first.validity, first.limited.steering_wheel_angle_rad) == (Validity.FALLBACK, None)
    good = shell.drive(1, 50)
    held = shell.wait(50).drive(2, 100, (9.0, 10.0, 0.0))
    assert (held.validity, held.limited, held.age_ms) == (Validity.HELD, good.limited, 50.0)
    assert held.step_count == 3
    assert held.raw.steering_wheel_angle_rad == 9.0


def test_the_rate_is_limited_from_the_last_good_command():
    shell = Shell()
    shell.drive(0, 0, (0.0, 10.0, 0.0))
    one = shell.drive(1, 50, (1.0, 10.0, 0.0))
    shell.drive(2, 100, (float("nan"), 10.0, 0.0))
    three = shell.drive(3, 150, (1.0, 10.0, 0.0))
    step = one.limited.steering_wheel_angle_rad
    assert three.limited.steering_wheel_angle_rad == pytest.approx(3 * step, rel=0.01)


def test_the_first_command_of_an_epoch_has_no_rate():
    shell = Shell()
    shell.drive(0, 0, (0.0, 10.0, 0.0))
    shell.session.reset()
    assert shell.drive(1, 50, (1.0, 10.0, 0.0)).active_limits == ()


def test_silence_ends_the_session_after_a_notice():
    shell = Shell().wait(7_999).tick()
    assert shell.sent == []
    shell.wait(1).tick().tick()
    assert shell.sent == [ExpiringNotice(2000)]
    shell.wait(2_000).tick()
    assert isinstance(shell.sent[-1], IdleError)


def test_a_frame_keeps_the_session():
    shell = Shell().wait(9_000).tick()
    shell.drive(0, 0)
    shell.wait(7_999).tick()
    assert [type(message) for message in shell.sent] == [ExpiringNotice, Command]


def test_the_alive_counter_wraps():
    shell = Shell()
    shell.session._answers = ALIVE_COUNTER_MODULUS - 2
    assert [shell.drive(n, 50 * n).alive_counter for n in range(3)] == [65_535, 0, 1]
