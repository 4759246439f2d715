"""Records sessions as their vehicles' flight recorders would: a share of them, within a bound.

The event loop hands over messages as they came and went; a thread does the rest. What that has no
time or no room for is dropped and counted, and no frame waits for it.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from steerstream import __version__
from steerstream.errors import MediaError
from steerstream.recording import messages, topics
from steerstream.recording.files import Ring, least_bytes
from steerstream.recording.pump import Pump
from steerstream.recording.topics import Entry
from steerstream.recording.track import Track
from steerstream.v1 import drive_service_pb2, recording_pb2, session_pb2
from steerstream_service.domain import RecordingPlan
from steerstream_service.errors import ConfigError
from steerstream_service.telemetry.logs import fields

MOST_RECORDED = 64
"""Sessions that are recorded at once; each has a file of its own."""

_MAX_ITEMS = 8192
_MAX_BYTES = 32 << 20
"""What may wait for a slow disk: eight seconds of 32 vehicles that send views."""
_FLUSH_LOOK_S = 0.1
_GOES_ON_S = 30.0
"""Without a loss before it is said that recording goes on: a file that fails is tried every ten."""
_CLOSE_S = 5.0
"""For what waits at the server's end: a disk that hangs must not keep the server."""

_log = logging.getLogger(__name__)


