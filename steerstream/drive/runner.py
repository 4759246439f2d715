"""Drives: sends the pictures of a source and takes in the answers."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from collections.abc import AsyncIterator, Iterator

from steerstream.answers import Command, FrameAnswer, Skipped
from steerstream.drive.hand_overs import HandOvers
from steerstream.drive.plot import SteeringPlot
from steerstream.drive.progress import progress_line
from steerstream.drive.recorder import Recorder, Scene
from steerstream.drive.sources import Source, SourceFrame
from steerstream.drive.tally import Tally
from steerstream.images import ViewUse
from steerstream.progress import ProgressLine
from steerstream.session import FrameOptions, VehicleSession


@dataclasses.dataclass(frozen=True, slots=True)
class _Sent:
    frame: SourceFrame
    due_ns: int


class Drive:
    """One source, one session.

    Args:
        session: an open session.
        source: where the pictures come from.
        view: which pictures are cropped and scaled as the server asks.
        tally: counts the answers.
        progress: shows how it goes on.
        recorder: writes the video; None for none.
        plot: draws the steering; None for none.
        hand_overs: tells of changes of the server; None where there is one only.
        stop: set it to end the drive early.
    """

    def __init__(
        self,
        session: VehicleSession,
        source: Source,
        *,
        view: ViewUse,
        tally: Tally,
        progress: ProgressLine,
        recorder: Recorder | None,
        plot: SteeringPlot | None = None,
        hand_overs: HandOvers | None = None,
        stop: asyncio.Event,
    ) -> None:
        self._session = session
        self._source = source
        self._view = view
        self._tally = tally
        self._progress = progress
        self._recorder = recorder
        self._plot = plot
        self._hand_overs = hand_overs
        self._stop = stop
        self._sent: dict[int, _Sent] = {}
        self._began_s = time.monotonic()

    async def in_real_time(self) -> None:
        """Send each picture when it is due, whatever the answers do: an open loop.

        Latency counts from when a picture was due, so that a stall is charged to every picture
        that it delayed (no coordinated omission). Where a full server asks for fewer pictures, the
        newest is sent each time, and the others are passed over.

        Raises:
            SteerstreamError: the session ended with an error.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._take_answers())
                await self._send_when_due()
        except BaseExceptionGroup as errors:
            # Sender and reader fail from the same cause; one of their errors is enough.
            raise _first(errors) from None

    async def in_lock_step(self) -> None:
        """Send each picture when the one before is answered.

        Raises:
            SteerstreamError: the session ended with an error, or a frame had no answer.
        """
        async for number, frame in self._frames():
            sent = _Sent(frame, time.monotonic_ns())
            self._tally.sent()
            answer = await self._session.request(frame.image, **self._options(number, frame))
            await self._take(answer, sent)

    async def _send_when_due(self) -> None:
        began_ns: int | None = None
        async for number, frame in self._frames():
            if self._source.is_live:
                due_ns = time.monotonic_ns()
            else:
                # From the first picture on: opening a video may take long.
                began_ns = began_ns or time.monotonic_ns()
                due_ns = began_ns + frame.due_ns
                await asyncio.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
            if self._session.welcome_in_s > 1 / self._source.rate_hz:
                # A newer picture is there before this one is welcome.
                self._tally.passed_over += 1
                continue
            self._tally.sent()
            self._sent[number] = _Sent(frame, due_ns)
            await self._session.send_frame(frame.image, **self._options(number, frame))
        await self._session.finish()

    def _options(self, number: int, frame: SourceFrame) -> FrameOptions:
        return FrameOptions(
            sequence_number=number, capture_time_ns=frame.capture_time_ns, view=self._view
        )

    async def _frames(self) -> AsyncIterator[tuple[int, SourceFrame]]:
        """Read pictures in a worker thread, number them, and reset the state where some miss."""
        for number in itertools.count():
            frame = await asyncio.to_thread(_next, self._source.frames)
            if frame is None or self._stop.is_set():
                return
            if frame.starts_anew:
                await self._session.reset()
            yield number, frame

    async def _take_answers(self) -> None:
        async for answer in self._session:
            if isinstance(answer, Command | Skipped):
                await self._take(answer, self._sent.pop(answer.sequence_number))

    async def _take(self, answer: FrameAnswer, sent: _Sent) -> None:
        truth = sent.frame.truth
        latency_ms = self._tally.answered(
            answer,
            due_ns=sent.due_ns,
            truth=truth,
            action=self._session.safe_command().action,
        )
        if self._hand_overs is not None:
            self._hand_overs.answered(answer)
        if self._progress.is_due:
            elapsed_s = time.monotonic() - self._began_s
            count = self._source.count
            self._progress.show(progress_line(self._tally, answer, truth, count, elapsed_s))
        if self._plot is not None:
            time_s = sent.frame.due_ns / 1e9
            if self._source.is_live:
                time_s = sent.due_ns / 1e9 - self._began_s
            starts_anew = sent.frame.starts_anew
            self._plot.add(answer, time_s=time_s, starts_anew=starts_anew, truth=truth)
        if self._recorder is not None:
            label_rad = truth.steering_wheel_angle_rad if truth is not None else None
            lines = (f"frame {answer.sequence_number + 1}", self._session.info.model.name)
            await self._recorder.add(Scene(sent.frame.image, answer, latency_ms, label_rad, lines))


def _next(frames: Iterator[SourceFrame]) -> SourceFrame | None:
    return next(frames, None)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
