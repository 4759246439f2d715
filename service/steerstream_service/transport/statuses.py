"""Ends an RPC with the status of a typed error."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import grpc

from steerstream.metadata import REASON_KEY, RETRY_AFTER_KEY
from steerstream_service.errors import StreamError
from steerstream_service.transport.call_bounds import say_ending


async def abort(context: Any, error: StreamError) -> NoReturn:  # noqa: ANN401 - any method's context
    """End the RPC with an error's status, reason, and hint when to try again.

    gRPC waits until the client takes it or its connection ends; `CallBounds` sees to that. The
    session holds nothing by then, and the error none of the calls that it went through: they hold
    messages of megabytes, and gRPC keeps it until a collection.
    """
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__ = None
        cause = cause.__context__
    metadata: tuple[tuple[str, str], ...] = ((REASON_KEY, f"ERROR_REASON_{error.reason.name}"),)
    if error.retry_after_ms is not None:
        metadata += ((RETRY_AFTER_KEY, str(error.retry_after_ms)),)
    say_ending()
    try:
        await context.abort(error.code, str(error), metadata)
    except grpc.aio.InternalError:
        # The client is gone: its connection ended before it took the status.
        raise asyncio.CancelledError from None
    raise AssertionError("context.abort returned")