class ServerRecorder:
    """Records a share of a server's sessions.

    Args:
        plan: what is recorded, and where.
        settings: the server's settings as text.

    Attributes:
        passed_over: sessions that were not recorded because too many were already.

    Raises:
        ConfigError: the folder cannot be written, another server records there, or the bound is
            too small.
    """

    def __init__(self, plan: RecordingPlan, settings: Mapping[str, str]) -> None:
        least = plan.workers * least_bytes(MOST_RECORDED)
        if plan.max_bytes < least:
            many = f" with {plan.workers} workers" if plan.workers > 1 else ""
            raise ConfigError(
                f"--record-bytes must be at least {least:,}{many}, is {plan.max_bytes:,}"
            )
        try:
            self._files = Ring(plan.folder, plan.max_bytes // plan.workers, most_open=MOST_RECORDED)
        except MediaError as error:
            raise ConfigError(f"--record: {error}") from None
        self._share = plan.share
        self._settings = dict(settings)
        self._processor = messages.processor()
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self._open = 0
        self.passed_over = 0
        # Of the thread alone, as long as that runs: each track, and what it lost so far.
        self._tracks: dict[Track, int] = {}
        self._lost = 0
        self._look_s = 0.0
        self._is_losing = False
        self._lost_s = 0.0
        self._pump = Pump("recorder", self._flush, max_items=_MAX_ITEMS, max_bytes=_MAX_BYTES)

    @property
    def dropped(self) -> int:
        """Messages that there was no room for, or that could not be made or written."""
        return self._pump.dropped + self._pump.failed + self._lost

    def begin(self, session_id: str, opening: session_pb2.OpenSession) -> SessionRecorder | None:
        """Return what records a session; None where it is not recorded.

        Args:
            session_id: the server's name for it. It is random, and chooses the share.
            opening: what its vehicle asked for.
        """
        if zlib.crc32(session_id.encode()) >= self._share * 2**32:
            return None
        if self._open >= MOST_RECORDED:
            self.passed_over += 1
            return None
        self._open += 1
        track = Track(f"{opening.vehicle_id}-{session_id}", self._files)
        return SessionRecorder(self, track, opening)

    def put(
        self,
        track: Track,
        make: Callable[[int], Iterable[Entry]],
        size_bytes: int = 0,
        *,
        always: bool = False,
    ) -> None:
        """Hand over messages of a session, from the event loop.

        Args:
            track: of the session.
            make: returns the messages of a time; called in the thread.
            size_bytes: what it holds.
            always: whether there is room in any case.
        """
        time_ns = self._offset_ns + time.monotonic_ns()
        work = partial(self._write, track, make, time_ns)
        self._pump.put(work, size_bytes, always=always)

    def end(self, track: Track) -> None:
        """End the file of a session."""
        self._open -= 1
        self._pump.put(partial(self._end, track), 0, always=True)

    def close(self) -> None:
        """Write what waits, and end all files, within `_CLOSE_S`."""
        self._pump.put(self._end_all, 0, always=True)
        if not self._pump.close(_CLOSE_S):
            _log.error("recording_lost", extra=fields(error="the disk hangs"))
        if self.dropped or self.passed_over:
            _log.warning(
                "recording_incomplete",
                extra=fields(dropped=self.dropped, passed_over=self.passed_over),
            )

    def session(
        self, opening: session_pb2.OpenSession, opened: session_pb2.SessionOpened
    ) -> recording_pb2.RecordedSession:
        """Return the terms of a session as they are recorded."""
        found = recording_pb2.RecordedSession(
            open=opening,
            opened=opened,
            version=__version__,
            server_processor=self._processor,
            settings=self._settings,
        )
        found.open.ticket = b""
        return found

    # In the thread.

    def _write(self, track: Track, make: Callable[[int], Iterable[Entry]], time_ns: int) -> None:
        self._tracks.setdefault(track, 0)
        track.write(make(time_ns), time_ns)

    def _end(self, track: Track) -> None:
        self._tracks.setdefault(track, 0)
        track.close()
        self._look_after(track)
        del self._tracks[track]

    def _end_all(self) -> None:
        for track in list(self._tracks):
            self._end(track)
        self._files.close()

    def _flush(self) -> None:
        now_s = time.monotonic()
        if now_s < self._look_s:
            return
        self._look_s = now_s + _FLUSH_LOOK_S
        for track in self._tracks:
            track.flush()
            self._look_after(track)
        if self._is_losing and self._tracks and now_s - self._lost_s >= _GOES_ON_S:
            self._is_losing = False
            _log.warning("recording_goes_on", extra=fields(lost=self._lost))

    def _look_after(self, track: Track) -> None:
        """Count what a track lost since the last look, and tell of the first loss."""
        self._lost += track.lost - self._tracks[track]
        self._tracks[track] = track.lost
        if not track.is_losing:
            return
        self._lost_s = time.monotonic()
        if not self._is_losing:
            self._is_losing = True
            _log.error("recording_lost", extra=fields(error=str(track.error)))


class SessionRecorder:
    """Records one session, on the event loop.

    Args:
        server: the recorder of all sessions.
        track: takes the messages.
        opening: what the vehicle asked for.
    """

    def __init__(
        self, server: ServerRecorder, track: Track, opening: session_pb2.OpenSession
    ) -> None:
        self._server = server
        self._track = track
        self._opening = opening

    def received(self, request: drive_service_pb2.DriveRequest) -> None:
        """Record a message of the vehicle, which nobody changes any more."""
        self._server.put(self._track, partial(_received, request), request.ByteSize())

    def sent(self, response: drive_service_pb2.DriveResponse) -> None:
        """Record a message to the vehicle, which nobody changes any more."""
        is_opened = response.HasField("opened")
        make = self._opened if is_opened else _sent
        self._server.put(self._track, partial(make, response), 0, always=is_opened)

    def end(self, ended_by: str) -> None:
        """Record the end of the session."""
        end = recording_pb2.RecordedEnd(reason=ended_by)
        self._server.put(self._track, lambda _: messages.one(topics.END, end))
        self._server.end(self._track)

    def _opened(self, response: drive_service_pb2.DriveResponse, _: int) -> Iterator[Entry]:
        session = self._server.session(self._opening, response.opened)
        return messages.one(topics.SESSION, session)


def _received(request: drive_service_pb2.DriveRequest, time_ns: int) -> Iterator[Entry]:
    if request.HasField("frame"):
        return messages.frame(request.frame, time_ns)
    return messages.one(topics.RESET, request.reset)


def _sent(response: drive_service_pb2.DriveResponse, _: int) -> Iterator[Entry]:
    if response.HasField("command"):
        return messages.one(topics.COMMAND, response.command)
    if response.HasField("skipped"):
        return messages.one(topics.SKIPPED, response.skipped)
    notice = session_pb2.Notice()
    notice.CopyFrom(response.notice)
    if notice.HasField("ticket"):
        # It opens a session.
        notice.ticket.ticket = b""
    return messages.one(topics.NOTICE, notice)
