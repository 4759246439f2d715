"""The vehicle client of steerstream: camera frames out, steering, speed and torque back, in time.

```python
async with steerstream.connect("localhost:50051") as client:
    async with client.open_session(vehicle_id="car-7", budget_ms=50) as session:
        await session.send_frame(jpeg)
        async for answer in session:
            ...
```

`steerstream.blocking` is the same without `async`; `steerstream.testing` is a server
for tests that needs no network; `steerstream.errors` draws the tree of exceptions.
"""

from steerstream import quiet as _quiet  # noqa: F401 - before gRPC is imported
from steerstream.answers import (
    Answer,
    Command,
    ControlValues,
    Draining,
    Expiring,
    FrameAnswer,
    Limit,
    Notice,
    Shedding,
    Skipped,
    SkipReason,
    StageTimings,
    TicketIssued,
    Validity,
)
from steerstream.client import Client, connect
from steerstream.errors import (
    AnswerTimeout,
    BadRequest,
    ConnectionFailed,
    ErrorReason,
    MediaError,
    MissingExtra,
    ProtocolError,
    ServerDraining,
    SessionClosed,
    SessionExpired,
    SessionLost,
    SessionRefused,
    SessionShed,
    SteerstreamError,
    UnknownModel,
)
from steerstream.guard import Action, Guard, Intervention, SafeCommand
from steerstream.images import Encoding, Image, Nv12
from steerstream.limits import Bounds
from steerstream.models import (
    Camera,
    CropFractions,
    FramePolicy,
    HeldOutScore,
    Model,
    ModelOutput,
    ModelState,
    ServedModels,
    ServerLimits,
    SessionInfo,
    TrainingSource,
)
from steerstream.session import FrameOptions, Session
from steerstream.transport import GrpcTransport, Tls, Transport

__all__ = [
    "Action",
    "Answer",
    "AnswerTimeout",
    "BadRequest",
    "Bounds",
    "Camera",
    "Client",
    "Command",
    "ConnectionFailed",
    "ControlValues",
    "CropFractions",
    "Draining",
    "Encoding",
    "ErrorReason",
    "Expiring",
    "FrameAnswer",
    "FrameOptions",
    "FramePolicy",
    "GrpcTransport",
    "Guard",
    "HeldOutScore",
    "Image",
    "Intervention",
    "Limit",
    "MediaError",
    "MissingExtra",
    "Model",
    "ModelOutput",
    "ModelState",
    "Notice",
    "Nv12",
    "ProtocolError",
    "SafeCommand",
    "ServedModels",
    "ServerDraining",
    "ServerLimits",
    "Session",
    "SessionClosed",
    "SessionExpired",
    "SessionInfo",
    "SessionLost",
    "SessionRefused",
    "SessionShed",
    "Shedding",
    "SkipReason",
    "Skipped",
    "StageTimings",
    "SteerstreamError",
    "TicketIssued",
    "Tls",
    "TrainingSource",
    "Transport",
    "UnknownModel",
    "Validity",
    "connect",
]
