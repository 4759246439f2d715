"""The flight recorder of a vehicle: an observer of its sessions that writes MCAP files."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from steerstream import __version__
from steerstream.answers import FrameAnswer, Notice
from steerstream.errors import OutputLost, SteerstreamError
from steerstream.extras import library_needs
from steerstream.guard import Guard, GuardReason, SafeCommand
from steerstream.observer import SessionObserver
from steerstream.reachability import is_local
from steerstream.v1 import frame_pb2, recording_pb2, session_pb2

with library_needs("recording a drive", "record"):
    from steerstream.recording import messages, topics
    from steerstream.recording.files import SUFFIX, OneFile, Ring
    from steerstream.recording.pump import Pump
    from steerstream.recording.topics import Entry
    from steerstream.recording.track import Track

CLOSE_S = 10.0
"""For what waits at the end: a disk that hangs must not keep the vehicle's program."""
RING_BYTES = 1_000_000_000
"""Of a folder, if nothing else is said: two hours of views at 20 Hz."""

_MAX_ITEMS = 4096
_MAX_BYTES = 32 << 20
"""What may wait for a slow disk: a minute of views, or a second of whole raw pictures."""


class Sink(Protocol):
    """Takes the messages of a recording too, in the recorder's thread."""

    def write(self, entries: list[Entry], time_ns: int) -> None:
        """Take messages of one moment, in Unix nanoseconds; must not raise."""

    def close(self) -> None:
        """No more messages come."""


class FlightRecorder(SessionObserver):
    """Records the sessions of one vehicle, one after the other; a context manager of both kinds.

    ```python
    async with (
        FlightRecorder("drive.mcap") as recorder,
        steerstream.connect("localhost:50051") as client,
        client.open_session(vehicle_id="car-7", observer=recorder) as session,
    ):
        ...
    ```

    A thread writes. A frame never waits for it: what comes faster than the disk takes it is dropped
    and counted. A recording that is lost on the way costs the drive nothing; the end of the block
    says so.

    Args:
        path: a file whose name ends in `.mcap`, or else a folder, in which the oldest files are
            deleted to keep the bound. `None` where only the sink records.
        max_bytes: of the folder; by default a gigabyte.
        sink: takes the messages too.

    Raises:
        MediaError: it cannot be written there, or another recorder does.
        MissingExtra: a package that it needs is not installed.
    """

    def __init__(
        self,
        path: Path | str | None,
        *,
        max_bytes: int = RING_BYTES,
        sink: Sink | None = None,
    ) -> None:
        self.path = None if path is None else Path(path)
        self._files = None
        self._track = None
        if self.path is not None:
            is_file = self.path.suffix == SUFFIX
            self._files = OneFile(self.path) if is_file else Ring(self.path, max_bytes)
            self._track = Track("drive", self._files)
        self._sink = sink
        # Times of a recording go up, whatever is done to the wall clock.
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self._told_dropped = 0
        self._pump = Pump(
            "flight recorder", self._between, max_items=_MAX_ITEMS, max_bytes=_MAX_BYTES
        )
        self._is_closed = False

    @property
    def dropped(self) -> int:
        """Messages that there was no room for, or that could not be written."""
        return self._pump.dropped + self._pump.failed + (self._track.lost if self._track else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except OutputLost as lost:
            if exc is None:
                raise
            # The error that ended the drive matters more than the loss of its recording.
            exc.add_note(str(lost))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.__exit__, exc_type, exc, traceback)

    def close(self) -> None:
        """Write what waits, and end the file, within `CLOSE_S`. Calling it again does nothing.

        Raises:
            OutputLost: a part of the recording could not be written.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if not self._pump.close(CLOSE_S):
            raise OutputLost(
                f"the recording is not whole: it could not be ended within {CLOSE_S:g} s, for the "
                "disk hangs or is slow; what was written before can be read"
            )
        if self._sink is not None:
            self._sink.close()
        if self._track is None or self._files is None:
            return
        self._track.close()
        self._files.close()
        if self._track.error is not None:
            raise OutputLost(
                f"the recording {self.path} is not whole: {self._track.error.strerror}; "
                "what was written before can be read"
            )

    # The observer's events, in the event loop.

    def opened(
        self,
        target: str,
        request: session_pb2.OpenSession,
        opened: session_pb2.SessionOpened,
        guard: Guard,
    ) -> None:
        """Record the terms of a session."""
        session = recording_pb2.RecordedSession(
            open=request,
            opened=opened,
            target=target,
            version=__version__,
            server_processor=messages.processor() if is_local(target) else "",
            settings={name: str(value) for name, value in dataclasses.asdict(guard.bounds).items()},
        )
        session.open.ticket = b""
        self._put(partial(messages.one, topics.SESSION, session))

    def frame_sent(self, frame: frame_pb2.Frame) -> None:
        """Record a frame."""
        now_ns = self._now_ns()
        self._put(partial(messages.frame, frame, now_ns), frame.ByteSize(), now_ns)

    def reset(self) -> None:
        """Record a reset."""
        self._put(partial(messages.one, topics.RESET, session_pb2.Reset()))

    def answered(self, answer: FrameAnswer, reasons: tuple[GuardReason, ...]) -> None:
        """Record an answer."""
        self._put(partial(messages.answer, answer, reasons))

    def noticed(self, notice: Notice) -> None:
        """Record a notice."""
        self._put(partial(messages.notice, notice))

    def told(self, safe: SafeCommand) -> None:
        """Record what the guard said."""
        self._put(partial(messages.safe_command, safe))

    def ended(self, error: SteerstreamError | None) -> None:
        """Record the end of a session."""
        end = recording_pb2.RecordedEnd(reason="" if error is None else str(error))
        self._put(partial(messages.one, topics.END, end))

    def _now_ns(self) -> int:
        return self._offset_ns + time.monotonic_ns()

    def _put(
        self, make: Callable[[], Iterator[Entry]], size_bytes: int = 0, time_ns: int | None = None
    ) -> None:
        self._pump.put(partial(self._write, make, time_ns or self._now_ns()), size_bytes)

    # In the thread.

    def _write(self, make: Callable[[], Iterator[Entry]], time_ns: int) -> None:
        entries = list(make())
        dropped, before = self._pump.dropped, self._told_dropped
        if dropped > before:
            self._told_dropped = dropped
            loss = recording_pb2.RecordedLoss(messages=dropped - before)
            entries.insert(0, (topics.LOSS, loss))
        if self._track is not None:
            self._track.write(entries, time_ns)
        if self._sink is not None:
            self._sink.write(entries, time_ns)

    def _between(self) -> None:
        if self._track is not None:
            self._track.flush()
