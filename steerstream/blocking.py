"""The client without `async`: the same calls, run by an event loop in a thread.

```python
with steerstream.blocking.connect("localhost:50051") as client:
    with client.open_session(vehicle_id="car-7") as session:
        answer = session.request(jpeg)
```

`connect` and `open_session` act at once; without `with`, the caller calls `close`. Any
thread may call anything at any time: what waits when the client is closed raises. In callbacks such
as `on_change`, which run in the client's own thread, only calls that need not wait are allowed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

from steerstream import client as async_client
from steerstream import drive_session as async_drive_session
from steerstream import session as async_session
from steerstream.answers import Answer, Command, Draining, Shedding, TicketIssued
from steerstream.errors import SessionClosed, SteerstreamError
from steerstream.guard import Guard, SafeCommand
from steerstream.hand_over import DriveState, SessionChange
from steerstream.models import SessionInfo

_LEFT_OVER_S = 1.0
"""How long what is left in the loop of a closed client may take before it is cancelled."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Wrapped_co = TypeVar("_Wrapped_co", covariant=True)


class _LoopThread:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._process_id = os.getpid()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="steerstream", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine in the thread and wait for its result.

        Raises:
            SessionClosed: the client is closed, or was closed while this waited.
            SteerstreamError: this process is a fork of the one that made the client, or the caller
                is a callback in the thread itself, which would wait for itself for ever.
        """
        if self._is_forked:
            coroutine.close()
            raise _forked()
        if self._is_current:
            coroutine.close()
            raise _in_callback()
        with self._lock:
            if self._is_stopped:
                coroutine.close()
                raise _closed()
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise _closed() from None
        except BaseException:
            # Ctrl-C in the waiting thread must not leave the call behind.
            future.cancel()
            raise

    def call(self, function: Callable[[], _T]) -> _T:
        """Call a function in the thread, where the session's state belongs."""
        if self._is_current:
            return function()

        async def called() -> _T:
            return function()

        return self.run(called())

    def stop(self) -> None:
        """Cancel what still waits, and end the thread. Calling it again does nothing."""
        if self._is_forked:
            raise _forked()
        if self._is_current:
            raise _in_callback()
        with self._lock:
            if not self._is_stopped:
                self._is_stopped = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def _is_forked(self) -> bool:
        """Whether this process has no such thread, because `os.fork` does not copy it."""
        return os.getpid() != self._process_id

    @property
    def _is_current(self) -> bool:
        """Whether this is called in the thread itself, by a callback such as `on_change`."""
        return threading.current_thread() is self._thread

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_forever()
            self._loop.run_until_complete(_end_all())


async def _end_all() -> None:
    """Wait until every other task of the loop and their threads have ended.

    Those of gRPC do so by themselves, once the connection is closed. Where one is cancelled
    instead, its event may come after the loop is closed: then gRPC, which has one queue for all
    loops of a process, fails in the loop of another client.
    """
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, others = await asyncio.wait(others, timeout=_LEFT_OVER_S)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()


def _closed() -> SessionClosed:
    return SessionClosed("the client is closed; connect() makes another one")


def _forked() -> SteerstreamError:
    return SteerstreamError(
        "the client belongs to the process that made it, and os.fork() does not copy its thread; "
        "connect in the child, and start it by multiprocessing's 'spawn'"
    )


def _in_callback() -> SteerstreamError:
    return SteerstreamError(
        "this call waits for the client's thread, and on_change and other callbacks run in that "
        "thread: there use safe_command() and the attributes alone, and make other calls in "
        "another thread, for example by a queue.SimpleQueue"
    )


class _Wrapper(Protocol[_Wrapped_co]):
    """An object with its asynchronous twin and the thread that runs it."""

    @property
    def _twin(self) -> _Wrapped_co: ...

    @property
    def _thread(self) -> _LoopThread: ...


