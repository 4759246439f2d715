"""Shares out what servers say among the pages that are open, so that each is asked once.

A page that takes its events slowly misses some; it never makes another page, or the server, wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import grpc

from steerstream.errors import BadRequest, SteerstreamError
from steerstream.transport import Tls, Token, check_token
from steerstream.v1 import watch_pb2
from steerstream.watch.feed import Feed
from steerstream.watch.figures import answer_figures, description_figures, picture_figures

MOST_VIEWERS = 16
"""Pages at once."""
MOST_CLOSEUPS = 4
"""Vehicles that are watched in full at once, as many as a server allows."""
_EVERY_S = 0.2
_BEATS = 5
"""An event at least after so many times, so that a page knows that it still hears."""
_KEPT_EVENTS = 32
"""For a page that stands still for three seconds."""
_LOOK_AGAIN_S = 0.3


class TooManyViewersError(SteerstreamError):
    """So many pages are open that no other one is served."""


class Viewer:
    """One open page.

    Args:
        vehicle_id: the vehicle that it shows in full; empty for none.
    """

    def __init__(self, vehicle_id: str) -> None:
        self.vehicle_id = vehicle_id
        self._news = asyncio.Event()
        self._state = b""
        self._picture = b""
        self._events: deque[bytes] = deque(maxlen=_KEPT_EVENTS)

    def tell(self, event: bytes) -> None:
        """Queue an event; the oldest one makes room where there is none."""
        self._events.append(event)
        self._news.set()

    def show(self, *, state: bytes = b"", picture: bytes = b"") -> None:
        """Replace what is not sent yet by something newer."""
        self._state = state or self._state
        self._picture = picture or self._picture
        self._news.set()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield what there is to send, whenever there is something."""
        while True:
            await self._news.wait()
            self._news.clear()
            waiting = [*self._events, self._state, self._picture]
            self._events.clear()
            self._state = self._picture = b""
            yield b"".join(waiting)


class Closeup:
    """One vehicle in full, wherever it is served, for all pages that show it.

    Args:
        vehicle_id: the vehicle.
        feeds: the servers where it may be.
        viewers: returns those who look at it.
    """

    def __init__(
        self, vehicle_id: str, feeds: Sequence[Feed], viewers: Callable[[], Iterator[Viewer]]
    ) -> None:
        self._vehicle_id = vehicle_id
        self._feeds = feeds
        self._viewers = viewers
        self.about = b""
        """The event that says where the vehicle is, for a page that comes later."""

    async def run(self) -> None:
        """Follow the vehicle from session to session, until this is cancelled."""
        while True:
            found = self._newest_session()
            if found is None:
                self._say("away")
            else:
                try:
                    await self._follow(*found)
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.UNAVAILABLE:
                        self._say("ended", by="the server is gone")
                    elif error.code() is not grpc.StatusCode.NOT_FOUND:
                        self._say("lost", why=error.details() or error.code().name)
                except BadRequest as error:
                    # The token's file is read for each call, and may be gone by now.
                    self._say("lost", why=str(error))
            await asyncio.sleep(_LOOK_AGAIN_S)

    def _newest_session(self) -> tuple[Feed, str] | None:
        found = [
            (session["open_ms"], session["session"], feed)
            for feed in self._feeds
            if feed.is_live
            for session in feed.sessions
            if session["vehicle"] == self._vehicle_id
        ]
        if not found:
            return None
        _, session_id, feed = min(found, key=lambda item: item[0])
        return feed, session_id

    async def _follow(self, feed: Feed, session_id: str) -> None:
        async with contextlib.aclosing(feed.session(session_id)) as messages:
            async for message in messages:
                if message.HasField("description"):
                    about = description_figures(message.description)
                    self._say("here", target=feed.target, session=session_id, **about)
                self._tell(message)

    def _tell(self, message: watch_pb2.WatchSessionResponse) -> None:
        answers = [
            answer_figures(answer)
            for answer in message.answers
            if answer.HasField("command") or answer.HasField("skipped")
        ]
        if answers:
            event = _event("answers", answers)
            for viewer in self._viewers():
                viewer.tell(event)
        if message.HasField("picture"):
            picture = _event("picture", picture_figures(message.picture))
            for viewer in self._viewers():
                viewer.show(picture=picture)
        if message.ended_by:
            self._say("ended", by=message.ended_by)

    def _say(self, state: str, **about: Any) -> None:  # noqa: ANN401 - values of JSON
        event = _event("vehicle", {"vehicle": self._vehicle_id, "state": state, **about})
        if event != self.about:
            self.about = event
            for viewer in self._viewers():
                viewer.tell(event)


