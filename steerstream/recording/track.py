"""One vehicle's recording, in as many files as it needs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable

from steerstream.recording import topics
from steerstream.recording.files import Files
from steerstream.recording.segment import Segment
from steerstream.recording.topics import Entry

FLUSH_S = 1.0
"""What was recorded for longer is with the system, and outlives the process."""

_RETRY_S = 10.0
"""Before another file is begun where one could not be written, as on a full disk."""


class Track:
    """One vehicle's recording. It belongs to one thread, and never raises for a lost file.

    Args:
        name: whose recording it is; a part of the files' names.
        files: where they lie.

    Attributes:
        lost: messages that could not be written.
        error: why; None where all could be.
        is_losing: whether nothing could be written when that was tried last.
    """

    def __init__(self, name: str, files: Files) -> None:
        self.lost = 0
        self.error: OSError | None = None
        self.is_losing = False
        self._name = name
        self._files = files
        self._stream = uuid.uuid4().hex
        self._parts = 0
        self._segment: Segment | None = None
        self._session: bytes | None = None
        self._flushed_s = 0.0
        self._retry_s = 0.0

    def write(self, entries: Iterable[Entry], time_ns: int) -> None:
        """Append messages of one moment.

        Args:
            entries: topics and messages.
            time_ns: the moment, in Unix nanoseconds.
        """
        for topic, message in entries:
            data = message.SerializeToString()
            if topic == topics.SESSION:
                self._session = data
            if self._is_too_large(data) or self._rests:
                self.lost += 1
                continue
            try:
                self._write(topic, data, time_ns)
            except OSError as error:
                self.lost += 1
                self.error = error
                self._give_up()

    def flush(self, *, at_once: bool = False) -> None:
        """Hand what waits to the system, where it has waited long enough."""
        now_s = time.monotonic()
        if self._segment is None or (now_s - self._flushed_s < FLUSH_S and not at_once):
            return
        self._flushed_s = now_s
        try:
            self._segment.flush()
        except OSError as error:
            self.error = error
            self._give_up()
        else:
            self.is_losing = False

    def close(self) -> None:
        """End the last file."""
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.close()
        except OSError as error:
            self.error, self.is_losing = error, True
            self.lost += segment.pending
        self._files.ended(segment)

    @property
    def _rests(self) -> bool:
        """Whether a file could not be written a moment ago, and another one is not tried yet."""
        return self._segment is None and time.monotonic() < self._retry_s

    def _is_too_large(self, data: bytes) -> bool:
        most_bytes = self._files.segment_bytes
        # The rest is for the file's own needs, and the session that stands at its head.
        if most_bytes is None or len(data) <= most_bytes // 2:
            return False
        self.error = OSError(0, f"a message of {len(data):,} bytes needs a larger bound")
        return True

    def _write(self, topic: str, data: bytes, time_ns: int) -> None:
        most_bytes = self._files.segment_bytes
        if self._segment is not None and most_bytes is not None:
            needed_bytes = self._segment.size_bytes + Segment.needs_bytes(data)
            if needed_bytes > most_bytes:
                self.close()
        if self._segment is None:
            self._begin(topic, time_ns)
        assert self._segment is not None  # noqa: S101
        self._segment.write(topic, data, time_ns)

    def _begin(self, topic: str, time_ns: int) -> None:
        self._segment = self._files.begin(self._name, stream=self._stream, part=self._parts)
        self._parts += 1
        self._flushed_s = time.monotonic()
        if self._session is not None and topic != topics.SESSION:
            # Each file can be read alone.
            self._segment.write(topics.SESSION, self._session, time_ns)

    def _give_up(self) -> None:
        """Leave a file that cannot be written as it is, and go on with another one later."""
        self.is_losing = True
        self._retry_s = time.monotonic() + _RETRY_S if self._files.can_go_on else float("inf")
        if self._segment is not None:
            self.lost += self._segment.pending
            self._segment.abandon()
            self._files.ended(self._segment)
            self._segment = None
