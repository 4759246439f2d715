from __future__ import annotations

import random
import struct

import pytest
from mcap import stream_reader
from mcap.writer import CompressionType, Writer

from steerstream import MediaError
from steerstream.sources.mcap_records import McapFile
from tests.steerstream.recording.drives import records


def write(path, compression=CompressionType.ZSTD, chunks=4):
    """A file of somebody else, with a chunk for each pair of messages."""
    with path.open("wb") as file:
        writer = Writer(file, compression=compression)
        writer.start()
        writer.add_metadata("of", {"somebody": "else"})
        schema = writer.register_schema("a.Type", "jsonschema", b"{}")
        channel = writer.register_channel("/a", "json", schema)
        for number in range(2 * chunks):
            writer.add_message(channel, number, b"{}" * 50, number)
            if number % 2:
                writer.flush()
        writer.finish()
    return path


@pytest.mark.parametrize("compression", CompressionType)
def test_any_file_is_read(tmp_path, compression):
    file = McapFile(write(tmp_path / "a.mcap", compression))
    found = list(file.records())
    assert [record.message.log_time for record in found] == list(range(8))
    assert {(record.schema.name, record.channel.topic) for record in found} == {("a.Type", "/a")}
    assert file.metadata == {"of": {"somebody": "else"}}
    assert not file.is_cut_off


def test_wherever_a_file_ends_its_complete_chunks_are_read(tmp_path):
    whole = write(tmp_path / "a.mcap", CompressionType.NONE).read_bytes()
    counts = []
    cut = tmp_path / "cut.mcap"
    for size in range(8, len(whole), 7):
        cut.write_bytes(whole[:size])
        found, is_cut_off = records(cut)
        assert [record.message.log_time for record in found] == list(range(len(found)))
        assert is_cut_off or len(found) == 8
        counts.append(len(found))
    assert counts == sorted(counts)
    assert set(counts) == {0, 2, 4, 6, 8}


def test_a_chunk_that_was_damaged_ends_what_is_read(tmp_path):
    path = write(tmp_path / "a.mcap", CompressionType.NONE)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"{}{}{}")] ^= 0xFF
    path.write_bytes(data)
    found, is_cut_off = records(path)
    assert len(found) < 8
    assert is_cut_off


def test_a_chunk_that_ends_within_a_record_is_damage_and_no_end(tmp_path):
    path = tmp_path / "a.mcap"
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE, enable_crcs=False)
        writer.start()
        channel = writer.register_channel("/a", "json", 0)
        for number in range(2):
            writer.add_message(channel, number, b"{}" * 50, number)
        writer.finish()
    data = bytearray(path.read_bytes())
    at = data.rindex(b"{}" * 50)
    # The length stands before channel, number and times: a byte is left for the next record.
    data[at - 30] -= 1
    path.write_bytes(data)
    assert records(path) == ([], True)
    with pytest.raises(MediaError, match=r"a\.mcap: is damaged"):
        list(McapFile(path).records(refuses_damage=True))


@pytest.mark.parametrize("content", [b"", b"\x89MCAP0", b"no such file at all, but long enough"])
def test_what_is_no_such_file_is_refused(tmp_path, content):
    path = tmp_path / "a.mcap"
    path.write_bytes(content)
    with pytest.raises(MediaError, match="is no MCAP file"):
        records(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(MediaError, match=r"cannot read .*: No such file"):
        records(tmp_path / "a.mcap")


def test_a_compression_that_is_not_installed_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mcap", CompressionType.LZ4)
    monkeypatch.setattr(stream_reader, "lz4", None)
    with pytest.raises(MediaError, match="unsupported compression type lz4"):
        records(path)


def test_a_compression_of_somebody_s_own_is_named(tmp_path):
    path = write(tmp_path / "a.mcap", CompressionType.LZ4)
    path.write_bytes(path.read_bytes().replace(b"\x03\x00\x00\x00lz4", b"\x03\x00\x00\x00bz2"))
    with pytest.raises(MediaError, match="unsupported compression type bz2"):
        records(path)


@pytest.mark.parametrize("compression", CompressionType)
def test_any_damage_ends_in_records_or_a_typed_error(tmp_path, compression):
    path, rng = tmp_path / "a.mcap", random.Random(7)
    whole = write(path, compression).read_bytes()
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(8, len(whole))] = rng.choice((0, 255, rng.randrange(256)))
        path.write_bytes(damaged)
        try:
            records(path)
        except MediaError:
            continue


@pytest.mark.parametrize("compression", [CompressionType.LZ4, CompressionType.ZSTD])
@pytest.mark.parametrize("states", [1 << 10, 1 << 40])
def test_a_chunk_that_unpacks_to_more_than_it_states_is_not_read(tmp_path, compression, states):
    path = tmp_path / "a.mcap"
    with path.open("wb") as file:
        writer = Writer(file, compression=compression)
        writer.start()
        channel = writer.register_channel("/a", "json", 0)
        writer.add_message(channel, 0, bytes(1 << 20), 0)
        writer.finish()
    data = path.read_bytes()
    name = compression.name.lower().encode()
    # The size stands before a checksum and the length of the compression's name.
    at = data.index(name) - 16
    path.write_bytes(data[:at] + struct.pack("<Q", states) + data[at + 8 :])
    assert records(path) == ([], True)
