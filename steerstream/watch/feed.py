"""What one server says, for as long as the page runs; it is asked again where it is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

import grpc

from steerstream.errors import BadRequest
from steerstream.reachability import why_impossible, why_unreachable
from steerstream.transport import Tls, Token, bearer, open_channel
from steerstream.v1 import watch_pb2, watch_pb2_grpc
from steerstream.watch.figures import Figures, ServerFigures

_PAUSE_S = 0.5
"""Between the end of a call and the next one."""
_SILENT_S = 2.0
"""Without a message for so long, a server that sends five a second stands still."""
_ATTEMPT_S = 5.0
_WHY = {
    grpc.StatusCode.UNIMPLEMENTED: "shows nothing at this address: watch that of its "
    "--admin-listen, and start it with one where it has none",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "is watched by others already; end one of them",
}


class Feed:
    """The news of one server.

    Args:
        target: `HOST:PORT`, or any name that gRPC resolves.
        tls: how to encrypt; None for plain text.
        token: says who watches; None where the server does not ask.
        on_news: is called after every change.
        on_gone: is told, once each time, why there is no news.

    Attributes:
        target: as it was given.
        server: the server's last figures; None before the first.
        sessions: the last figures of its sessions.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: Tls | None = None,
        token: Token | None = None,
        on_news: Callable[[], None],
        on_gone: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.target = target
        self.server: Figures | None = None
        self.sessions: list[Figures] = []
        self._token = token
        self._context = None if tls is None else tls.context()
        self._on_news, self._on_gone = on_news, on_gone
        self._channel = open_channel(target, tls=tls, timeout_s=_ATTEMPT_S)
        self._stub = watch_pb2_grpc.WatchServiceStub(self._channel)
        self._figures = ServerFigures()
        self._why = self._told = ""
        self._heard_s = time.monotonic()

    async def run(self) -> None:
        """Listen to the server until this is cancelled."""
        try:
            while True:
                try:
                    await self._listen()
                except grpc.aio.AioRpcError as error:
                    await self._lose(error)
                except BadRequest as error:
                    # The token's file is read for each call, and may be gone by now.
                    self._say_why(f"was not asked: {error}")
                await asyncio.sleep(_PAUSE_S)
        finally:
            await self._channel.close()

    async def session(
        self, session_id: str
    ) -> AsyncGenerator[watch_pb2.WatchSessionResponse, None]:
        """Yield what happens to one session, until it ends.

        Raises:
            AioRpcError: there is no such session, it may not be watched, or the server is gone.
            BadRequest: the token cannot be had at present.
        """
        request = watch_pb2.WatchSessionRequest(session_id=session_id)
        call = self._stub.WatchSession(request, metadata=bearer(self._token))
        try:
            while isinstance(message := await call.read(), watch_pb2.WatchSessionResponse):
                yield message
        finally:
            call.cancel()

    @property
    def is_live(self) -> bool:
        """Whether the server was heard of just now."""
        return self._link == "live"

    def figures(self) -> Figures:
        """Return the server's figures, with whether it is there and since when it is not."""
        return {
            "target": self.target,
            "link": self._link,
            "why": self._why,
            "unheard_ms": round((time.monotonic() - self._heard_s) * 1e3),
            **(self.server or {}),
        }

    @property
    def history(self) -> list[list[float | None]]:
        """The course of the last minute."""
        return list(self._figures.history)

    @property
    def _link(self) -> str:
        if self._why:
            return "gone"
        if self.server is None:
            return "connecting"
        return "silent" if time.monotonic() - self._heard_s > _SILENT_S else "live"

    async def _listen(self) -> None:
        call = self._stub.WatchServer(watch_pb2.WatchServerRequest(), metadata=bearer(self._token))
        try:
            while isinstance(message := await call.read(), watch_pb2.WatchServerResponse):
                self.server, self.sessions = self._figures.take(message)
                self._why = self._told = ""
                self._heard_s = time.monotonic()
                self._on_news()
        finally:
            call.cancel()

    async def _lose(self, error: grpc.aio.AioRpcError) -> None:
        self._why = self._why or "is gone"
        self._on_news()
        code = error.code()
        if code in _WHY:
            self._say_why(_WHY[code])
        elif code is grpc.StatusCode.UNAVAILABLE:
            impossible = why_impossible(self.target)
            self._say_why(impossible or await why_unreachable(self.target, self._context))
        else:
            self._say_why(f"says: {error.details() or code.name}")

    def _say_why(self, why: str) -> None:
        self._why = why
        self._on_news()
        if why != self._told:
            self._told = why
            self._on_gone(f"{self.target} {why}")
