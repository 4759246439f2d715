"""The part of a drive session at one server."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from steerstream.answers import FrameAnswer
from steerstream.errors import SessionEnded, SessionLost, SteerstreamError
from steerstream.session import Session


class Connection(Protocol):
    """The client of one leg, which has no other session."""

    async def aclose(self) -> None:
        """Close its session and the connection."""


Open = Callable[[str, bytes | None], Coroutine[Any, Any, tuple[Connection, Session]]]
"""Connects to a server and opens a session there, with a ticket or without one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Lap:
    """A part of catching up, after which is seen how many frames came in that time.

    Attributes:
        frames: how many unanswered ones are played again in it.
        until: the place of the last of them.
        newest: the place of the newest frame when it began.
    """

    frames: int = 0
    until: int = -1
    newest: int = -1


@dataclasses.dataclass(slots=True, eq=False)
class Leg:
    """The session at one server.

    Attributes:
        target: the server.
        client: the connection.
        session: the stream.
        with_state: whether it goes on with the state that the vehicle's session had.
        losses: of the kept frames, when it was opened.
        cursor: the last of the kept frames that was sent to it.
        lap: of its catching up.
        newest: number of the last frame that was sent to it.
        catches_up_to: number of the frame whose answer ends its catching up; None before all that
            it had to catch up with was sent.
        early: its answers before it took the place of the leg before.
        changed: set when an answer came, or the leg ended.
        wake: set when there is a frame to send.
    """

    target: str
    client: Connection
    session: Session
    with_state: bool
    losses: int
    cursor: int = -1
    lap: Lap = Lap()
    newest: int | None = None
    catches_up_to: int | None = None
    is_leaving: bool = False
    is_over: bool = False
    error: SessionEnded | None = None
    early: dict[int, FrameAnswer] = dataclasses.field(default_factory=dict)
    changed: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    wake: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = dataclasses.field(default_factory=list)

    async def close(self, *, is_clean: bool) -> None:
        """End it; its answers are read until the end where that is clean, and then thrown away."""
        with contextlib.suppress(SteerstreamError):
            if not is_clean:
                await self.session.__aexit__(SessionLost, None, None)
            await self.client.aclose()
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
