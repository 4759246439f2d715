"""The HTTP endpoint that Prometheus scrapes, on threads beside the event loop.

Scraped ten times a second, it delays frames no more than an endpoint in the event loop does.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
from typing import TypeAlias
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from steerstream_service.address import Place
from steerstream_service.errors import ListenError
from steerstream_service.telemetry.logs import fields

_Request: TypeAlias = socket.socket | tuple[bytes, socket.socket]

_log = logging.getLogger(__name__)

_MAX_SCRAPES = 8
"""At once: two Prometheus servers and some people. Others find the connection closed."""
_PATIENCE_S = 5.0
"""Longest wait for the next part of a request, and until a part of the answer is taken."""
_POLL_S = 0.1
"""Longest time until the endpoint notices that it is to stop."""


class Endpoint:
    """Serves a registry to Prometheus.

    Args:
        registry: what is shown.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._server: _Server | None = None

    def start(self, place: Place) -> Place:
        """Listen, and answer from now on.

        Returns:
            The place, with the port that was taken.

        Raises:
            ListenError: the address cannot be had.
        """
        try:
            self._server = _Server(place)
        except OSError as error:
            raise ListenError(f"cannot serve metrics on {place}: {error.strerror}") from None
        self._server.set_app(make_wsgi_app(self._registry))
        threading.Thread(
            target=self._server.serve_forever, args=[_POLL_S], name="metrics", daemon=True
        ).start()
        taken = Place(place.host, self._server.server_port)
        _log.info("metrics", extra=fields(address=str(taken)))
        return taken

    def stop(self) -> None:
        """Stop listening; blocks for a moment, but not until answers under way are taken."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Log nothing: standard error is for JSON lines."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """One thread for each scrape, of which there are few at once."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, place: Place) -> None:
        host = place.host.strip("[]")
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = threading.Semaphore(_MAX_SCRAPES)
        super().__init__((host, place.port), _Handler)

    def server_bind(self) -> None:
        """Bind without the base's look-up of the host's name, which may ask a name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: _Request, client_address: object) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: _Request, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: _Request, client_address: object) -> None:
        """Say nothing: no client of this endpoint is owed more than a closed connection."""
