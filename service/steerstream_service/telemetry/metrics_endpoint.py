"""The HTTP endpoint that Prometheus scrapes.

It lives on the event loop and writes one family at a time, so that a scrape never keeps a frame
waiting for longer than one family takes, a fraction of a millisecond.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from steerstream_service.address import Place
from steerstream_service.errors import ListenError
from steerstream_service.telemetry.logs import fields

_log = logging.getLogger(__name__)

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MAX_REQUEST_BYTES = 16 * 1024
_PATIENCE_S = 5.0
"""For a request to come in whole, and for its answer to be taken."""
_MAX_SCRAPES = 8
"""At once: two Prometheus servers and some people."""


class Endpoint:
    """Answers `GET /metrics`.

    Args:
        registry: what is shown.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._server: asyncio.Server | None = None
        self._scrapes: set[asyncio.Task[None]] = set()

    async def start(self, place: Place) -> Place:
        """Listen.

        Returns:
            The place, with the port that was taken.

        Raises:
            ListenError: the address cannot be had.
        """
        try:
            self._server = await asyncio.start_server(
                self._connected, place.host.strip("[]"), place.port, limit=_MAX_REQUEST_BYTES
            )
        except OSError as error:
            raise ListenError(f"cannot serve metrics on {place}: {error.strerror}") from None
        taken = Place(place.host, self._server.sockets[0].getsockname()[1])
        _log.info("metrics", extra=fields(address=str(taken)))
        return taken

    async def stop(self) -> None:
        """Stop listening, and end what is under way."""
        if self._server is not None:
            self._server.close()
        for scrape in self._scrapes:
            scrape.cancel()
        await asyncio.gather(*self._scrapes, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._scrapes) >= _MAX_SCRAPES:
            writer.close()
            return
        scrape = asyncio.create_task(self._answer(reader, writer))
        self._scrapes.add(scrape)
        scrape.add_done_callback(self._scrapes.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._response(head))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # No client of this endpoint is owed more than a closed connection.
            return
        finally:
            writer.close()

    async def _response(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method != b"GET" or path != b"/metrics":
            return _http("404 Not Found", b"GET /metrics\n")
        return _http("200 OK", await self._text())

    async def _text(self) -> bytes:
        parts = []
        for family in self._registry.collect():
            parts.append(generate_latest(_One(family)))
            await asyncio.sleep(0)
        return b"".join(parts)


class _One(Collector):
    """A registry of one family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def _http(status: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {_CONTENT_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
