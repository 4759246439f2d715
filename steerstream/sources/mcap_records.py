"""Reads MCAP files from front to back, also those that lost their writer.

The readers that seek begin with the index at a file's end, and give nothing of a file without one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard
from mcap.exceptions import EndOfFile, McapError, UnsupportedCompressionError
from mcap.records import Channel, Chunk, DataEnd, McapRecord, Message, Metadata, Schema
from mcap.stream_reader import CRCValidationError, StreamReader, breakup_chunk
from mcap.writer import MCAP0_MAGIC

from steerstream.errors import MediaError
from steerstream.sources.mcap_chunks import unpacked

_LARGEST_RECORD_BYTES = 1 << 30
"""A damaged length must not ask for all memory."""
_RECORD_HEAD = struct.Struct("<BQ")
"""A record's kind, and the bytes that follow."""
_FOOTER = 2
"""The kind of the last record, behind which the magic stands again."""

DAMAGE = (
    McapError, CRCValidationError, zstandard.ZstdError, RuntimeError, ValueError, LookupError,
    OverflowError, MemoryError, struct.error,
)  # fmt: skip
"""What the library and its decompressors raise over what no writer wrote."""


class Record(NamedTuple):
    """A message with its topic and its type; `schema` is None where the file states none."""

    schema: Schema | None
    channel: Channel
    message: Message


class McapFile:
    """Reads one file.

    Args:
        path: the file.

    Attributes:
        is_cut_off: whether the file ends before its writer ended it; after `records` without
            `refuses_damage` also whether it was damaged before that.
        metadata: the file's metadata by their names, as far as it was read.

    Raises:
        MediaError: it cannot be read, or is no MCAP file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata: dict[str, dict[str, str]] = {}
        try:
            with path.open("rb") as file:
                if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
                    raise MediaError(f"{path} is no MCAP file")
                self.is_cut_off = WholeRecords(file).is_cut_off
        except OSError as error:
            raise _unreadable(path, error) from error

    def records(self, *, refuses_damage: bool = False) -> Iterator[Record]:
        """Yield the messages in the order of the file, up to its last whole chunk.

        Args:
            refuses_damage: whether what is damaged before that is an error. Otherwise it ends the
                messages, as in a recording whose disk lost power.

        Raises:
            MediaError: the file cannot be read, or is damaged.
        """
        try:
            with self.path.open("rb") as file:
                yield from self._read(file)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        except UnsupportedCompressionError as error:
            raise MediaError(f"cannot read {self.path}: {error}") from error
        except DAMAGE as error:
            if self.is_cut_off and isinstance(error, EndOfFile):
                return  # What came before is whole.
            if refuses_damage:
                raise MediaError(f"{self.path}: is damaged: {error}") from None
            self.is_cut_off = True

    def _read(self, file: BinaryIO) -> Iterator[Record]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        for record in _unpacked(file):
            match record:
                case Schema():
                    schemas[record.id] = record
                case Channel():
                    channels[record.id] = record
                case Metadata():
                    self.metadata[record.name] = record.metadata
                case Message():
                    channel = channels[record.channel_id]
                    yield Record(schemas.get(channel.schema_id), channel, record)
                case DataEnd():
                    return


class WholeRecords:
    """Reads a file up to the end of its last whole record.

    So a damaged length costs no memory, and the library's reader, which fails in many ways within a
    record that was cut off, does not see it.

    Args:
        file: the file.

    Attributes:
        is_cut_off: whether the last record of a finished file is missing.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.is_cut_off = True
        size = file.seek(0, os.SEEK_END)
        self._end = file.seek(len(MCAP0_MAGIC))
        while len(head := file.read(_RECORD_HEAD.size)) == _RECORD_HEAD.size:
            kind, length = _RECORD_HEAD.unpack(head)
            end = file.tell() + length
            if end > size:
                break
            self._end = file.seek(end)
            if kind == _FOOTER:
                self._end, self.is_cut_off = size, False
                break
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or as many as there are."""
        left = self._end - self._file.tell()
        return self._file.read(left if size < 0 else min(size, left))


def _unpacked(file: BinaryIO) -> Iterator[McapRecord]:
    """Yield the records of a file and of its chunks."""
    reader = StreamReader(
        WholeRecords(file),  # type: ignore[arg-type]
        emit_chunks=True,
        validate_crcs=True,
        record_size_limit=_LARGEST_RECORD_BYTES,
    )
    for record in reader.records:
        if isinstance(record, Chunk):
            yield from breakup_chunk(unpacked(record), validate_crc=True)
        else:
            yield record


def _unreadable(path: Path, error: OSError) -> MediaError:
    return MediaError(f"cannot read {path}: {error.strerror}")
