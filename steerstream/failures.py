"""From the status that ended a call to the typed error that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

import grpc

from steerstream.errors import (
    AccessDenied,
    BadRequest,
    ConnectionFailed,
    ErrorReason,
    ProtocolError,
    ServerDraining,
    SessionBadRequest,
    SessionEnded,
    SessionExpired,
    SessionLost,
    SessionRefused,
    SessionShed,
    SessionTakenOver,
    SteerstreamError,
    TokenExpired,
    UnknownModel,
)
from steerstream.metadata import REASON_KEY, RETRY_AFTER_KEY

_Kind = TypeVar("_Kind", bound=SteerstreamError)

_HINTS: dict[type[SteerstreamError], str] = {
    ConnectionFailed: "check the target and that the server runs",
    SessionRefused: "try again later, or on another server",
    AccessDenied: "check the vehicle's name, and the certificate or token where one is asked for",
    UnknownModel: "describe_models() lists the served names",
    BadRequest: "correct the request",
    ServerDraining: "open the session on another server",
    SessionLost: "open a new session",
    SessionBadRequest: "correct the request and open a new session",
    SessionShed: "open the session on another server, or later on this one",
    SessionTakenOver: "check that no other program drives under this vehicle's name",
    TokenExpired: "open a new session with a new token, and the last ticket if there is one",
    SessionExpired: "send frames, or close the session and open one when there are frames",
    ProtocolError: "check that the target is a steerstream server of this version",
}

_BY_REASON: dict[ErrorReason, type[SteerstreamError]] = {
    ErrorReason.NOT_OPEN: BadRequest,
    ErrorReason.INVALID_FIELD: BadRequest,
    ErrorReason.BAD_TICKET: BadRequest,
    ErrorReason.UNKNOWN_MODEL: UnknownModel,
    ErrorReason.TOO_MANY_SESSIONS: SessionRefused,
    ErrorReason.BUDGET_TOO_SMALL: BadRequest,
    ErrorReason.DRAINING: ServerDraining,
    ErrorReason.IDLE: SessionExpired,
    ErrorReason.SHED: SessionShed,
    ErrorReason.UNAUTHENTICATED: AccessDenied,
    ErrorReason.FORBIDDEN: AccessDenied,
    ErrorReason.TAKEN_OVER: SessionTakenOver,
    ErrorReason.SHARE_TAKEN: SessionRefused,
    ErrorReason.TOKEN_EXPIRED: TokenExpired,
}

_BY_CODE: dict[grpc.StatusCode, type[SteerstreamError]] = {
    grpc.StatusCode.UNIMPLEMENTED: ProtocolError,
    grpc.StatusCode.INVALID_ARGUMENT: BadRequest,
    grpc.StatusCode.OUT_OF_RANGE: BadRequest,
    grpc.StatusCode.NOT_FOUND: UnknownModel,
    grpc.StatusCode.RESOURCE_EXHAUSTED: SessionRefused,
    grpc.StatusCode.FAILED_PRECONDITION: SessionRefused,
    grpc.StatusCode.UNAUTHENTICATED: AccessDenied,
    grpc.StatusCode.PERMISSION_DENIED: AccessDenied,
}

_LOST = re.compile(
    "Stream removed|Socket closed|End of TCP stream|GOAWAY|keepalive|failed to connect to all "
    "addresses|recvmsg|sendmsg|Connection (reset|timed out)|Broken pipe|UNAVAILABLE$"
)
"""How gRPC tells of a connection that broke; the texts of servers and proxies are others."""

_TIMED_OUT = "Deadline Exceeded"
"""How gRPC tells of a call that had no answer within its time."""

_NO_REASON = "the server ended the call without a reason, as gRPC does where too many come at once"


class RpcFailed(Exception):  # noqa: N818
    """How a transport says that a call ended with an error.

    Args:
        code: the gRPC status.
        message: the status' text.
        reason: the server's machine-readable reason.
        retry_after_s: seconds until it is worth trying again, by the server; None for no hint.

    All are attributes too.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: ErrorReason = ErrorReason.UNSPECIFIED,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.retry_after_s = retry_after_s

    @classmethod
    def from_rpc_error(cls, error: grpc.aio.AioRpcError) -> RpcFailed:
        """Read status, text, reason and hint from an error of gRPC."""
        return cls.from_status(error.code(), error.details(), error.trailing_metadata())

    @classmethod
    def from_status(
        cls,
        code: grpc.StatusCode,
        message: str | None,
        trailing: Iterable[tuple[str, str | bytes]] | None,
    ) -> RpcFailed:
        """Read an error from how a call ended.

        Args:
            code: the gRPC status.
            message: the status' text; None or empty for none.
            trailing: the call's trailing metadata, which holds reason and hint.
        """
        metadata = dict(trailing or ())
        return cls(
            code,
            message or code.name,
            reason=ErrorReason(str(metadata.get(REASON_KEY, ""))),
            retry_after_s=_hint_s(str(metadata.get(RETRY_AFTER_KEY, ""))),
        )


