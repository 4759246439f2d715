"""Wraps the handlers of methods of any kind, which gRPC keeps apart by what they are called."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"
"""Finds the handler of a call, for an interceptor."""
Behaviour = Callable[[Any, Any], Any]
"""What a method does with its request, or a stream of requests, and its context."""


def behaviour_of(handler: Handler) -> Behaviour:
    """Return what a method does."""
    behaviour: Behaviour = getattr(handler, _kind(handler, takes_stream=handler.request_streaming))
    return behaviour


def with_behaviour(
    handler: Handler, behaviour: Behaviour, *, takes_stream: bool, takes_bytes: bool = False
) -> Handler:
    """Return a handler that does something else.

    Args:
        handler: of the method.
        behaviour: what is done instead.
        takes_stream: whether it takes a stream of requests.
        takes_bytes: whether it takes them as the bytes that came, and not as messages.
    """
    make = getattr(grpc, f"{_kind(handler, takes_stream=takes_stream)}_rpc_method_handler")
    deserializer = None if takes_bytes else handler.request_deserializer
    made: Handler = make(behaviour, deserializer, handler.response_serializer)
    return made


def within(
    behaviour: Behaviour, surroundings: Callable[[Any], AbstractAsyncContextManager[None]]
) -> Behaviour:
    """Return a behaviour that runs within a context.

    Args:
        behaviour: of a method; an asynchronous generator stays one.
        surroundings: makes the context for each call.
    """

    async def generate(request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401
        async with surroundings(context):
            async for answer in behaviour(request, context):
                yield answer

    async def call(request: Any, context: Any) -> Any:  # noqa: ANN401
        async with surroundings(context):
            return await behaviour(request, context)

    return generate if inspect.isasyncgenfunction(behaviour) else call


def _kind(handler: Handler, *, takes_stream: bool) -> str:
    sides = (
        "stream" if streams else "unary" for streams in (takes_stream, handler.response_streaming)
    )
    return "_".join(sides)