def _blocking(
    method: Callable[Concatenate[_Wrapped_co, _P], Awaitable[_T]],
) -> Callable[Concatenate[_Wrapper[_Wrapped_co], _P], _T]:
    """Return a method that waits for the result of its asynchronous twin."""

    @functools.wraps(method)
    def wait(self: _Wrapper[_Wrapped_co], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        async def called() -> _T:
            return await method(self._twin, *args, **kwargs)

        return self._thread.run(called())

    return wait


def _connecting(function: Callable[_P, async_client.Client]) -> Callable[_P, Client]:
    @functools.wraps(function)
    def make(*args: _P.args, **kwargs: _P.kwargs) -> Client:
        return Client(function(*args, **kwargs))

    return make


def _opening(
    method: Callable[
        Concatenate[async_client.Client, _P], async_client.SessionOpening[async_session.Session]
    ],
) -> Callable[Concatenate[Client, _P], Session]:
    @functools.wraps(method)
    def make(self: Client, /, *args: _P.args, **kwargs: _P.kwargs) -> Session:
        async def opened() -> async_session.Session:
            return await method(self._twin, *args, **kwargs)

        return Session(self._thread.run(opened()), self._thread)

    return make


def _drive_opening(
    method: Callable[
        Concatenate[async_client.Client, _P],
        async_client.SessionOpening[async_drive_session.DriveSession],
    ],
) -> Callable[Concatenate[Client, _P], DriveSession]:
    @functools.wraps(method)
    def make(self: Client, /, *args: _P.args, **kwargs: _P.kwargs) -> DriveSession:
        async def opened() -> async_drive_session.DriveSession:
            return await method(self._twin, *args, **kwargs)

        return DriveSession(self._thread.run(opened()), self._thread)

    return make


_Twin = TypeVar("_Twin", bound=async_session.VehicleSession)


class _AnySession(Generic[_Twin]):
    """What sessions of both kinds share. A context manager."""

    def __init__(self, twin: _Twin, thread: _LoopThread) -> None:
        self._twin = twin
        self._thread = thread

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The exception itself stays here: KeyboardInterrupt would end the event loop.
        broken = None if exc_type is None else Exception
        with contextlib.suppress(SessionClosed):
            self._thread.run(self._twin.__aexit__(broken, None, None))

    def __iter__(self) -> Iterator[Answer]:
        """Yield commands, skips and notices until the stream ends."""
        while (answer := self._thread.run(self._next())) is not None:
            yield answer

    send_frame = _blocking(async_session.VehicleSession.send_frame)
    request = _blocking(async_session.VehicleSession.request)

    def close(self) -> None:
        """End the session; see `aclose` of its twin."""
        self.__exit__(None, None, None)

    @property
    def info(self) -> SessionInfo:
        """The terms that the server granted."""
        return self._twin.info

    @property
    def guard(self) -> Guard:
        """Judges every answer before the vehicle follows it."""
        return self._twin.guard

    @property
    def frames_in_flight(self) -> int:
        """Frames without an answer yet."""
        return self._twin.frames_in_flight

    @property
    def welcome_in_s(self) -> float:
        """Seconds until the next frame is welcome to a full server; 0 where it asks for no pace."""
        return self._twin.welcome_in_s

    @property
    def sent_bytes(self) -> int:
        """Bytes of all frames that were sent, those that were played again included."""
        return self._twin.sent_bytes

    @property
    def dropped_answers(self) -> int:
        """Answers that were dropped because nobody read them; only under LATEST."""
        return self._twin.dropped_answers

    def safe_command(self) -> SafeCommand:
        """Return what the vehicle may do now, by the guard; RELEASE once it is closed."""
        try:
            return self._thread.call(self._twin.safe_command)
        except SessionClosed:
            # The client is closed, and its thread has ended.
            return self.guard.release_closed()

    def finish(self) -> None:
        """Say that no more frames follow; the iterator ends after the last answer.

        Once the session or its client is closed it does nothing.
        """
        with contextlib.suppress(SessionClosed):
            self._thread.run(self._twin.finish())

    async def _next(self) -> Answer | None:
        return await anext(self._twin, None)


class Session(_AnySession[async_session.Session]):
    """One vehicle's stream; see `steerstream.Session`. A context manager."""

    send_encoded = _blocking(async_session.Session.send_encoded)
    send_resets = _blocking(async_session.Session.send_resets)
    until_welcome = _blocking(async_session.Session.until_welcome)
    reset = _blocking(async_session.Session.reset)

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

    def latest_command(self, *, max_age_ms: float) -> Command | None:
        """See `steerstream.Session.latest_command`."""
        return self._thread.call(lambda: self._twin.latest_command(max_age_ms=max_age_ms))


class DriveSession(_AnySession[async_drive_session.DriveSession]):
    """A session that outlives its server; see `steerstream.DriveSession`. A context manager."""

    reset = _blocking(async_drive_session.DriveSession.reset)

    @property
    def state(self) -> DriveState:
        """How the session is."""
        return self._twin.state

    @property
    def change(self) -> SessionChange:
        """The last change of its state."""
        return self._twin.change

    @property
    def ticket(self) -> TicketIssued | None:
        """The newest ticket that can be used, or None."""
        return self._twin.ticket

    @property
    def kept_bytes(self) -> int:
        """Bytes of the frames that are kept to be played again."""
        return self._twin.kept_bytes


class Client:
    """A connection to one server; see `steerstream.Client`. A context manager."""

    def __init__(self, twin: async_client.Client) -> None:
        self._twin = twin
        self._thread = _LoopThread()
        try:
            self._thread.run(self._twin.__aenter__())
        except BaseException:
            self._thread.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    describe_models = _blocking(async_client.Client.describe_models)
    open_session = _opening(async_client.Client.open_session)
    drive_session = _drive_opening(async_client.Client.drive_session)

    def close(self) -> None:
        """Close every session, the connection and the thread. Calling it again does nothing."""
        try:
            with contextlib.suppress(SessionClosed):
                self._thread.run(self._twin.aclose())
        finally:
            self._thread.stop()


connect = _connecting(async_client.connect)
