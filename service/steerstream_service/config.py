"""The server's settings: a flat TOML file, read strictly into one frozen dataclass.

Every setting has a default, bounds and a reason; `steerstream serve --help` prints them.
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steerstream_bundle.strict import Reader
from steerstream_service.errors import ConfigError

PROVIDERS = ("auto", "cuda", "openvino", "cpu", "tensorrt")
"""The values of the setting `provider`."""

PRECISIONS = ("auto", "f32", "int8")
"""What the setting `precision` may be."""

DEFAULT_MODEL = "pilotnet_lstm"
"""The network to drive with, among those that ship."""

STEPS_ON = ("auto", "thread", "loop")
"""The values of the setting `steps_on`."""

IDENTITIES = ("auto", "none", "certificate", "token", "header")
"""The values of the setting `identity`."""

VEHICLE_ID = "{vehicle_id}"
"""Stands for a vehicle's name in the texts of the setting `vehicle_identity`."""

SECOND_SESSIONS = ("take_over", "refuse")
"""The values of the setting `second_session`."""

DESCRIPTIONS = ("everyone", "administrators")
"""The values of the setting `descriptions`."""

_MIB = 1024 * 1024
_LARGEST_FILE_BYTES = _MIB
# Bounds are checked below, and say more of a value that is not finite.
_READER = Reader(
    error=ConfigError, unknown="unknown setting {first}; --help lists them all", finite=False
)


def _setting(default: float, low: float, high: float, why: str) -> Any:  # noqa: ANN401
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "why": why})


def _file(why: str) -> Any:  # noqa: ANN401
    metadata = {"kind": "a file's name, or empty", "why": why}
    return dataclasses.field(default="", metadata=metadata)


def _text(default: str, why: str) -> Any:  # noqa: ANN401
    return dataclasses.field(default=default, metadata={"kind": "text", "why": why})


def _texts(default: tuple[str, ...], why: str) -> Any:  # noqa: ANN401
    return dataclasses.field(default=default, metadata={"kind": "a list of texts", "why": why})


