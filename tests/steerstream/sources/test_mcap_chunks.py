from __future__ import annotations

from typing import Any

import pytest
import zstandard
from mcap import stream_reader
from mcap.exceptions import UnsupportedCompressionError
from mcap.records import Chunk

from steerstream.sources.mcap_chunks import LARGEST_CHUNK_BYTES, unpacked

DATA = bytes(range(256)) * 8
LZ4: Any = vars(stream_reader)["lz4"]  # Without types of its own.
PACKED = {"": DATA, "lz4": LZ4.compress(DATA), "zstd": zstandard.compress(DATA)}


def chunk(compression: str, *, size: int = len(DATA)) -> Chunk:
    return Chunk(
        compression=compression,
        data=PACKED.get(compression, DATA),
        message_end_time=0,
        message_start_time=0,
        uncompressed_crc=0,
        uncompressed_size=size,
    )


@pytest.mark.parametrize("compression", PACKED)
def test_a_chunk_is_unpacked(compression):
    found = unpacked(chunk(compression))
    assert (found.data, found.compression) == (DATA, "")


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_chunk_of_another_size_than_it_states_is_refused(compression, size):
    with pytest.raises(ValueError, match=f"that states {size:,}"):
        unpacked(chunk(compression, size=size))


@pytest.mark.parametrize("compression", PACKED)
def test_a_chunk_that_states_too_much_is_refused_before_it_is_unpacked(compression):
    with pytest.raises(ValueError, match="a chunk of 268,435,457 bytes"):
        unpacked(chunk(compression, size=LARGEST_CHUNK_BYTES + 1))


def test_a_compression_that_nobody_knows_is_refused():
    with pytest.raises(UnsupportedCompressionError, match="bz2"):
        unpacked(chunk("bz2"))