class Hub:
    """Feeds of servers, and the pages that show them.

    Args:
        targets: the servers.
        tls: how to encrypt; None for plain text.
        token: says who watches; None where the servers do not ask.
        on_gone: is told of each server that says nothing, and why.

    Raises:
        BadRequest: the files of TLS or the token cannot be used.
    """

    def __init__(
        self,
        targets: Sequence[str],
        *,
        tls: Tls | None = None,
        token: Token | None = None,
        on_gone: Callable[[str], object] = lambda _: None,
    ) -> None:
        check_token(token, targets, is_encrypted=tls is not None)
        self._is_changed = True
        self._feeds = [
            Feed(name, tls=tls, token=token, on_news=self._note_change, on_gone=on_gone)
            for name in targets
        ]
        self._viewers: set[Viewer] = set()
        self._closeups: dict[str, tuple[Closeup, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Listen to the servers and tell the pages, until this is cancelled."""
        async with asyncio.TaskGroup() as group:
            for feed in self._feeds:
                group.create_task(feed.run())
            group.create_task(self._show_state())

    @contextlib.contextmanager
    def viewer(self, vehicle_id: str) -> Iterator[Viewer]:
        """Serve one page for as long as it is open.

        Args:
            vehicle_id: the vehicle that it shows in full; empty for none.

        Raises:
            TooManyViewersError: there are enough.
        """
        if len(self._viewers) >= MOST_VIEWERS:
            raise TooManyViewersError(
                f"{MOST_VIEWERS} pages are open, and no more are served; close one"
            )
        viewer = Viewer(vehicle_id)
        viewer.tell(_event("history", {feed.target: feed.history for feed in self._feeds}))
        viewer.show(state=self._state())
        self._viewers.add(viewer)
        try:
            if vehicle_id:
                self._begin_closeup(viewer)
            yield viewer
        finally:
            self._viewers.remove(viewer)
            if vehicle_id in self._closeups and not any(self._viewers_of(vehicle_id)):
                _, task = self._closeups.pop(vehicle_id)
                task.cancel()

    def _begin_closeup(self, viewer: Viewer) -> None:
        name = viewer.vehicle_id
        if name in self._closeups:
            viewer.tell(self._closeups[name][0].about)
        elif len(self._closeups) < MOST_CLOSEUPS:
            closeup = Closeup(name, self._feeds, lambda: self._viewers_of(name))
            self._closeups[name] = closeup, asyncio.create_task(closeup.run())
        else:
            why = f"other pages show {MOST_CLOSEUPS} vehicles already; close one"
            viewer.tell(_event("vehicle", {"vehicle": name, "state": "lost", "why": why}))

    async def _show_state(self) -> None:
        beat = 0
        while True:
            await asyncio.sleep(_EVERY_S)
            beat += 1
            if self._viewers and (self._is_changed or beat >= _BEATS):
                beat, self._is_changed = 0, False
                state = self._state()
                for viewer in self._viewers:
                    viewer.show(state=state)

    def _state(self) -> bytes:
        sessions = [
            {"target": feed.target, "is_live": feed.is_live, **session}
            for feed in self._feeds
            for session in feed.sessions
        ]
        servers = [feed.figures() for feed in self._feeds]
        return _event("state", {"servers": servers, "sessions": sessions})

    def _note_change(self) -> None:
        self._is_changed = True

    def _viewers_of(self, vehicle_id: str) -> Iterator[Viewer]:
        return (viewer for viewer in self._viewers if viewer.vehicle_id == vehicle_id)


def _event(name: str, data: object) -> bytes:
    """Return a server-sent event; JSON has no line breaks outside of its strings, nor in them."""
    return f"event: {name}\ndata: {json.dumps(data, allow_nan=False)}\n\n".encode()
