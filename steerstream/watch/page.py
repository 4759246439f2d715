"""Serves the live page over HTTP: three static files and a stream of events, and nothing else.

What vehicles and servers say is data in JSON, never markup. A browser runs no script but the
page's own file, and a page of another origin, or under another name of this host, gets nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from typing import cast

from aiohttp import web

from steerstream.errors import SteerstreamError
from steerstream.watch.hub import Hub, TooManyViewersError
from steerstream.watch.place import Place, is_ip

_FILES = {
    "/": ("watch.html", "text/html"),
    "/watch.css": ("watch.css", "text/css"),
    "/watch.js": ("watch.js", "text/javascript"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_MOST_CONNECTIONS = 64
"""Four for each page."""
_PATIENCE_S = 10.0
"""For a part of the events to be taken."""
_LONGEST_NAME = 128

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class CannotListenError(SteerstreamError):
    """The page has no address."""


@contextlib.asynccontextmanager
async def serve(hub: Hub, place: Place) -> AsyncIterator[Place]:
    """Serve the page for the time of a block.

    Args:
        hub: what it shows.
        place: where.

    Yields:
        The place, with the port that was taken.

    Raises:
        CannotListenError: the address cannot be had.
    """
    runner = web.AppRunner(
        _application(hub, place.host), access_log=None, shutdown_timeout=1.0, keepalive_timeout=15.0
    )
    await runner.setup()
    try:
        connection = _bounded(cast("web.Server", runner.server))
        try:
            listener = await asyncio.get_running_loop().create_server(connection, *place)
        except OSError as error:
            reason = error.strerror or str(error)
            raise CannotListenError(
                f"cannot listen on {place.host}:{place.port}: {reason}; choose another --listen"
            ) from error
        try:
            yield Place(place.host, listener.sockets[0].getsockname()[1])
        finally:
            listener.close()
    finally:
        await runner.cleanup()


def _bounded(server: web.Server) -> Callable[[], asyncio.Protocol]:
    """Return what makes the protocol of a new connection, as long as there are not too many."""
    return lambda: server() if len(server.connections) < _MOST_CONNECTIONS else _HangUp()


class _HangUp(asyncio.Protocol):
    """Ends a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _application(hub: Hub, host: str) -> web.Application:
    names = {"localhost", host.lower(), socket.gethostname().lower()}
    files = resources.files("steerstream.watch") / "static"

    @web.middleware
    async def guarded(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if not _is_ours(request, names):
            return web.Response(
                status=421, text=f"this page answers to an IP address or to {sorted(names)}\n"
            )
        return await handler(request)

    async def stream(request: web.Request) -> web.StreamResponse:
        return await _stream(request, hub)

    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_HEADERS)

    application = web.Application(middlewares=[guarded])
    application.on_response_prepare.append(add_headers)
    application.router.add_get("/events", stream)
    for path, (name, kind) in _FILES.items():
        application.router.add_get(path, _static((files / name).read_text(), kind))
    return application


def _static(text: str, content_type: str) -> _Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type=content_type, charset="utf-8")

    return answer


async def _stream(request: web.Request, hub: Hub) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    try:
        await response.write(b"retry: 1000\n\n")
        with hub.viewer(request.query.get("vehicle", "")[:_LONGEST_NAME]) as viewer:
            async for part in viewer.events():
                # A page that takes nothing for so long leaves its place to another.
                async with asyncio.timeout(_PATIENCE_S):
                    await response.write(part)
    except TooManyViewersError as error:
        # As an event, so that the browser comes back by itself.
        await response.write(f"retry: 5000\nevent: full\ndata: {error}\n\n".encode())
    except (TimeoutError, ConnectionError):
        pass
    return response


def _is_ours(request: web.Request, names: set[str]) -> bool:
    """Return whether a request was meant for this page.

    A page elsewhere can give its own name this machine's address, and then read all that is here
    (DNS rebinding); the name then stands in `Host`. It cannot do so with an IP address.
    """
    # A link from elsewhere may lead here, but a script may not.
    is_from_elsewhere = request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}
    if is_from_elsewhere and request.headers.get("Sec-Fetch-Mode") != "navigate":
        return False
    host = request.headers.get("Host", "").lower()
    name = re.sub(r":[0-9]*$", "", host).strip("[]")
    return name in names or is_ip(name)
