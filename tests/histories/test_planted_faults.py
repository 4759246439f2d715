"""Every invariant can fail: a fault is planted in the code under test, and the model finds it."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from steerstream.drive_session import DriveSession
from steerstream.errors import ConnectionFailed
from steerstream.guard import _Accepted
from steerstream.hand_over import Targets
from steerstream.inbox import Inbox
from steerstream.kept_frames import KeptFrames
from steerstream.leg import Leg
from steerstream_bundle.errors import StepError
from steerstream_service.admission.admission import Admission
from steerstream_service.admission.catalogue import Model
from steerstream_service.admission.rate_meter import RateMeter
from steerstream_service.admission.ticket_office import TicketOffice
from steerstream_service.domain import Command, DrainingNotice
from steerstream_service.engine import batching, model_queue
from steerstream_service.engine.host_stepper import HostStepper
from steerstream_service.engine.state_pool import Slots, StatePool
from steerstream_service.session.answers import Answers
from steerstream_service.session.machine import Session
from steerstream_service.transport import servicer
from steerstream_service.transport.stream import DriveStream
from tests.histories.model import INVARIANTS, violations
from tests.histories.scenario import Histories

MOST = 80
"""Histories within which each fault is found."""
PERIOD_NS = 50_000_000


def the_end_is_not_said(patch):
    patch.setattr(Inbox, "close", lambda self: None)


def an_exception_in_a_stream(patch):
    numbers = itertools.count()

    def count_command(self):
        if next(numbers) == 30:
            raise RuntimeError("planted")

    patch.setattr(RateMeter, "count_command", count_command)


def slots_are_not_given_back(patch):
    patch.setattr(Slots, "release", lambda self, slot: None)


def load_is_not_given_back(patch):
    release = Admission.release

    def keep_load(self, lease):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(type(self.capacity), "give_back", lambda self, demand: None)
            return release(self, lease)

    patch.setattr(Admission, "release", keep_load)


def two_sessions_too_many(patch):
    for kind in (Model, Admission):
        init = kind.__init__

        def wider(self, *args, _init=init, **kwargs):
            given = [
                dataclasses.replace(arg, max_sessions=arg.max_sessions + 2)
                if hasattr(arg, "max_sessions")
                else arg
                for arg in args
            ]
            _init(self, *given, **kwargs)

        patch.setattr(kind, "__init__", wider)


def a_command_is_sent_twice(patch):
    send, numbers = DriveStream.send, itertools.count()

    def twice(self, message):
        send(self, message)
        if isinstance(message, Command) and next(numbers) == 30:
            send(self, message)

    patch.setattr(DriveStream, "send", twice)


def an_answer_waits_for_the_next(patch):
    send = DriveStream.send
    held = {}

    def swapped(self, message):
        if isinstance(message, Command) and self.session.unanswered and self not in held:
            held[self] = message
            return
        send(self, message)
        if self in held:
            send(self, held.pop(self))

    patch.setattr(DriveStream, "send", swapped)


def the_counter_stands_still_at_times(patch):
    count, numbers = Answers._next_count, itertools.count()

    def stuck(self):
        return self._count if next(numbers) % 20 == 19 else count(self)

    patch.setattr(Answers, "_next_count", stuck)


def ages_are_off_by_a_period(patch):
    make = Answers.command
    patch.setattr(
        Answers,
        "command",
        lambda self, record, outcome, now_ns: make(self, record, outcome, now_ns + PERIOD_NS),
    )


def budgets_are_longer_by_a_period(patch):
    begin = Session.__init__

    def longer(self, terms, *args):
        terms = dataclasses.replace(terms, budget_ns=terms.budget_ns + 4 * PERIOD_NS)
        begin(self, terms, *args)

    patch.setattr(Session, "__init__", longer)


def some_frames_are_given_up_at_once(patch):
    choose, numbers = batching.choose, itertools.count()

    def hasty(deadlines_ns, *args):
        if next(numbers) % 10 == 9:
            return batching.Batch(1, 0)
        return choose(deadlines_ns, *args)

    patch.setattr(batching, "choose", hasty)


def a_drain_ends_before_it_says(patch):
    patch.setattr(servicer, "DrainingNotice", lambda ms: DrainingNotice(3 * ms + 500))


def states_of_a_batch_are_mixed_up(patch):
    gather = StatePool.gather
    patch.setattr(
        StatePool,
        "gather",
        lambda self, slots, reset, out=None: gather(self, slots[::-1], reset, out),
    )


def a_ticket_has_the_state_of_the_one_before(patch):
    seal, before = TicketOffice.seal, {}

    def older(self, state, vehicle_id, *args):
        tensors = before.get(vehicle_id, state.tensors)
        before[vehicle_id] = state.tensors
        return seal(self, dataclasses.replace(state, tensors=tensors), vehicle_id, *args)

    patch.setattr(TicketOffice, "seal", older)


def a_ticket_counts_a_step_too_few(patch):
    seal = TicketOffice.seal

    def fewer(self, state, *args):
        return seal(self, dataclasses.replace(state, step_count=state.step_count - 1), *args)

    patch.setattr(TicketOffice, "seal", fewer)


def rings_are_taken_for_shorter_than_they_are(patch):
    patch.setattr(model_queue, "ring_length", lambda stepper: 1)


def the_rest_of_a_state_is_not_put_in_place(patch):
    load = HostStepper._load
    patch.setattr(
        HostStepper,
        "_load",
        lambda self, slot, tensors: load(self, slot, tensors if len(tensors) > 1 else {}),
    )


def frames_for_rings_are_not_kept(patch):
    take = KeptFrames.take_ticket

    def forgetful(self, ticket):
        take(self, ticket)
        if self.ticket is ticket:
            self._drop_before(self._orders[ticket.sequence_number] + 1)

    patch.setattr(KeptFrames, "take_ticket", forgetful)


def a_ticket_is_thrown_away(patch):
    patch.setattr(KeptFrames, "take_ticket", lambda self, ticket: self.forget_ticket())


def a_resumed_session_holds_nothing(patch):
    resume = Answers.resume

    def forgetful(self, state, opened_ns):
        resume(self, dataclasses.replace(state, held=None), opened_ns)

    patch.setattr(Answers, "resume", forgetful)


def frames_that_the_next_server_has_make_room(patch):
    unsent = DriveSession._unsent

    def careless(self):
        next_leg, self._next_leg = self._next_leg, None
        frames = unsent(self)
        self._next_leg = next_leg
        return frames

    patch.setattr(DriveSession, "_unsent", careless)
    patch.setattr(DriveSession, "_unanswered", property(lambda self: len(self._ledger)))


def catching_up_waits_for_every_new_frame(patch):
    patch.setattr(Leg, "catches_up_to", property(lambda self: None, lambda self, _number: None))


def the_guard_counts_too_little(patch):
    age_ms = _Accepted.age_ms
    patch.setattr(_Accepted, "age_ms", lambda self, now_ns: max(0, age_ms(self, now_ns) - 100))


def a_lost_server_ends_the_session(patch):
    ready = Targets.ready

    def impatient(self, **options):
        if any(time_s >= 0 for time_s in self._not_before_s.values()):
            raise ConnectionFailed("planted")
        return ready(self, **options)

    patch.setattr(Targets, "ready", impatient)
    patch.setattr(DriveSession, "_find_server", _not_patient(DriveSession._find_server))


def _not_patient(find):
    async def once(self, *, first_until_s=0.0):
        await find(self, first_until_s=0.0)

    return once


def some_steps_fail(patch):
    step, numbers = HostStepper._step, itertools.count()

    def failing(self, *args):
        if next(numbers) % 20 == 19:
            raise StepError("planted")
        return step(self, *args)

    patch.setattr(HostStepper, "_step", failing)


PLANTED = [
    ("ends", the_end_is_not_said),
    ("clean", an_exception_in_a_stream),
    ("given back", slots_are_not_given_back),
    ("given back", load_is_not_given_back),
    ("bound", two_sessions_too_many),
    ("one answer", a_command_is_sent_twice),
    ("order", an_answer_waits_for_the_next),
    ("sealed", the_counter_stands_still_at_times),
    ("budget", ages_are_off_by_a_period),
    ("budget", budgets_are_longer_by_a_period),
    ("reason", some_frames_are_given_up_at_once),
    ("notice", a_drain_ends_before_it_says),
    ("state", states_of_a_batch_are_mixed_up),
    ("state", a_ticket_has_the_state_of_the_one_before),
    ("notice", rings_are_taken_for_shorter_than_they_are),
    ("state", rings_are_taken_for_shorter_than_they_are),
    ("state", the_rest_of_a_state_is_not_put_in_place),
    ("kept", frames_for_rings_are_not_kept),
    ("resumed", a_ticket_counts_a_step_too_few),
    ("kept", a_ticket_is_thrown_away),
    ("limits", a_resumed_session_holds_nothing),
    ("guard", the_guard_counts_too_little),
    ("drive", a_lost_server_ends_the_session),
    ("kept", frames_that_the_next_server_has_make_room),
    ("back", catching_up_waits_for_every_new_frame),
    ("calm", some_steps_fail),
]


@pytest.mark.parametrize(
    ("invariant", "plant"), PLANTED, ids=lambda value: getattr(value, "__name__", None)
)
def test_the_model_finds_a_planted_fault(monkeypatch, invariant, plant):
    plant(monkeypatch)
    with Histories() as histories:
        for seed in range(MOST):
            if invariant in {found.invariant for found in violations(histories.run(seed))}:
                return
    pytest.fail(f"{MOST} histories broke no invariant {invariant!r}")


def test_every_invariant_has_a_planted_fault():
    assert {invariant for invariant, _ in PLANTED} == set(INVARIANTS)
