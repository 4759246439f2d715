"""The sum of all bounds: how many bytes clients can make a server hold, whatever they do.

Each row is a number of things and the most that one of them takes. What gRPC, Python and the
allocator take for a thing was measured and rounded up. A test attacks a real server with small
bounds and holds its resident memory to the sum (`tests/benchmark/attacks/test_memory_bound.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from steerstream.warp import MAX_TABLE_BYTES
from steerstream_bundle.contract import Contract
from steerstream_service.config import Config
from steerstream_service.process.memory import needed_bytes
from steerstream_service.session.answers import REMEMBERED_ANSWERS
from steerstream_service.session.ticket import ticket_bytes
from steerstream_service.transport.call_bounds import MOST_REQUESTS
from steerstream_service.transport.watch_service import MOST_WATCHERS

CALLS = 64
"""Open calls of each other method, such as health; and streams beyond twice the sessions."""
OTHER_METHODS = 13
"""DescribeModels, three of Health, both reflections, two to watch, five of the ModelsService."""
HEADER_BYTES = 16_384
"""Headers of one call, all together: a token or a certificate's name has room, a book has not."""
ENDING_CALLS = CALLS // 2
"""Calls of one connection that have ended, but not yet for gRPC, before it refuses new ones."""
LINES = 3
"""In which calls wait until the event loop has seen them: Drive's, that of probes, and another."""
_LINE_CONNECTIONS = 2
"""Connections that fill a line. gRPC ends what comes beyond with CANCELLED and without a reason, so
one that cancels its calls as fast as it begins them must not get there."""

_CONNECTION_BYTES = 64 * 1024
_CALL_BYTES = 64 * 1024
_SESSION_BYTES = 128 * 1024
_ANSWER_BYTES = 2 * 1024
_MODEL_FRAMES = 3
"""Frames of a session with the decoder, ready, and with the engine."""
_COPIES = 3
"""Of a message while it is read, one at a time: gRPC's, Python's, and the parsed one."""
_DECODED_BYTES = 9
"""For each pixel: red, green and blue, and twice as much in libjpeg for a progressive picture."""
_LOG_LINES, _LOG_LINE_BYTES = 4096, 2 * 1024
_REMEMBERED, _REMEMBERED_BYTES = 31_000, 512
"""Refused vehicles, paces of connections for each kind of call, and vehicles that come and go."""
_MB = 1e6


def drives(config: Config) -> int:
    """Return the streams that may be open: those that are refused are told why, and not by gRPC."""
    return 2 * config.max_sessions + CALLS


def streams(config: Config) -> int:
    """Return the streams of one connection.

    A proxy's may have all vehicles and some probes, and no more than the event loop takes in a
    tenth of a second: for so long one fills a line, and calls of others wait in it.
    """
    return drives(config) + CALLS // 2


def pending_calls(config: Config) -> int:
    """Return the calls that gRPC may hold in each line before the event loop has seen them.

    Those that were cancelled there count, as gRPC cannot take them out.
    """
    return _LINE_CONNECTIONS * (streams(config) + ENDING_CALLS)


class Row(NamedTuple):
    """Things that are bounded.

    Attributes:
        what: they are.
        setting: what sets the bound; empty for a constant.
        most: how many there are at most.
        each_bytes: what one takes at most.
    """

    what: str
    setting: str
    most: int
    each_bytes: int

    @property
    def bytes(self) -> int:
        """What all of them take."""
        return self.most * self.each_bytes


def always(config: Config, contracts: Sequence[Contract]) -> list[Row]:
    """Return what a server may hold however many clients there are."""
    state = sum(needed_bytes(contract, config) for contract in contracts)
    pixels = config.max_pixels
    return [
        Row("state rows and batches", "max_sessions, max_batch", 1, state),
        # One more than there are threads: of those that operators look at, one at a time.
        Row("pictures with a decoder", "decode_threads, max_pixels", config.decode_threads + 1,
            _DECODED_BYTES * pixels),
        Row("pictures that operators look at", "max_message_bytes", MOST_WATCHERS,
            config.max_message_bytes),
        Row("the message that is read", "max_message_bytes", _COPIES, config.max_message_bytes),
        Row("maps of described cameras", "", 1, MAX_TABLE_BYTES),
        Row("lines for the log", "", _LOG_LINES, _LOG_LINE_BYTES),
        Row("what is remembered of clients", "", _REMEMBERED, _REMEMBERED_BYTES),
    ]  # fmt: skip


