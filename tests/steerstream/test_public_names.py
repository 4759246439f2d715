"""What `import steerstream` gives: renaming or dropping a name breaks somebody's program."""

from __future__ import annotations

import inspect
import logging
import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

import steerstream
import steerstream.blocking
import steerstream.testing

NAMES = [
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
    "HeldOutScore",
    "Horizon",
    "HorizonStep",
    "Image",
    "GuardReason",
    "HandOver",
    "LensModel",
    "Limit",
    "MediaError",
    "MissingExtra",
    "OutputLost",
    "Model",
    "ModelHorizon",
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
    "Pace",
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

TESTING_NAMES = [
    "Drop",
    "Fail",
    "FakeClock",
    "FakeServer",
    "FakeTransport",
    "Reaction",
    "RealClock",
    "Reply",
    "Script",
    "Skip",
    "VirtualClock",
]


def test_the_public_names_are_these():
    assert sorted(steerstream.__all__) == sorted(NAMES)
    assert sorted(steerstream.testing.__all__) == sorted(TESTING_NAMES)


def test_names_that_are_not_listed_are_modules_or_private():
    """A name that slips into the package by an import would become public by use."""
    modules = {module.name for module in pkgutil.iter_modules(steerstream.__path__)}
    public = {name for name in vars(steerstream) if not name.startswith("_")}
    assert public <= {*NAMES, *modules}


def test_every_error_is_public():
    errors = import_module("steerstream.errors")
    kinds = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert kinds <= set(NAMES)


@pytest.mark.parametrize("name", ["Client", "Session", "DriveSession"])
def test_the_blocking_client_has_every_public_method(name):
    """`close` is its name for `aclose`, and the client calls `begin`.

    Iterating and entering are methods with underscores.
    """
    twin, blocking = getattr(steerstream, name), getattr(steerstream.blocking, name)
    public = {method for method in vars(twin) if not method.startswith("_")}
    assert public - {"aclose", "begin"} <= set(dir(blocking))
    assert "close" in dir(blocking)


def test_it_says_nothing_until_logging_is_set_up():
    """Without a handler of its own, Python would print warnings to stderr."""
    program = "import logging, steerstream; logging.getLogger('steerstream.x').warning('lost')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


async def test_sessions_are_logged(caplog):
    caplog.set_level(logging.INFO, logger="steerstream")
    server = steerstream.testing.FakeServer([steerstream.testing.Fail()])
    async with (
        steerstream.connect("car-park", transport=server.transport()) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        with pytest.raises(steerstream.SessionLost):
            await session.request(b"a picture")
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said[0] == ("INFO", "connected to car-park")
    assert said[1] == ("INFO", "session fake-1 opened: fake, LATEST, budget 50 ms")
    assert said[2][0] == "WARNING"
    assert "the fake server died" in said[2][1]
