"""MCAP files: messages of ROS 2, of Foxglove in protobuf or JSON, whole or cut off."""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import struct
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from google.protobuf.message import DecodeError

from steerstream.errors import MediaError
from steerstream.extras import package
from steerstream.sources.message_log import open_log
from steerstream.sources.messages import plain_type
from steerstream.sources.options import ReadOptions
from steerstream.sources.recording import Recording

_MAGIC = b"\x89MCAP0\r\n"
_PURPOSE = "reading MCAP files"
_MODULES = {"cdr": "mcap_ros2.decoder", "protobuf": "mcap_protobuf.decoder"}
"""What decodes messages, by their encoding."""


def recognises(path: Path) -> bool:
    """Return whether a file is an MCAP file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def open_recording(path: Path, options: ReadOptions) -> Recording:
    """Open an MCAP file; one that lost its writer is read to its last whole chunk.

    Args:
        path: of the file.
        options: the camera is a topic, and the steering `topic:field`.

    Raises:
        MediaError: it has no camera, or several, or no whole chunk.
        MissingExtra: the packages of the extra `mcap` are not installed.
    """
    log = McapLog(path)
    if log.is_cut_off and not log.topics:
        raise MediaError(f"{path}: is cut off, and has no whole chunk that could be read")
    recording = open_log(log, options)
    if not log.is_cut_off:
        return recording
    said = f"{path} is cut off, and read to its last whole chunk"
    return dataclasses.replace(recording, assumed=(*recording.assumed, said))


class McapLog:
    """The messages of an MCAP file, in the order in which they were written.

    Args:
        path: of the file.

    Attributes:
        is_cut_off: whether the file lost its writer.

    Raises:
        MediaError: it cannot be read.
        MissingExtra: the packages of the extra `mcap` are not installed.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._factories: dict[str, Any] = {"json": _JsonDecoders()}
        package("zstandard", extra="mcap", purpose=_PURPOSE)
        # Only now, because it imports the packages of the extra.
        from steerstream.sources import mcap_records  # noqa: PLC0415

        self._damage = mcap_records.DAMAGE
        self._file = mcap_records.McapFile(path)
        self.is_cut_off = self._file.is_cut_off
        self.topics = self._topics()

    def read(self, topics: Collection[str]) -> Iterator[tuple[str, int, Callable[[], Any]]]:
        """Yield messages as topic, time of their recording in nanoseconds, and decoder."""
        decoders: dict[int, Callable[[bytes], Any]] = {}
        for schema, channel, message in self._file.records(refuses_damage=True):
            if channel.topic in topics:
                if channel.id not in decoders:
                    decoders[channel.id] = self._decoder(schema, channel)
                decode = functools.partial(self._decoded, channel.topic, decoders[channel.id])
                yield channel.topic, message.log_time, functools.partial(decode, message.data)

    def _decoded(self, topic: str, decoder: Callable[[bytes], Any], data: bytes) -> Any:  # noqa: ANN401
        try:
            return decoder(data)
        except _UNDECODABLE as error:
            raise MediaError(f"{self.name}: a message of {topic} is damaged: {error}") from None

    def _decoder(self, schema: Any, channel: Any) -> Callable[[bytes], Any]:  # noqa: ANN401
        encoding = channel.message_encoding
        if encoding in _MODULES and encoding not in self._factories:
            # Not before a message asks for it: a flight recording needs no package of ROS.
            found = package(_MODULES[encoding], extra="mcap", purpose=_PURPOSE)
            self._factories[encoding] = found.DecoderFactory()
        if (factory := self._factories.get(encoding)) is not None:
            try:
                decoder: Callable[[bytes], Any] | None = factory.decoder_for(encoding, schema)
            # The parsers of schemas raise many kinds of errors over the text of whoever wrote it.
            except Exception as error:  # noqa: BLE001
                raise MediaError(
                    f"{self.name}: the schema of {channel.topic} is damaged: {error}"
                ) from None
            if decoder is not None:
                return decoder
        raise MediaError(
            f"{self.name}: {channel.topic} is encoded as {encoding!r}, which cannot"
            " be read; known are: cdr, protobuf, json"
        )

    def _topics(self) -> dict[str, str]:
        reader = package("mcap.reader", extra="mcap", purpose=_PURPOSE)
        try:
            with self._path.open("rb") as file:
                summary = reader.make_reader(file).get_summary()
        except (*self._damage, OSError):
            summary = None
        if summary is not None and summary.channels:
            counts = summary.statistics.channel_message_counts if summary.statistics else {}
            pairs = (
                (summary.schemas.get(channel.schema_id), channel)
                for channel in summary.channels.values()
                if counts.get(channel.id, not counts)
            )
        else:
            read = self._file.records(refuses_damage=True)
            pairs = ((schema, channel) for schema, channel, _ in read)
        return {
            channel.topic: plain_type(schema.name)
            for schema, channel in pairs
            if schema is not None
        }


_UNDECODABLE = (
    ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError, struct.error,
    DecodeError,
)  # fmt: skip
"""What the decoders raise over damaged messages: of JSON, base 64, ROS and protobuf."""


class _JsonDecoders:
    """Decodes messages in JSON, whose bytes are text in base 64."""

    def decoder_for(self, message_encoding: str, _schema: Any) -> Any:  # noqa: ANN401
        return _json if message_encoding == "json" else None


def _json(data: bytes) -> Any:  # noqa: ANN401
    message = json.loads(data, object_hook=lambda fields: SimpleNamespace(**fields))
    if not isinstance(message, SimpleNamespace):
        raise ValueError("it is no object")  # noqa: TRY004 - as of text that is no JSON
    if isinstance(getattr(message, "data", None), str):
        message.data = base64.b64decode(message.data)
    return message
