"""Knows the tasks in which gRPC runs the calls of a server, so that the server can wait for them.

`grpc.aio.Server.stop` cancels what is open after its grace and may return before that has ended
(grpc#37240). A task that outlives the server would use what is closed by then, and the event loop.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from steerstream_service.transport.handlers import Continuation, Handler


class OpenCalls(grpc.aio.ServerInterceptor):
    """The outermost interceptor of one server or several."""

    def __init__(self) -> None:
        # Bounded as calls are: by the streams of a connection, and by connections.
        self._tasks: set[asyncio.Task[Any]] = set()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Remember the task until it ends; gRPC looks for the handler in the task that runs it."""
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await continuation(handler_call_details)

    async def ended(self, timeout_s: float) -> bool:
        """Wait for the calls that were cancelled.

        Returns:
            Whether all have ended.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        return not self._tasks
