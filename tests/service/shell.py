"""Stands in for the stream, the decoder and the engine around a session."""

from __future__ import annotations

from typing import Any

from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.pictures import RawImage
from steerstream_service.domain import (
    ExpiringNotice,
    FramePolicy,
    NotStepped,
    SkipReason,
    Stepped,
)
from steerstream_service.session.frame_stages import (
    Decode,
    End,
    FrameRecord,
    Issue,
    Recall,
    Send,
    Submit,
)
from steerstream_service.session.machine import Session, Terms
from steerstream_service.session.vehicle_limits import PROFILES
from tests.service import bundles

MS = 1_000_000
BUDGET_NS, COST_NS = 50 * MS, 1 * MS
IMAGE = RawImage(16, 8, b"")
TENSORS = bytes(range(12))
"""The recurrent state that a step gives back, where it is asked for."""


class Shell:
    """Carries out what a session decides, one event at a time."""

    def __init__(
        self,
        policy=FramePolicy.LATEST,
        *,
        max_waiting=3,
        ticket_every=0,
        ring_length=0,
        with_horizon=True,
        resumed=None,
        **contract,
    ):
        self.session = Session(
            Terms(
                contract=bundles.contract(**contract),
                profile=PROFILES["passenger_car"],
                policy=policy,
                budget_ns=BUDGET_NS,
                max_waiting_frames=max_waiting,
                idle_timeout_ns=10_000 * MS,
                expiring_notice_ns=2_000 * MS,
                ticket_every_frames=ticket_every,
                ring_length=ring_length,
                with_horizon=with_horizon,
            ),
            opened_ns=0,
            resumed=resumed,
        )
        self.now_ns = 0
        self.decoding: Any = None
        self.waits_for_decoder = False
        self.submitted: Any = None
        self.begun = False
        self.answers = []
        self.answered_ns = []
        self.sent = []
        self.received = []
        self.records = []
        self.stepped = []
        self.issued = []

    def perform(self, actions):
        for action in actions:
            match action:
                case Send(message):
                    self.sent.append(message)
                    if not isinstance(message, ExpiringNotice):
                        self.answers.append(message)
                        self.answered_ns.append(self.now_ns)
                case Decode(record):
                    assert self.decoding is None, "two frames with the decoder"
                    self.decoding = record
                case Submit(record):
                    assert self.submitted is None, "two frames with the engine"
                    self.submitted, self.begun = record, False
                case Recall(record):
                    # As in the stream: after what was decided with it.
                    actions += self._recall(record)
                case Issue(state):
                    self.issued.append(state)
                case End(error):
                    self.sent.append(error)
        return self

    def _recall(self, record):
        if record is self.decoding and self.waits_for_decoder:
            self.decoding = None
        elif record is self.submitted and not self.begun:
            self.submitted = None
        else:
            assert record in {self.decoding, self.submitted}
            return []
        return self.session.recalled(record, self.now_ns)

    def frame(
        self,
        number,
        capture_ms,
        *,
        speed=10.0,
        refusal=None,
        invalid=None,
        is_replayed=False,
        act_in_s=None,
        image=IMAGE,
    ):
        record = FrameRecord(number, round(capture_ms * MS), image, speed, self.now_ns)
        record.invalid = invalid
        record.is_replayed = is_replayed
        record.stated_act_in_s = act_in_s
        self.received.append(number)
        self.records.append(record)
        return self.perform(self.session.receive(record, COST_NS, refusal=refusal))

    def decode(self):
        record, self.decoding = self.decoding, None
        return self.perform(self.session.decoded(record, self.now_ns))

    def decoder_gives_up(self):
        record, self.decoding = self.decoding, None
        return self.perform(self.session.given_up(record, self.now_ns))

    def decode_fails(self):
        record, self.decoding = self.decoding, None
        record.undecodable = UndecodableError("broken")
        return self.perform(self.session.decoded(record, self.now_ns))

    def begin(self):
        self.begun = True
        return self

    def step(self, outputs=(0.1, 10.0, 0.2)):
        record, self.submitted = self.submitted, None
        self.stepped.append(record)
        state = TENSORS if record.saves_state else None
        record.outcome = Stepped(outputs, self.now_ns, 0, 1, state)
        return self.perform(self.session.finished(record, self.now_ns))

    def step_fails(self, reason=SkipReason.FAILED):
        record, self.submitted = self.submitted, None
        record.outcome = NotStepped(reason, "why")
        return self.perform(self.session.finished(record, self.now_ns))

    def wait(self, ms):
        self.now_ns += round(ms * MS)
        return self

    def tick(self):
        return self.perform(self.session.tick(self.now_ns))

    def drive(self, number, capture_ms, outputs=(0.1, 10.0, 0.2), **frame):
        """One frame all the way."""
        self.frame(number, capture_ms, **frame).decode().step(outputs)
        return self.answers[-1]
