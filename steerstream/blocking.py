"""The client without `async`: the same calls, run by an event loop on a thread of its own.

```python
with steerstream.blocking.connect("localhost:50051") as client:
    with client.open_session(vehicle_id="car-7") as session:
        answer = session.request(jpeg)
```
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from steerstream import client as async_client
from steerstream import session as async_session
from steerstream.answers import Answer, Command, Draining, Shedding, TicketIssued
from steerstream.guard import Guard, SafeCommand
from steerstream.models import SessionInfo

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Wrapped = TypeVar("_Wrapped")


class _LoopThread:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="steerstream", daemon=True
        )
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine on the thread and wait for its result."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C in the waiting thread must not leave the call behind.
            future.cancel()
            raise

    def call(self, function: Callable[[], _T]) -> _T:
        """Call a function on the thread, where the session's state belongs."""

        async def called() -> _T:
            return function()

        return self.run(called())

    def stop(self) -> None:
        """End the thread."""
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Wrapper(Protocol[_Wrapped]):
    """An object with its asynchronous twin and the thread that runs it."""

    _twin: _Wrapped
    _thread: _LoopThread


def _blocking(
    method: Callable[Concatenate[_Wrapped, _P], Awaitable[_T]],
) -> Callable[Concatenate[_Wrapper[_Wrapped], _P], _T]:
    """Return a method that waits for the result of its asynchronous twin."""

    @functools.wraps(method)
    def wait(self: _Wrapper[_Wrapped], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        async def called() -> _T:
            return await method(self._twin, *args, **kwargs)

        return self._thread.run(called())

    return wait


def _connecting(
    function: Callable[_P, async_client.Client],
) -> Callable[_P, Client]:
    @functools.wraps(function)
    def make(*args: _P.args, **kwargs: _P.kwargs) -> Client:
        return Client(function(*args, **kwargs))

    return make


def _opening(
    method: Callable[
        Concatenate[async_client.Client, _P], AbstractAsyncContextManager[async_session.Session]
    ],
) -> Callable[Concatenate[Client, _P], OpenSession]:
    @functools.wraps(method)
    def make(self: Client, /, *args: _P.args, **kwargs: _P.kwargs) -> OpenSession:
        return OpenSession(method(self._twin, *args, **kwargs), self._thread)

    return make


class Session:
    """One vehicle's stream; see `steerstream.Session`."""

    def __init__(self, twin: async_session.Session, thread: _LoopThread) -> None:
        self._twin = twin
        self._thread = thread

    def __iter__(self) -> Iterator[Answer]:
        """Yield commands, skips and notices until the stream ends."""
        while (answer := self._thread.run(self._next())) is not None:
            yield answer

    send_frame = _blocking(async_session.Session.send_frame)
    request = _blocking(async_session.Session.request)
    reset = _blocking(async_session.Session.reset)
    finish = _blocking(async_session.Session.finish)

    @property
    def info(self) -> SessionInfo:
        """What the server granted."""
        return self._twin.info

    @property
    def guard(self) -> Guard:
        """Judges every answer before the vehicle follows it."""
        return self._twin.guard

    @property
    def ticket(self) -> TicketIssued | None:
        """The newest ticket, or None."""
        return self._twin.ticket

    @property
    def draining(self) -> Draining | None:
        """The server's notice that it is about to stop, or None."""
        return self._twin.draining

    @property
    def shedding(self) -> Shedding | None:
        """The server's notice that it lets this session go, or None."""
        return self._twin.shedding

    @property
    def frames_in_flight(self) -> int:
        """Frames without an answer yet."""
        return self._twin.frames_in_flight

    @property
    def dropped_answers(self) -> int:
        """Answers that were dropped because nobody read them; only under LATEST."""
        return self._twin.dropped_answers

    def safe_command(self) -> SafeCommand:
        """Return what the vehicle may do now, by the guard."""
        return self._thread.call(self._twin.safe_command)

    def latest_command(self, *, max_age_ms: float) -> Command | None:
        """See `steerstream.Session.latest_command`."""
        return self._thread.call(lambda: self._twin.latest_command(max_age_ms=max_age_ms))

    async def _next(self) -> Answer | None:
        return await anext(self._twin, None)


class _Broken(Exception):  # noqa: N818
    """Stands in for the caller's exception, which may be one that would end the event loop."""


class OpenSession:
    """A session for the time of a `with` block; `Client.open_session` makes it."""

    def __init__(
        self, twin: AbstractAsyncContextManager[async_session.Session], thread: _LoopThread
    ) -> None:
        self._twin = twin
        self._thread = thread

    def __enter__(self) -> Session:
        return Session(self._thread.run(self._enter()), self._thread)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.run(self._exit(None if exc is None else _Broken()))

    async def _enter(self) -> async_session.Session:
        return await self._twin.__aenter__()

    async def _exit(self, broken: _Broken | None) -> None:
        with contextlib.suppress(_Broken):
            await self._twin.__aexit__(type(broken) if broken else None, broken, None)


class Client:
    """A connection to one server; `connect` makes it. See `steerstream.Client`."""

    def __init__(self, twin: async_client.Client) -> None:
        self._twin = twin

    def __enter__(self) -> Self:
        self._thread = _LoopThread()
        try:
            self._thread.run(self._twin.__aenter__())
        except BaseException:
            self._thread.stop()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._thread.run(self._twin.aclose())
        finally:
            self._thread.stop()

    describe_models = _blocking(async_client.Client.describe_models)
    open_session = _opening(async_client.Client.open_session)


connect = _connecting(async_client.connect)
