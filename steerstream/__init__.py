"""The vehicle client of steerstream: camera frames out, steering, speed and torque back, in time.

```python
async with steerstream.connect("localhost:50051") as client:
    async with client.open_session(vehicle_id="car-7", budget_ms=50) as session:
        await session.request(jpeg)
        safe = session.safe_command()
        if safe.action is steerstream.Action.FOLLOW:
            ...
```

`steerstream.blocking` is the same without `async`; `steerstream.testing` is a server
for tests that needs no network; `steerstream.errors` draws the tree of exceptions. The logger
is `logging.getLogger("steerstream")`; it says nothing until the program sets up logging.
"""

import logging as _logging

from steerstream import quiet as _quiet  # noqa: F401 - before gRPC is imported
from steerstream.acting_delay import ActingDelay
from steerstream.answers import (
    Answer,
    Command,
    ControlValues,
    Draining,
    Expiring,
    FrameAnswer,
    Horizon,
    HorizonStep,
    Limit,
    Notice,
    Pace,
    Shedding,
    Skipped,
    SkipReason,
    StageTimings,
    TicketIssued,
    Validity,
)
from steerstream.bounds import Bounds
from steerstream.client import Client, SessionOpening, connect
from steerstream.drive_session import DriveSession
from steerstream.errors import (
    AccessDenied,
    AnswerTimeout,
    BadRequest,
    CamerasApart,
    ConnectionFailed,
    ErrorReason,
    MediaError,
    MissingExtra,
    OutputLost,
    ProtocolError,
    ServerDraining,
    SessionBadRequest,
    SessionClosed,
    SessionEnded,
    SessionExpired,
    SessionLost,
    SessionProtocolError,
    SessionRefused,
    SessionShed,
    SessionTakenOver,
    SteerstreamError,
    TokenExpired,
    UnknownModel,
)
from steerstream.guard import Action, Guard, GuardReason, SafeCommand
from steerstream.hand_over import DriveState, HandOver, SessionChange
from steerstream.images import Encoding, Image, Nv12, ViewUse
from steerstream.lens import LensModel
from steerstream.models import (
    Camera,
    CropFractions,
    FramePolicy,
    HeldOutScore,
    Model,
    ModelHorizon,
    ModelOutput,
    ModelState,
    ServedModels,
    ServerLimits,
    SessionInfo,
    TrainedCamera,
    TrainingSource,
    View,
    ViewEncoding,
)
from steerstream.opening import SessionOptions
from steerstream.session import FrameOptions, Session
from steerstream.transport import GrpcTransport, Tls, Transport

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "ActingDelay",
    "Action",
    "Answer",
    "AnswerTimeout",
    "BadRequest",
    "Bounds",
    "Camera",
    "CamerasApart",
    "Client",
    "Command",
    "ConnectionFailed",
    "ControlValues",
    "CropFractions",
    "Draining",
    "DriveSession",
    "DriveState",
    "Encoding",
    "ErrorReason",
    "Expiring",
    "FrameAnswer",
    "FrameOptions",
    "FramePolicy",
    "GrpcTransport",
    "Guard",
    "GuardReason",
    "HandOver",
    "HeldOutScore",
    "Horizon",
    "HorizonStep",
    "Image",
    "LensModel",
    "Limit",
    "MediaError",
    "MissingExtra",
    "Model",
    "ModelHorizon",
    "ModelOutput",
    "ModelState",
    "Notice",
    "Nv12",
    "OutputLost",
    "Pace",
    "ProtocolError",
    "SafeCommand",
    "ServedModels",
    "ServerDraining",
    "ServerLimits",
    "Session",
    "SessionBadRequest",
    "SessionChange",
    "SessionClosed",
    "SessionEnded",
    "SessionExpired",
    "SessionInfo",
    "SessionLost",
    "SessionOpening",
    "SessionOptions",
    "SessionProtocolError",
    "SessionRefused",
    "SessionShed",
    "SessionTakenOver",
    "Shedding",
    "SkipReason",
    "Skipped",
    "StageTimings",
    "SteerstreamError",
    "TicketIssued",
    "Tls",
    "TokenExpired",
    "TrainedCamera",
    "TrainingSource",
    "Transport",
    "UnknownModel",
    "Validity",
    "View",
    "ViewEncoding",
    "ViewUse",
    "connect",
]

_logging.getLogger(__name__).addHandler(_logging.NullHandler())
