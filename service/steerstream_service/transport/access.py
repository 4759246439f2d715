"""Who may call what: one table for all methods of all services.

A method that is not in the table is an administrative call, so that a service that is added later
is closed to vehicles until somebody decides otherwise here.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from steerstream_service.errors import ForbiddenError, StreamError, TokenExpiredError
from steerstream_service.transport.handlers import (
    Behaviour,
    Continuation,
    Handler,
    behaviour_of,
    with_behaviour,
)
from steerstream_service.transport.identity import Identities
from steerstream_service.transport.statuses import abort


class Access(enum.Enum):
    """Who may call a method."""

    ANYONE = enum.auto()
    """Whoever can connect: probes."""
    VEHICLES = enum.auto()
    """Vehicles, at their own address alone; the method itself asks for their identity."""
    DESCRIPTIONS = enum.auto()
    """Vehicles as well, unless the setting `descriptions` is against it."""
    ADMINISTRATORS = enum.auto()
    """Administrators."""


_NO_MORE = object()
_SERVICES: Mapping[str, Access] = {
    "grpc.health.v1.Health": Access.ANYONE,
    "grpc.reflection.v1.ServerReflection": Access.DESCRIPTIONS,
    "grpc.reflection.v1alpha.ServerReflection": Access.DESCRIPTIONS,
}
_METHODS: Mapping[str, Access] = {
    "steerstream.v1.DriveService/Drive": Access.VEHICLES,
    "steerstream.v1.DriveService/DescribeModels": Access.DESCRIPTIONS,
}


def access(method: str) -> Access:
    """Return who may call a method, by its full name: `/package.Service/Method`."""
    name = method.removeprefix("/")
    found = _METHODS.get(name) or _SERVICES.get(name.partition("/")[0])
    return found or Access.ADMINISTRATORS


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket of the server, as far as it says who calls there.

    Attributes:
        is_admin: whether it is the one of `--admin-listen`.
        is_open: whether everyone who reaches it is an administrator where none are named.
    """

    is_admin: bool
    is_open: bool


class AccessControl(grpc.aio.ServerInterceptor):
    """Refuses calls that are not the caller's to make.

    Args:
        identities: says who the caller is.
        listener: where the calls come in.
        closes_descriptions: whether descriptions are for administrators alone.
    """

    def __init__(
        self, identities: Identities, listener: Listener, *, closes_descriptions: bool
    ) -> None:
        self._identities = identities
        self._listener = listener
        self._closes_descriptions = closes_descriptions

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Return the handler of a call, behind the check; see gRPC's documentation."""
        handler = await continuation(handler_call_details)
        granted = access(handler_call_details.method)
        if granted is Access.DESCRIPTIONS and self._closes_descriptions:
            granted = Access.ADMINISTRATORS
        if handler is None or granted is Access.ANYONE:
            return handler
        if granted is Access.VEHICLES and not self._listener.is_admin:
            return handler
        behaviour = _checked(behaviour_of(handler), partial(self._check, granted))
        return with_behaviour(handler, behaviour, takes_stream=handler.request_streaming)

    def _check(self, granted: Access, context: Any) -> float | None:  # noqa: ANN401 - any method's context
        """Return for how many seconds the call may go on; None for ever."""
        if granted is Access.VEHICLES:
            raise ForbiddenError("sessions open at the address for vehicles, not at this one")
        if granted is Access.DESCRIPTIONS and self._listener.is_admin:
            return None
        if granted is Access.ADMINISTRATORS and not self._identities.names_administrators:
            if self._listener.is_open:
                return None
            raise ForbiddenError(
                "this call is for administrators: make it at --admin-listen, or name your identity "
                "in the setting administrators"
            )
        caller = self._identities.caller(context)
        if granted is Access.ADMINISTRATORS and not self._identities.is_administrator(caller):
            raise ForbiddenError(
                f"{', '.join(map(repr, caller.names))} is none of the administrators; ask one"
            )
        return caller.valid_for_s


def _checked(behaviour: Behaviour, check: Callable[[Any], float | None]) -> Behaviour:
    """Return a behaviour that is refused where a check says so, and ends with its caller's token.

    Args:
        behaviour: of a method; an asynchronous generator stays one.
        check: returns for how many seconds a call may go on, None for ever; or raises.
    """

    async def end_of(context: Any) -> float | None:  # noqa: ANN401 - any method's context
        try:
            seconds = check(context)
        except StreamError as error:
            await abort(context, error)
        return None if seconds is None else asyncio.get_running_loop().time() + seconds

    async def generate(request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401
        end_s, answers = await end_of(context), behaviour(request, context)
        while True:
            # Not while gRPC sends an answer: it would take that for a cancelled call, and would
            # let the client wait for a status that never comes.
            async with _ending(context, end_s):
                answer = await anext(answers, _NO_MORE)
            if answer is _NO_MORE:
                return
            yield answer

    async def call(request: Any, context: Any) -> Any:  # noqa: ANN401
        async with _ending(context, await end_of(context)):
            return await behaviour(request, context)

    return generate if inspect.isasyncgenfunction(behaviour) else call


@contextlib.asynccontextmanager
async def _ending(context: Any, end_s: float | None) -> AsyncIterator[None]:  # noqa: ANN401
    try:
        async with asyncio.timeout_at(end_s) as validity:
            # An end that is past counts even where nothing else is waited for.
            await asyncio.sleep(0)
            yield
    except TimeoutError:
        if not validity.expired():
            raise
        await abort(context, TokenExpiredError())