_LONGEST_HINT = len(str(0xFFFF_FFFF))
"""Digits of the longest hint that a server sends. Hundreds of them would fit into no float."""


def _hint_s(text: str) -> float | None:
    """Return a hint in seconds; None for none, and for one that is no time."""
    is_time = len(text) <= _LONGEST_HINT and text.isascii() and text.isdecimal()
    return int(text) / 1e3 if is_time else None


_TOO_LARGE, _HERE = "larger than max", "CLIENT:"
"""In gRPC's text about a message, and where it was an answer to this side; its status alone may
mean that a server is full as well."""


def call_error(failure: RpcFailed) -> SteerstreamError:
    """Return the error for a call that failed before a session was open."""
    kind = _BY_REASON.get(failure.reason) or _BY_CODE.get(failure.code, ConnectionFailed)
    if not failure.reason.is_stated and _is_too_large(failure):
        kind = BadRequest
    return _build(kind, failure)


def session_error(failure: RpcFailed) -> SessionEnded:
    """Return the error for the stream of an open session that failed."""
    kind = _BY_REASON.get(failure.reason, SessionLost)
    # A status without a reason says nothing of the message: it comes of what stands in between.
    if kind is BadRequest or (not failure.reason.is_stated and _is_too_large(failure)):
        kind = SessionBadRequest
    return _build(kind if issubclass(kind, SessionEnded) else SessionLost, failure)


def without_advice(error: SteerstreamError) -> str:
    """Return what happened, for those who do what is to be done by themselves."""
    return str(error).partition("; ")[0]


def may_come(error: SteerstreamError) -> bool:
    """Whether the same server may open the session a little later.

    It is starting, or has no room as yet: one that warms up says the same as one that is full.
    """
    return isinstance(error, ConnectionFailed) or error.reason is ErrorReason.TOO_MANY_SESSIONS


def _is_too_large(failure: RpcFailed) -> bool:
    """Whether a message to the server was larger than it takes."""
    is_so = failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in failure.message
    return is_so and _HERE not in failure.message


def _build(kind: type[_Kind], failure: RpcFailed) -> _Kind:
    return kind(
        _text(kind, failure),
        code=failure.code,
        reason=failure.reason,
        retry_after_s=failure.retry_after_s,
    )


def _text(kind: type[SteerstreamError], failure: RpcFailed) -> str:
    """Return what happened and what to do; the server's own advice comes after a semicolon."""
    happened = failure.message.rstrip(".")
    if not failure.reason.is_stated:
        if failure.code is grpc.StatusCode.UNAVAILABLE and _LOST.match(happened):
            happened = "the connection to the server was lost"
        elif failure.code is grpc.StatusCode.DEADLINE_EXCEEDED and happened == _TIMED_OUT:
            happened = "the server did not answer in time"
        elif failure.code is grpc.StatusCode.CANCELLED and happened == failure.code.name:
            again = "try again" if kind is ConnectionFailed else _HINTS[kind]
            happened = f"{_NO_REASON}; {again}"
    return happened if "; " in happened else f"{happened}; {_HINTS[kind]}"
