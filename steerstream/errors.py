"""The exceptions of the client, as a tree.

```text
SteerstreamError
├── ConnectionFailed              no server was reached
├── SessionRefused                the server opens no session, for example because it is full
│   ├── AccessDenied              it does not accept this client's identity, or not for this
│   └── UnknownModel              it serves no model of that name
├── BadRequest                    an argument is wrong; nothing was sent (also a ValueError)
│   └── CamerasApart              pictures of several cameras were not taken at the same time
├── SessionEnded                  the session is over: open a new one
│   ├── SessionClosed             this side closed it, or the client
│   ├── ServerDraining            the server stops: open the session on another server
│   └── SessionLost               it ended with an error
│       ├── SessionExpired        it sent no frame for too long
│       ├── SessionShed           the server let it go so that others stay in time
│       ├── SessionTakenOver      a newer session of the same vehicle took its place
│       ├── TokenExpired          the token that opened it is no longer valid
│       ├── SessionBadRequest     the server refused a message (also a BadRequest)
│       └── SessionProtocolError  the server broke the wire contract (also a ProtocolError)
├── AnswerTimeout                 a frame had no answer in time (also a TimeoutError)
├── ProtocolError                 the server speaks another contract
├── MediaError                    pictures, labels or a video cannot be read or written
│   └── OutputLost                a file of results could not be written in the end
└── MissingExtra                  an optional package is not installed (also an ImportError)
```

`except SessionEnded` catches every end of a session that was open; the session is alive after
every other error.

Errors that came over the wire carry the gRPC status in `code` and the server's machine-readable
reason, from the trailing metadata `steerstream-reason`, in `reason`.
"""

# ruff: noqa: N818 - the names say what happened, as httpx's do

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc


class ErrorReason(enum.StrEnum):
    """Why the server ended a stream; the names of the contract's `ErrorReason`."""

    UNSPECIFIED = "ERROR_REASON_UNSPECIFIED"
    NOT_OPEN = "ERROR_REASON_NOT_OPEN"
    INVALID_FIELD = "ERROR_REASON_INVALID_FIELD"
    UNKNOWN_MODEL = "ERROR_REASON_UNKNOWN_MODEL"
    BAD_TICKET = "ERROR_REASON_BAD_TICKET"
    TOO_MANY_SESSIONS = "ERROR_REASON_TOO_MANY_SESSIONS"
    BUDGET_TOO_SMALL = "ERROR_REASON_BUDGET_TOO_SMALL"
    DRAINING = "ERROR_REASON_DRAINING"
    IDLE = "ERROR_REASON_IDLE"
    INTERNAL = "ERROR_REASON_INTERNAL"
    SHED = "ERROR_REASON_SHED"
    UNAUTHENTICATED = "ERROR_REASON_UNAUTHENTICATED"
    FORBIDDEN = "ERROR_REASON_FORBIDDEN"
    TAKEN_OVER = "ERROR_REASON_TAKEN_OVER"
    SHARE_TAKEN = "ERROR_REASON_SHARE_TAKEN"
    TOKEN_EXPIRED = "ERROR_REASON_TOKEN_EXPIRED"  # noqa: S105 - a name, and no secret

    @property
    def is_stated(self) -> bool:
        """Whether the server gave a reason that this client knows."""
        return self is not ErrorReason.UNSPECIFIED

    @classmethod
    def _missing_(cls, _value: object) -> ErrorReason:
        """Read a reason that a newer server knows as UNSPECIFIED."""
        return cls.UNSPECIFIED


class SteerstreamError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        message: what went wrong and what to do.
        code: the gRPC status; None where no call ended.
        reason: the server's reason; UNSPECIFIED where it gave none.
        retry_after_s: seconds until it is worth trying again, by the server; None for no hint.

    All but the message are attributes too.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: ErrorReason = ErrorReason.UNSPECIFIED,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after_s = retry_after_s


class ConnectionFailed(SteerstreamError):
    """No server was reached at the target."""


class SessionRefused(SteerstreamError):
    """The server does not open the session; `retry_after_s` may say when to try again."""


class AccessDenied(SessionRefused):
    """The server does not accept this client's certificate or token, or not for what it asked."""


class UnknownModel(SessionRefused):
    """No model of that name is served; `Client.describe_models` lists them."""


class BadRequest(SteerstreamError, ValueError):
    """An argument has the wrong type or is out of its range; the message names it."""


class CamerasApart(BadRequest):
    """Pictures of several cameras that should show one moment were taken too far apart."""


class ProtocolError(SteerstreamError):
    """The server broke the wire contract, or is no steerstream server."""


class SessionEnded(SteerstreamError):
    """The session is over, in whatever way; to go on, open a new one."""


class SessionClosed(SessionEnded):
    """This side closed the session or its client, before it was used or while a call waited."""


class ServerDraining(SessionEnded):
    """The server stops: it ended the session, or opens none; open the session on another server."""


class SessionLost(SessionEnded):
    """The session ended with an error; open a new one, with the last ticket if there is one."""


class SessionExpired(SessionLost):
    """The server ended the session because no frame came for too long."""


class SessionShed(SessionLost):
    """The server let the session go so that others stay in time; open one on another server.

    `retry_after_s` says when this one may have room again.
    """


class SessionTakenOver(SessionLost):
    """A newer session of the same vehicle took the place of this one; no other is opened for it."""


class TokenExpired(SessionLost):
    """The token that opened the session has expired; open a new one with a new token."""


class SessionBadRequest(SessionLost, BadRequest):
    """The server ended the session because of a message that it does not take."""


class SessionProtocolError(SessionLost, ProtocolError):
    """The session ended because the server broke the wire contract."""


class AnswerTimeout(SteerstreamError, TimeoutError):
    """A frame had no answer in time; the session is alive."""


class MediaError(SteerstreamError):
    """Pictures, labels or a video cannot be read or written."""


class OutputLost(MediaError):
    """A file of results, open and good when the work began, could not be written in the end."""


class MissingExtra(SteerstreamError, ImportError):
    """An optional package is not installed."""
