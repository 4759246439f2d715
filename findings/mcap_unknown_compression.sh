#!/usr/bin/env bash
# mcap reads a chunk of a compression that it does not know as if it were not compressed.
#
# Version: mcap 1.6.0.
# Guess: `UnsupportedCompressionError`, which the package has; the format lets writers name compressions
#     of their own.
# Behaviour: the error is raised only where lz4 or zstandard is not installed. The compressed bytes of any
#     other compression are taken for records: one of an unknown kind is passed over, however long it says
#     it is, so that the reader ends without an error and without the chunk's messages.
#     `validate_crcs=True` raises `CRCValidationError`.
# Output seen: no message and no error, then the CRC's error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/site" mcap==1.6.0 2>/dev/null

seen=$(PYTHONPATH="$folder/site" timeout 60 python3 - <<'PROGRAM'
import bz2, io, zlib
from mcap.data_stream import RecordBuilder
from mcap.records import Channel, Chunk, DataEnd, Footer, Header, Message, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import MCAP0_MAGIC

inside = RecordBuilder()
Schema(id=1, data=b"{}", encoding="jsonschema", name="a").write(inside)
Channel(id=1, topic="/a", message_encoding="json", metadata={}, schema_id=1).write(inside)
Message(channel_id=1, log_time=1, data=b"{}", publish_time=1, sequence=1).write(inside)
records = inside.end()
file = RecordBuilder()
file.write(MCAP0_MAGIC)
Header("", "").write(file)
Chunk("bz2", bz2.compress(records), 1, 1, zlib.crc32(records), len(records)).write(file)
DataEnd(0).write(file)
Footer(0, 0, 0).write(file)
file.write(MCAP0_MAGIC)
data = file.end()
for checked in (False, True):
    try:
        reader = StreamReader(io.BytesIO(data), validate_crcs=checked)
        print(sum(isinstance(record, Message) for record in reader.records), "messages")
    except Exception as error:
        print(type(error).__name__)
PROGRAM
)
expected="0 messages
CRCValidationError"
if [ "$seen" = "$expected" ]; then echo "as stated"; else echo "CHANGED, saw: $seen"; exit 1; fi