def before_open(config: Config, connections: int) -> list[Row]:
    """Return what connections may hold without a session."""
    call = _CALL_BYTES + HEADER_BYTES + config.stream_window_bytes
    some = min(1, connections)
    return [
        Row("connections", "max_connections", connections, _CONNECTION_BYTES),
        Row("calls that the event loop has not seen", "max_sessions, stream_window_bytes",
            some * LINES * pending_calls(config), call),
        Row("streams without a session", "max_sessions", some * drives(config),
            call + config.max_message_bytes),
        Row("calls of other methods", "stream_window_bytes", some * OTHER_METHODS * CALLS, call),
        Row("requests of those on their way", "max_message_bytes", some * MOST_REQUESTS,
            config.max_message_bytes),
    ]  # fmt: skip


def after_open(config: Config, contracts: Sequence[Contract], *, every: bool) -> list[Row]:
    """Return what all sessions may hold, beyond their streams.

    Args:
        config: the settings.
        contracts: of the served models.
        every: under EVERY, or while frames are played again; else under LATEST.
    """
    sessions = config.max_sessions
    waiting = config.max_waiting_frames if every else 1
    tickets = 2 + config.max_unsent_answers // max(1, config.ticket_every_frames)
    ticket = max(ticket_bytes(contract) for contract in contracts)
    return [
        Row("sessions", "max_sessions", sessions, _SESSION_BYTES),
        Row("frames that wait", "max_waiting_frames" if every else "", sessions * waiting,
            config.max_message_bytes),
        Row("frames in work", "", sessions * _MODEL_FRAMES, config.max_message_bytes),
        Row("answers, unsent and remembered", "max_unsent_answers",
            sessions * (config.max_unsent_answers + REMEMBERED_ANSWERS), _ANSWER_BYTES),
        Row("tickets, unsent", "ticket_every_frames",
            sessions * tickets * bool(config.ticket_every_frames), ticket),
    ]  # fmt: skip


def total_bytes(config: Config, contracts: Sequence[Contract], connections: int) -> int:
    """Return how many bytes one server can be made to hold, beyond what it takes at its start.

    Args:
        config: the settings.
        contracts: of the served models.
        connections: how many there are.
    """
    rows = [*always(config, contracts), *before_open(config, connections)]
    if connections:
        rows += after_open(config, contracts, every=True)
    return sum(row.bytes for row in rows)


def explain(config: Config, contracts: Sequence[Contract], workers: int = 1) -> str:
    """Return all bounds and their sums as a Markdown table.

    Args:
        config: the settings.
        contracts: of the served models.
        workers: how many servers there are, each with these bounds.
    """
    return "\n".join(_lines(config, contracts, workers))


def _lines(config: Config, contracts: Sequence[Contract], workers: int) -> Iterator[str]:
    yield "| what a server can be made to hold | setting | at most | bytes each | MB |"
    yield "| --- | --- | ---: | ---: | ---: |"
    fixed = always(config, contracts)
    before = before_open(config, config.max_connections)
    latest = after_open(config, contracts, every=False)
    every = after_open(config, contracts, every=True)
    sums = [sum(row.bytes for row in rows) for rows in (fixed, before, latest, every)]
    yield from map(_line, fixed)
    yield _sum("**however many clients there are**", sums[0])
    yield from map(_line, before)
    yield _sum(f"**before `open`, {config.max_connections:,} connections**", sums[1])
    yield from map(_line, latest)
    yield _sum("**after `open`, under LATEST, besides**", sums[2])
    yield from map(_line, every)
    yield _sum("**after `open`, under EVERY or played again, besides**", sums[3])
    one, none = sum((*sums[:2], sums[3])), total_bytes(config, contracts, 1)
    yield _sum("**in all, one connection**", none)
    yield _sum(f"**in all, {config.max_connections:,} connections**", one)
    yield _sum(f"**of {workers} worker{'s' * (workers > 1)}**", workers * one)


def _line(row: Row) -> str:
    setting = ", ".join(f"`{name}`" for name in row.setting.split(", ") if name)
    return (
        f"| {row.what} | {setting} | {row.most:,} | {row.each_bytes:,} | {row.bytes / _MB:,.1f} |"
    )


def _sum(what: str, size: int) -> str:
    return f"| {what} | | | | **{size / _MB:,.1f}** |"
