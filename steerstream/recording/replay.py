"""Steps a recording again, and compares what comes out, command by command."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from steerstream import wire
from steerstream.answers import Command, Skipped
from steerstream.client import Client
from steerstream.errors import MediaError
from steerstream.models import FramePolicy, Model
from steerstream.recording import messages, topics
from steerstream.recording.comparison import Difference, Terms, differences, largest_difference
from steerstream.recording.plan import Plan, Planned, plan
from steerstream.recording.reader import Recorded, Recording
from steerstream.session import Session
from steerstream.v1 import command_pb2, frame_pb2, recording_pb2

_VEHICLE_ID = "steerstream-replay"


@dataclasses.dataclass(frozen=True, slots=True)
class FirstDifference:
    """The first frame of a recording that came out otherwise.

    Attributes:
        sequence_number: its number.
        time_ns: when it was sent, in Unix nanoseconds.
        after_s: seconds from the recording's first frame.
        fields: what differs.
    """

    sequence_number: int
    time_ns: int
    after_s: float
    fields: tuple[Difference, ...]


@dataclasses.dataclass(slots=True)
class Result:
    """How a replay of one recording came out.

    Attributes:
        recording: its name.
        plan: which frames were stepped again.
        recorded: the model of the recording.
        replayed: the model of the replay.
        is_exact: whether equal to the last bit was asked of commands of batches of one.
        compared: commands that were compared.
        bit_equal: those whose raw values were equal to the last bit.
        differing: those that differ by more than they may.
        first: the first of those.
        largest: how far the raw values of each head were apart at most.
        cut_off: files that lost their writer.
    """

    recording: str
    plan: Plan
    recorded: Model
    replayed: Model
    is_exact: bool
    compared: int = 0
    bit_equal: int = 0
    differing: int = 0
    first: FirstDifference | None = None
    largest: dict[str, float] = dataclasses.field(default_factory=dict)
    cut_off: tuple[str, ...] = ()

    @property
    def same_bundle(self) -> bool:
        """Whether the replay ran the bundle of the recording."""
        return self.recorded.bundle_sha256 == self.replayed.bundle_sha256

    def as_json(self) -> dict[str, Any]:
        """Return it as values that JSON can hold."""
        first = self.first
        return {
            "recording": self.recording,
            "frames": len(self.plan.frames),
            "compared": self.compared,
            "bit_equal": self.bit_equal,
            "differing": self.differing,
            "skipped": self.plan.skipped,
            "unanswered": self.plan.unanswered,
            "without_beginning": self.plan.without_beginning,
            "is_exact": self.is_exact,
            "same_bundle": self.same_bundle,
            "largest_difference": self.largest,
            "cut_off": list(self.cut_off),
            "first_difference": None
            if first is None
            else {
                "sequence_number": first.sequence_number,
                "time_ns": first.time_ns,
                "after_s": first.after_s,
                "fields": [field._asdict() for field in first.fields],
            },
        }


class Replay:
    """Steps one recording again through a server, one frame after the other.

    Args:
        recording: the recording.
        client: the connection to the server.
        model: the model's name there; None for its default.
        is_same_machine: whether the server runs on a processor like the recording's, so that equal
            means to the last bit.
        progress: is told how many frames of all were read.
    """

    def __init__(
        self,
        recording: Recording,
        client: Client,
        *,
        model: str | None,
        is_same_machine: bool,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> None:
        self._recording = recording
        self._client = client
        self._model = model
        self._is_same_machine = is_same_machine
        self._progress = progress
        self._session: Session | None = None
        self._run = -1
        self._knows_limits = False
        self._result: Result | None = None

    async def run(self) -> Result:
        """Step it.

        Raises:
            MediaError: the recording cannot be read, or there is nothing in it to be compared.
            SteerstreamError: the server took no session, or lost it.
        """
        planned = plan(self._recording.messages())
        if planned.session is None or not planned.compared:
            raise MediaError(
                f"{self._recording.name} has no command that can be compared: the recurrent state "
                "is known only from its beginning, or from a reset on"
            )
        async with contextlib.AsyncExitStack() as stack:
            at = first_ns = 0
            for message, frame in _with_pictures(self._recording.messages()):
                if message.topic == topics.RESET:
                    if self._session is not None:
                        await self._session.send_resets(message.message.count or 1)
                    continue
                if frame is None:
                    continue
                first_ns = first_ns or message.time_ns
                step = planned.frames[at]
                at += 1
                self._progress(at, len(planned.frames))
                if step.run is None:
                    continue
                if step.run != self._run:
                    await stack.aclose()
                    self._session = await stack.enter_async_context(await self._open(planned))
                    self._run = step.run
                    self._knows_limits = step.epoch == 0
                await self._step(frame, step, message.time_ns, first_ns)
        assert self._result is not None  # noqa: S101
        self._result.cut_off = tuple(map(str, self._recording.cut_off))
        return self._result

    async def _open(self, planned: Plan) -> Session:
        assert planned.session is not None  # noqa: S101
        limits = (await self._client.describe_models()).limits
        opened = planned.session.open
        session = await self._client.open_session(
            vehicle_id=_VEHICLE_ID,
            model=self._model,
            # It has all the time there is: a replay asks what the network says, not how soon.
            budget_ms=limits.max_budget_ms,
            frame_policy=FramePolicy.EVERY,
            camera=wire.camera(opened.camera) if opened.HasField("camera") else None,
            live=False,
            horizon=not opened.without_horizon,
        )
        if self._result is None:
            recorded, replayed = wire.model(planned.session.opened.model), session.info.model
            self._result = Result(
                self._recording.name,
                planned,
                recorded,
                replayed,
                is_exact=self._is_same_machine and _runs_alike(recorded, replayed),
            )
        return session

    async def _step(
        self, frame: frame_pb2.Frame, step: Planned, time_ns: int, first_ns: int
    ) -> None:
        session, result = self._session, self._result
        assert session is not None  # noqa: S101
        assert result is not None  # noqa: S101
        assert isinstance(step.answer, command_pb2.Command)  # noqa: S101
        frame.replayed = False
        await session.send_encoded(frame)
        replayed = await _answer(session)
        recorded = wire.command("", step.answer, sent_ns=0, received_ns=0)
        result.compared += 1
        if isinstance(replayed, Command):
            found = tuple(differences(recorded, replayed, self._terms(result, recorded, step)))
            result.bit_equal += recorded.raw == replayed.raw
            for head, apart in largest_difference(recorded, replayed).items():
                result.largest[head] = max(apart, result.largest.get(head, 0.0))
            # From here on both limit the next values from the same ones.
            self._knows_limits |= not (recorded.active_limits or replayed.active_limits)
        else:
            answer = f"skipped: {replayed.reason.name}, {replayed.detail}"
            found = (Difference("answer", "a command", answer),)
        if found:
            result.differing += 1
            result.first = result.first or FirstDifference(
                recorded.sequence_number, time_ns, (time_ns - first_ns) / 1e9, found
            )

    def _terms(self, result: Result, recorded: Command, step: Planned) -> Terms:
        return Terms(
            # Batches of other sizes round otherwise; here each has one frame.
            is_exact=result.is_exact and recorded.timings.batch_size == 1,
            same_precision=result.recorded.precision == result.replayed.precision,
            knows_limits=self._knows_limits,
            first_epoch=step.epoch,
        )


async def _answer(session: Session) -> Command | Skipped:
    async for answer in session:
        if isinstance(answer, Command | Skipped):
            return answer
    raise MediaError("the server ended the session in the middle of the replay")


def _runs_alike(one: Model, other: Model) -> bool:
    return (
        one.bundle_sha256 == other.bundle_sha256
        and one.precision == other.precision
        and one.provider == other.provider
    )


def _with_pictures(
    recorded: Iterator[Recorded],
) -> Iterator[tuple[Recorded, frame_pb2.Frame | None]]:
    """Yield every message but pictures, and beside a frame's the frame as it was sent."""
    picture = b""
    for message in recorded:
        if message.topic in (topics.CAMERA, topics.CAMERA_RAW):
            picture = message.message.data
        elif isinstance(message.message, frame_pb2.Frame):
            yield message, messages.whole_frame(message.message, picture)
            picture = b""
        else:
            yield message, None


def terms(recording: Recording) -> recording_pb2.RecordedSession:
    """Return the terms of a recording's first session.

    Raises:
        MediaError: the recording cannot be read, or has no session.
    """
    for recorded in recording.messages():
        if isinstance(recorded.message, recording_pb2.RecordedSession):
            return recorded.message
    if recording.cut_off:
        raise MediaError(f"{recording.name} is cut off before its first session was written")
    raise MediaError(f"{recording.name} has no session")
