"""Unpacks the chunks of MCAP files, whatever their writers say of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import zstandard
from mcap import stream_reader
from mcap.exceptions import UnsupportedCompressionError
from mcap.records import Chunk

LARGEST_CHUNK_BYTES = 1 << 28
"""Of a chunk when it is unpacked: writers end theirs after a few megabytes, or after one message. A
kilobyte may unpack to a thousand times as much."""


def unpacked(chunk: Chunk) -> Chunk:
    """Return a chunk without its compression.

    The library would take one of an unknown compression for one without, and unpacks to whatever
    size comes.

    Raises:
        UnsupportedCompressionError: it is of a compression that is not known or not installed.
        ValueError: it is not of the size that it states, or too large.
    """
    size = chunk.uncompressed_size
    if size > LARGEST_CHUNK_BYTES:
        raise ValueError(f"a chunk of {size:,} bytes")
    lz4: Any = vars(stream_reader)["lz4"]  # None where it is not installed
    if chunk.compression == "zstd":
        with zstandard.ZstdDecompressor().stream_reader(chunk.data) as packed:
            data = packed.read(size + 1)
    elif chunk.compression == "lz4" and lz4 is not None:
        data = lz4.LZ4FrameDecompressor().decompress(chunk.data, size + 1)
    elif chunk.compression == "":
        return chunk
    else:
        raise UnsupportedCompressionError(chunk.compression)
    if len(data) != size:
        raise ValueError(f"a chunk of {len(data):,} bytes that states {size:,}")
    return dataclasses.replace(chunk, data=data, compression="")
