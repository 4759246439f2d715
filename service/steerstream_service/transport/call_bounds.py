"""Bounds the calls that are open at once, for each method by itself.

So a crowd of vehicles cannot keep probes from a server that is well, and a crowd of probes cannot
keep vehicles from it. gRPC's own bound, `maximum_concurrent_rpcs`, is one for all methods, and its
refusals look like those of a message that is too large.
"""

from __future__ import annotations

import contextlib
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc

Behaviour = Callable[[Any, Any], Any]
Refuse = Callable[[Any], Awaitable[None]]


class CallBounds(grpc.aio.ServerInterceptor):
    """Refuses calls of a method of which there are enough.

    Args:
        most: open calls of each method that is not in `own`.
        own: open calls of some methods, by full name, with what aborts a call beyond them.
    """

    def __init__(self, most: int, own: dict[str, tuple[int, Refuse]]) -> None:
        self._most = most
        self._own = own
        self._open: Counter[str] = Counter()

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler of a call, which counts it; see gRPC's documentation."""
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
            handler.request_deserializer,
            handler.response_serializer,
        )
        return bounded

    def _bounded(self, method: str, behaviour: Behaviour) -> Behaviour:
        most, refuse = self._own.get(method, (self._most, _refuse))

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
                    await refuse(context)
                async for answer in behaviour(request, context):
                    yield answer

        async def call(request: Any, context: Any) -> Any:  # noqa: ANN401
            with place() as is_free:
                if not is_free:
                    await refuse(context)
                return await behaviour(request, context)

        return generate if inspect.isasyncgenfunction(behaviour) else call


async def _refuse(context: Any) -> None:  # noqa: ANN401 - any method's context
    await context.abort(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls of this method are open; try again"
    )
