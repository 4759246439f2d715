"""Finds out which frames of a recording can be stepped again, and what must come out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from steerstream.recording import topics
from steerstream.recording.reader import Recorded
from steerstream.v1 import command_pb2, frame_pb2, recording_pb2


@dataclasses.dataclass(slots=True)
class Planned:
    """One frame of a recording.

    Attributes:
        answer: what it was answered with; None where the recording has no answer.
        run: the run that steps it again; None where it is left out.
        epoch: the state epoch with which that run began.
    """

    answer: command_pb2.Command | command_pb2.FrameSkipped | None = None
    run: int | None = None
    epoch: int = 0


@dataclasses.dataclass(slots=True)
class Plan:
    """What a replay steps again.

    A run is a stretch of frames whose recurrent state the recording has from its beginning, and
    that one session can step again: resets, gaps and hand-overs do not end it. A new one begins
    where the state began afresh and the recording cannot tell how it came to that.

    Attributes:
        frames: all frames, in the order in which they were sent.
        session: the terms of the first session.
        skipped: frames that were answered without a command; the state has not seen them.
        unanswered: frames without an answer in the recording.
        without_beginning: frames with a command that cannot be compared, because the state came
            from before the recording, or frames between are missing.
    """

    frames: list[Planned] = dataclasses.field(default_factory=list)
    session: recording_pb2.RecordedSession | None = None
    skipped: int = 0
    unanswered: int = 0
    without_beginning: int = 0

    @property
    def compared(self) -> int:
        """Frames that are stepped again."""
        return sum(frame.run is not None for frame in self.frames)


def plan(messages: Iterable[Recorded]) -> Plan:
    """Return what a replay of a recording steps again."""
    made = Plan()
    waiting: dict[tuple[int, int], Planned] = {}
    for topic, message, _ in messages:
        if isinstance(message, frame_pb2.Frame):
            frame = Planned()
            made.frames.append(frame)
            waiting[message.sequence_number, message.capture_time_ns] = frame
        elif topic in (topics.COMMAND, topics.SKIPPED):
            assert isinstance(message, command_pb2.Command | command_pb2.FrameSkipped)  # noqa: S101
            key = message.sequence_number, message.capture_time_ns
            if answered := waiting.pop(key, None):
                answered.answer = message
        elif isinstance(message, recording_pb2.RecordedSession):
            made.session = made.session or message
    _assign_runs(made)
    return made


def _assign_runs(made: Plan) -> None:
    run, first_epoch = -1, 0
    before: command_pb2.Command | None = None
    for frame in made.frames:
        answer = frame.answer
        if not isinstance(answer, command_pb2.Command):
            made.skipped += answer is not None
            made.unanswered += answer is None
            continue
        if before is None or not _follows(before, answer):
            if answer.step_count != 1:
                before = None
                made.without_beginning += 1
                continue
            run, first_epoch = run + 1, answer.state_epoch
        frame.run, frame.epoch = run, first_epoch
        before = answer


def _follows(before: command_pb2.Command, after: command_pb2.Command) -> bool:
    """Whether the state of a command is that of the one before, and one frame."""
    if after.state_epoch == before.state_epoch:
        return after.step_count == before.step_count + 1
    return after.state_epoch > before.state_epoch and after.step_count == 1