def _choice(default: str, choices: tuple[str, ...], why: str) -> Any:  # noqa: ANN401
    return dataclasses.field(default=default, metadata={"choices": choices, "why": why})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of a server."""

    max_sessions: int = _setting(
        64, 1, 65_536, "sessions at once; each holds one row of every state tensor"
    )
    max_connections: int = _setting(
        4096,
        16,
        1_000_000,
        "connections at once, of vehicles and of strangers; one more is closed at once",
    )
    max_waiting_frames: int = _setting(
        8, 1, 1024, "frames of one EVERY session that wait; 0.4 s at 20 Hz, more is only latency"
    )
    max_message_bytes: int = _setting(
        4 * _MIB, 64 * 1024, 64 * _MIB, "largest message; a raw RGB8 frame of 1280x720 is 2.8 MB"
    )
    stream_window_bytes: int = _setting(
        128 * 1024,
        64 * 1024,
        4 * _MIB,
        "bytes of a stream that come before they are read; a larger message takes one round trip "
        "more, and each stream can make the server hold as much",
    )
    max_pixels: int = _setting(
        2_100_000, 1024, 100_000_000, "largest picture after decoding: 1920x1080 with a margin"
    )
    max_unsent_answers: int = _setting(
        64,
        2,
        4096,
        "answers that wait for a client; above this, no more of its frames are read, and if it "
        "says that it has not taken so many, its frames are not stepped",
    )
    start_timeout_s: float = _setting(
        300.0,
        1.0,
        86_400.0,
        "from the command to SERVING; a network that loads or warms up for longer is refused; "
        "TensorRT may need more",
    )
    open_timeout_s: float = _setting(
        5.0, 0.1, 600.0, "from the start of a stream to its open message"
    )
    idle_timeout_s: float = _setting(
        10.0,
        0.2,
        86_400.0,
        "a session ends after this time without a frame, or with answers that are not taken",
    )
    expiring_notice_s: float = _setting(
        2.0, 0.05, 3600.0, "how long before the end of an idle session its client is told"
    )
    drain_s: float = _setting(
        10.0, 0.0, 3600.0, "from SIGTERM until streams that are still open are ended"
    )
    default_budget_ms: float = _setting(
        50.0, 1.0, 60_000.0, "for a session that asks for none: one period of a 20 Hz camera"
    )
    max_load: float = _setting(
        0.8,
        0.1,
        100.0,
        "share of the CPU, the event loop and the engine that admitted sessions may ask for; the "
        "rest is for bursts and other processes; above 1, nobody is refused because the server is "
        "late, and far above, only max_sessions limits sessions",
    )
    shed_after_s: float = _setting(
        3.0, 0.1, 3600.0, "how long an overload lasts before the newest sessions are let go"
    )
    shed_notice_s: float = _setting(
        1.0, 0.0, 3600.0, "how long before a session is let go its client is told"
    )
    min_budget_ms: float = _setting(
        2.0,
        0.1,
        60_000.0,
        "smallest budget that is granted; a smaller one may be missed by the network stack alone",
    )
    max_budget_ms: float = _setting(
        10_000.0,
        1.0,
        600_000.0,
        "largest budget that is granted; lock-step simulators and replay use large ones",
    )
    decode_threads: int = _setting(
        2, 1, 256, "threads that decode and resize; they leave Python's lock while they work"
    )
    max_batch: int = _setting(32, 1, 1024, "frames of different sessions in one step")
    ticket_every_frames: int = _setting(
        10,
        0,
        100_000,
        "frames from one ticket to the next at least, half a second's at 20 Hz; 0 for no tickets",
    )
    ticket_valid_s: float = _setting(
        60.0,
        1.0,
        3600.0,
        "how long a ticket is accepted, by the servers' wall clocks; changing servers takes less",
    )
    ticket_keys: str = _file(
        "file of keys for tickets, a line each, 'name = base64 of 32 bytes': the first seals, all "
        "open, and a change is seen within a second; without it a random key, so that only the "
        "same process resumes its sessions"
    )
    identity: str = _choice(
        "auto",
        IDENTITIES,
        "what says who a vehicle is: a name in its TLS certificate, the subject of a bearer token, "
        "or a header that a proxy sets; auto is token if token_keys is set, else certificate if "
        "--client-ca is given, else none",
    )
    vehicle_identity: tuple[str, ...] = _texts(
        (VEHICLE_ID,),
        "the identities that own a vehicle_id, such as spiffe://fleet.example/{vehicle_id}; one "
        "without {vehicle_id} owns all vehicles, as a gateway's",
    )
    token_keys: str = _file(
        "file with the public keys of bearer tokens, a JSON Web Key Set; a change is seen within a "
        "second"
    )
    token_audience: str = _text("steerstream", "the audience that tokens must be made for")
    identity_header: str = _text(
        "x-vehicle-subject", "the header that holds the identity under identity = 'header'"
    )
    trusted_proxies: tuple[str, ...] = _texts(
        ("127.0.0.0/8", "::1/128"),
        "networks whose identity_header is believed; a Unix socket's always is",
    )
    administrators: tuple[str, ...] = _texts(
        (),
        "identities that alone may make administrative calls; if empty, everyone who reaches "
        "--admin-listen may",
    )
    descriptions: str = _choice(
        "everyone",
        DESCRIPTIONS,
        "who may call reflection and DescribeModels: everyone who may connect, or as all other "
        "administrative calls",
    )
    second_session: str = _choice(
        "take_over",
        SECOND_SESSIONS,
        "what a session of a vehicle does that has one already: it takes over, so that a vehicle "
        "which lost its network is back at once, or it is refused",
    )
    max_sessions_per_identity: int = _setting(
        4, 1, 65_536, "sessions of one identity at once, where there are identities"
    )
    max_sessions_per_address: int = _setting(
        0, 0, 65_536, "sessions from one address at once; 0 for no bound: a proxy is one address"
    )
    trace_every_frames: int = _setting(
        20, 1, 1_000_000, "one in this many frames of a session is traced: one a second at 20 Hz"
    )
    intra_op_threads: int = _setting(
        1, 0, 256, "threads of one step on a CPU; 0 is one for each core"
    )
    steps_on: str = _choice(
        "auto",
        STEPS_ON,
        "where networks run and JPEGs are decoded: in other threads than the event loop's, or in "
        "the event loop's; auto is the latter if the server has one core and no GPU",
    )
    provider: str = _choice(
        "auto",
        PROVIDERS,
        "what runs the networks; auto is cuda where that is installed and finds its device, else "
        "the quicker of openvino and cpu, if both are installed",
    )
    precision: str = _choice(
        "auto",
        PRECISIONS,
        "f32 runs bundles as they are, int8 the 8-bit bundles beside them; auto is the quicker on "
        "this CPU, where the 8-bit bundle's record of accuracy allows it",
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            _check(item, getattr(self, item.name))
        if self.min_budget_ms > self.max_budget_ms:
            raise ConfigError("min_budget_ms must be at most max_budget_ms")
        if not self.min_budget_ms <= self.default_budget_ms <= self.max_budget_ms:
            raise ConfigError("default_budget_ms must lie between min_budget_ms and max_budget_ms")
        if self.expiring_notice_s >= self.idle_timeout_s:
            raise ConfigError("expiring_notice_s must be less than idle_timeout_s")
        _check_owners(self.vehicle_identity)


def parse(text: str) -> Config:
    """Read settings from TOML text.

    Raises:
        ConfigError: no TOML, an unknown setting, a wrong type, or a value out of its bounds; the
            message names the setting.
    """
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise ConfigError("not TOML that can be read: it is nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits is one as well
        raise ConfigError(f"not TOML: {error}") from None
    return _READER.read(Config, data)


def load(path: Path | None) -> Config:
    """Read settings from a file; without one, return the defaults.

    Raises:
        ConfigError: the file cannot be read, or see `parse`; the message begins with the path.
    """
    if path is None:
        return Config()
    data = read_file(path)
    try:
        return parse(data.decode())
    except (UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from None


def read_file(path: Path, named_by: str = "") -> bytes:
    """Read a whole file, but never more than a bound: a pipe or a device may have no end.

    Args:
        path: the file.
        named_by: the setting or the option that names it, if one does.

    Raises:
        ConfigError: the file cannot be read; the message begins with what names it and the path.
    """
    place = f"{named_by}: {path}" if named_by else f"{path}"
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{place}: not a regular file")
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{place}: {error.strerror}") from None
    if len(data) > _LARGEST_FILE_BYTES:
        raise ConfigError(f"{place}: larger than {_LARGEST_FILE_BYTES} bytes")
    return data


def describe() -> str:
    """Return one line for each setting: name, default, bounds and reason."""
    lines = (
        f"  {item.name} = {_shown(item.default)}  ({_bounds(item)})\n      {item.metadata['why']}"
        for item in dataclasses.fields(Config)
    )
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(repr, value))}]"
    return repr(value) if value == "" else str(value)


def _check(item: dataclasses.Field[Any], value: Any) -> None:  # noqa: ANN401
    if choices := item.metadata.get("choices"):
        if value not in choices:
            raise ConfigError(f"{item.name} must be {_bounds(item)}, is {value!r}")
    elif "low" in item.metadata and not item.metadata["low"] <= value <= item.metadata["high"]:
        raise ConfigError(f"{item.name} must be from {_bounds(item)}, is {value}")


def _check_owners(owners: tuple[str, ...]) -> None:
    """Refuse texts of `vehicle_identity` that would let no vehicle in, however it shows itself."""
    if not all(owners):
        raise ConfigError("vehicle_identity: an empty text owns no vehicle; take it out")
    if not owners:
        raise ConfigError("vehicle_identity is empty, so that no vehicle could open a session")
    for owner in owners:
        if set("{}").intersection(owner.replace(VEHICLE_ID, "")):
            raise ConfigError(
                f"vehicle_identity: the only placeholder is {VEHICLE_ID}, and {owner!r} has another"
            )


def _bounds(item: dataclasses.Field[Any]) -> str:
    if choices := item.metadata.get("choices"):
        return f"one of {', '.join(choices)}"
    if kind := item.metadata.get("kind"):
        return str(kind)
    return f"{item.metadata['low']} to {item.metadata['high']}"
