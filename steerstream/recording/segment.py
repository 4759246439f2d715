"""One MCAP file while it is written."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from mcap.writer import CompressionType, Writer

from steerstream import __version__
from steerstream.recording import topics

CHUNK_BYTES = 1 << 20
"""A chunk ends at this size at the latest."""

_CHUNK_OVERHEAD_BYTES = 1024
"""An upper bound on what a chunk adds beside its messages: its head, and its place in the indexes
of a dozen topics."""
_MESSAGE_OVERHEAD_BYTES = 64
"""The head of a message, and its place in the index."""
_END_BYTES = 4096
"""An upper bound on statistics and footer."""


class Segment:
    """A file that takes messages.

    What was flushed stays readable when the process ends at any moment; the rest of the chunk is
    lost. The file is closed in any case, but only `close` writes the index that most readers need.

    Args:
        path: the file; an older one is overwritten.
        stream: the recording that the file is a part of.
        part: its place in that.

    Attributes:
        path: the file.
        holds_messages: whether it holds any that can be read.
        pending: messages that it does not hold yet.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, *, stream: str, part: int) -> None:
        self.path = path
        self._file = _File(path)
        self._writer = Writer(self._file, CHUNK_BYTES, CompressionType.NONE)  # type: ignore[arg-type]
        self._pending_bytes = 0
        self.holds_messages = False
        self.pending = 0
        self._sequences = dict.fromkeys(topics.TYPES, 0)
        try:
            self._writer.start(topics.PROFILE, f"steerstream {__version__}")
            self._writer.add_metadata("steerstream", {"stream": stream, "part": str(part)})
            self._channels, schemas_bytes = self._register()
        except BaseException:
            self._file.close()
            raise
        # At the end the schemas are repeated.
        self._end_bytes = 2 * schemas_bytes + _END_BYTES

    @property
    def size_bytes(self) -> int:
        """An upper bound on the file's size, if it were closed now."""
        return self._file.tell() + self._pending_bytes + self._end_bytes

    def write(self, topic: str, data: bytes, time_ns: int) -> None:
        """Append a message.

        Args:
            topic: one of `topics.TYPES`.
            data: the message.
            time_ns: when it was, in Unix nanoseconds.

        Raises:
            OSError: it cannot be written.
        """
        written = self._file.tell()
        self._sequences[topic] += 1
        self._writer.add_message(
            self._channels[topic], time_ns, data, time_ns, self._sequences[topic]
        )
        self._pending_bytes += self.needs_bytes(data)
        self.pending += 1
        if self._file.tell() > written:
            self._chunk_ended()

    @staticmethod
    def needs_bytes(data: bytes) -> int:
        """Return an upper bound on what a message adds to the file."""
        return len(data) + _MESSAGE_OVERHEAD_BYTES

    def flush(self) -> None:
        """End the chunk and hand it to the system.

        Raises:
            OSError: it cannot be written, or somebody has deleted the file.
        """
        self._file.check()
        if self._pending_bytes:
            self._writer.flush()  # type: ignore[no-untyped-call]
            self._chunk_ended()

    def close(self) -> None:
        """End the file with its index.

        Raises:
            OSError: it cannot be written; its chunks can be read all the same.
        """
        with contextlib.closing(self._file):
            self._writer.finish()  # type: ignore[no-untyped-call]
            self.holds_messages, self.pending = True, 0

    def abandon(self) -> None:
        """Close the file as it is, where writing failed."""
        self._file.close()

    def _chunk_ended(self) -> None:
        self._pending_bytes = self.pending = 0
        self.holds_messages = True
        self._end_bytes += _CHUNK_OVERHEAD_BYTES

    def _register(self) -> tuple[dict[str, int], int]:
        """Name the topics and what their messages are; returns channels, and the bytes of that."""
        channels, size_bytes = {}, 0
        for topic, kind in topics.TYPES.items():
            data = topics.schema(kind)
            schema = self._writer.register_schema(kind.DESCRIPTOR.full_name, "protobuf", data)
            channels[topic] = self._writer.register_channel(topic, "protobuf", schema)
            size_bytes += len(data) + 256
        return channels, size_bytes


class _File:
    """A file without a buffer: what was not written is given up, and never tried again."""

    def __init__(self, path: Path) -> None:
        self._fd: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        assert self._fd is not None, "the file is closed"  # noqa: S101
        left = memoryview(data)
        while left:
            count = os.write(self._fd, left)
            self._size_bytes += count
            left = left[count:]

    def tell(self) -> int:
        return self._size_bytes

    def flush(self) -> None:
        """Nothing waits here."""

    def check(self) -> None:
        """Check that the file is still in its folder, for what is written to it would be lost."""
        if self._fd is not None and not os.fstat(self._fd).st_nlink:
            raise OSError(errno.ENOENT, "somebody deleted the file")

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
