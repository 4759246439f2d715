"""Bounds the calls that are open at once, for each method by itself.

So a crowd of vehicles cannot keep probes from a server that is well, and a crowd of probes cannot
keep vehicles from it. gRPC's own bound, `maximum_concurrent_rpcs`, is one for all methods, and its
refusals look like those of a message that is too large.

Bytes that are no protobuf message are the client's fault, and end its call as such. gRPC would log
a traceback for each, and tell the client UNKNOWN.
"""

from __future__ import annotations

import contextlib
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError

NO_MESSAGE = "the bytes are no message of this method; see the wire contract"

Behaviour = Callable[[Any, Any], Any]
MakeRoom = Callable[[Any], Awaitable[None]]


class CallBounds(grpc.aio.ServerInterceptor):
    """Refuses calls of a method of which there are enough.

    Args:
        most: open calls of each method that is not in `own`.
        own: open calls of some methods, by full name, with what makes room for a call beyond them
            or aborts it.
        count_call: is called for each call and each answer of reflection, which all cost CPU time.
    """

    def __init__(
        self,
        most: int,
        own: Mapping[str, tuple[int, MakeRoom]],
        count_call: Callable[[], None],
    ) -> None:
        self._most = most
        self._own = own
        self._count_call = count_call
        self._open: Counter[str] = Counter()

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler of a call, which counts it; see gRPC's documentation."""
        self._count_call()
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        kind = (
            f"{'stream' if handler.request_streaming else 'unary'}_"
            f"{'stream' if handler.response_streaming else 'unary'}"
        )
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        bounded: grpc.RpcMethodHandler[Any, Any] = make(
            self._bounded(method, getattr(handler, kind)),
            handler.request_deserializer
            if handler.request_streaming
            else _or_none(handler.request_deserializer),
            handler.response_serializer,
        )
        return bounded

    def _bounded(self, method: str, behaviour: Behaviour) -> Behaviour:
        most, make_room = self._own.get(method, (self._most, refuse))

        @contextlib.contextmanager
        def place() -> Iterator[bool]:
            self._open[method] += 1
            try:
                yield self._open[method] <= most
            finally:
                self._open[method] -= 1

        async def generate(request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401
            with place() as is_free:
                if not is_free:
                    await make_room(context)
                try:
                    async for answer in behaviour(request, context):
                        self._count_call()
                        yield answer
                except DecodeError:
                    await _abort_no_message(context)

        async def call(request: Any, context: Any) -> Any:  # noqa: ANN401
            with place() as is_free:
                if not is_free:
                    await make_room(context)
                if request is None:
                    await _abort_no_message(context)
                return await behaviour(request, context)

        return generate if inspect.isasyncgenfunction(behaviour) else call


def _or_none(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """Return a function that gives None for bytes that cannot be read."""
    if deserialize is None:
        return None

    def read(data: bytes) -> Any:  # noqa: ANN401 - any method's message
        try:
            return deserialize(data)
        except DecodeError:
            return None

    return read


async def _abort_no_message(context: Any) -> None:  # noqa: ANN401 - any method's context
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, NO_MESSAGE)


async def refuse(context: Any) -> None:  # noqa: ANN401 - any method's context
    """Refuse a call beyond its method's bound."""
    await context.abort(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls of this method are open; try again"
    )
