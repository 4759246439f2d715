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
from mcap.exceptions import McapError, UnsupportedCompressionError
from mcap.records import Channel, Chunk, DataEnd, McapRecord, Message, Metadata, Schema
from mcap.stream_reader import CRCValidationError, StreamReader, breakup_chunk
from mcap.writer import MCAP0_MAGIC

from steerstream.errors import MediaError
from steerstream.sources.mcap_chunks import unpacked

_LARGEST_RECORD_BYTES = 1 << 30
"""A damaged length must not ask for all memory."""

_DAMAGE = (
    McapError, CRCValidationError, zstandard.ZstdError, RuntimeError, struct.error, KeyError,
    ValueError, OverflowError,
)  # fmt: skip
"""What the library raises where a file ends too soon, or holds what no writer wrote."""


class Record(NamedTuple):
    """A message with its topic and its type; `schema` is None where the file states none."""

    schema: Schema | None
    channel: Channel
    message: Message


class Bounded:
    """Reads no more of a file than there is, so that a damaged length costs no memory.

    Args:
        file: the file, at its beginning.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = file.seek(0, os.SEEK_END)
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or as many as there are."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data


class McapFile:
    """Reads one file.

    Args:
        path: the file.

    Attributes:
        is_cut_off: whether the file ended before its writer ended it; known when it was read.
        metadata: the file's metadata by their names, as far as it was read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_cut_off = False
        self.metadata: dict[str, dict[str, str]] = {}

    def records(self) -> Iterator[Record]:
        """Yield the messages in the order of the file, up to its last complete chunk.

        Raises:
            MediaError: it cannot be read, or is no MCAP file.
        """
        try:
            with self.path.open("rb") as file:
                if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
                    raise MediaError(f"{self.path} is no MCAP file")
                file.seek(0)
                yield from self._read(file)
        except OSError as error:
            raise MediaError(f"cannot read {self.path}: {error.strerror}") from error
        except UnsupportedCompressionError as error:
            raise MediaError(f"cannot read {self.path}: {error}") from error
        except _DAMAGE:
            self.is_cut_off = True

    def _unpacked(self, file: BinaryIO) -> Iterator[McapRecord]:
        """Yield the records of the file and of its chunks."""
        reader = StreamReader(
            Bounded(file),  # type: ignore[arg-type]
            emit_chunks=True,
            validate_crcs=True,
            record_size_limit=_LARGEST_RECORD_BYTES,
        )
        for record in reader.records:
            if not isinstance(record, Chunk):
                yield record
                continue
            yield from breakup_chunk(unpacked(record), validate_crc=True)

    def _read(self, file: BinaryIO) -> Iterator[Record]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        for record in self._unpacked(file):
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
