"""The errors of the server.

```text
ServiceError
├── StartError              the server cannot start: one line on stderr, exit code 2
│   ├── ConfigError         the configuration file
│   └── ListenError         the address to listen on
├── StuckError              a step does not end, so that the engine cannot stop
└── StreamError             ends a stream; carries a gRPC status code and an ErrorReason
    ├── NotOpenError            INVALID_ARGUMENT     NOT_OPEN
    ├── InvalidFieldError       INVALID_ARGUMENT     INVALID_FIELD
    ├── UnknownModelError       NOT_FOUND            UNKNOWN_MODEL
    ├── BadTicketError          INVALID_ARGUMENT     BAD_TICKET
    ├── TooManySessionsError    RESOURCE_EXHAUSTED   TOO_MANY_SESSIONS
    ├── BudgetTooSmallError     FAILED_PRECONDITION  BUDGET_TOO_SMALL
    ├── DrainingError           UNAVAILABLE          DRAINING
    ├── ShedError               UNAVAILABLE          SHED
    ├── UnauthenticatedError    UNAUTHENTICATED      UNAUTHENTICATED
    ├── ForbiddenError          PERMISSION_DENIED    FORBIDDEN
    ├── TakenOverError          ABORTED              TAKEN_OVER
    ├── ShareTakenError         RESOURCE_EXHAUSTED   SHARE_TAKEN
    ├── TokenExpiredError       UNAUTHENTICATED      TOKEN_EXPIRED
    ├── IdleError               DEADLINE_EXCEEDED    IDLE
    └── InternalError           INTERNAL             INTERNAL
```

Errors of a bundle, and of one step of it, are in `steerstream_bundle.errors`.
Every message says what to do and may go over the wire.
"""

from __future__ import annotations

import enum
from typing import ClassVar

import grpc


class ErrorReason(enum.IntEnum):
    """Why a stream ended with an error; the numbers are those of the wire contract."""

    NOT_OPEN = 1
    INVALID_FIELD = 2
    UNKNOWN_MODEL = 3
    BAD_TICKET = 4
    TOO_MANY_SESSIONS = 5
    BUDGET_TOO_SMALL = 6
    DRAINING = 7
    IDLE = 8
    INTERNAL = 9
    SHED = 10
    UNAUTHENTICATED = 11
    FORBIDDEN = 12
    TAKEN_OVER = 13
    SHARE_TAKEN = 14
    TOKEN_EXPIRED = 15


class ServiceError(Exception):
    """Base of all errors that the server raises on purpose."""


class StartError(ServiceError):
    """The server cannot start as it was asked to."""


class ConfigError(StartError):
    """The configuration file is missing, malformed, or holds a value out of its bounds."""


class ListenError(StartError):
    """The server cannot listen on the address that it was given."""


class StuckError(ServiceError):
    """A step does not end, and nothing can end its thread but the end of the process."""


class StreamError(ServiceError):
    """Ends a stream with a status that programs and people can read.

    Args:
        message: what to do.
        retry_after_ms: a hint when to try again on this server.
    """

    code: ClassVar[grpc.StatusCode]
    reason: ClassVar[ErrorReason]

    def __init__(self, message: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class NotOpenError(StreamError):
    """The first message was not `open`, or `open` came twice."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.NOT_OPEN


class InvalidFieldError(StreamError):
    """A field of a message is out of its range."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.INVALID_FIELD


class UnknownModelError(StreamError):
    """No model of that name is served."""

    code = grpc.StatusCode.NOT_FOUND
    reason = ErrorReason.UNKNOWN_MODEL


class BadTicketError(StreamError):
    """The ticket cannot be used."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.BAD_TICKET


class TooManySessionsError(StreamError):
    """All sessions of the server are taken, or the load leaves no room for this one."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = ErrorReason.TOO_MANY_SESSIONS


class BudgetTooSmallError(StreamError):
    """The asked budget cannot be kept by this server."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.BUDGET_TOO_SMALL


class DrainingError(StreamError):
    """The server is stopping."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = ErrorReason.DRAINING


class ShedError(StreamError):
    """The server lets this session go so that the others stay in time."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = ErrorReason.SHED


class UnauthenticatedError(StreamError):
    """The call shows no identity that the server accepts."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = ErrorReason.UNAUTHENTICATED


class ForbiddenError(StreamError):
    """The identity does not own the vehicle's name, or is no administrator's."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = ErrorReason.FORBIDDEN


class TakenOverError(StreamError):
    """A newer session of the same vehicle has taken the place of this one."""

    code = grpc.StatusCode.ABORTED
    reason = ErrorReason.TAKEN_OVER


class ShareTakenError(StreamError):
    """The vehicle, its identity or its address has as many sessions as it may have."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = ErrorReason.SHARE_TAKEN


class TokenExpiredError(StreamError):
    """The token with which a session, or another call that lasts, was begun is no longer valid."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = ErrorReason.TOKEN_EXPIRED

    def __init__(self) -> None:
        super().__init__("the token that opened this has expired; open again with a new one")


class IdleError(StreamError):
    """The stream opened no session, sent no frame, or took no answer for too long."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = ErrorReason.IDLE


class InternalError(StreamError):
    """A fault of the server; its log says more than the client is told."""

    code = grpc.StatusCode.INTERNAL
    reason = ErrorReason.INTERNAL
