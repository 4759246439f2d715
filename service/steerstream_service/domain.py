"""The server's own types for all that a vehicle sends and gets, without protobuf and gRPC.

The enumerations carry the numbers of the wire contract (`proto/steerstream/v1`), and a test
compares them, so that `steerstream_service.transport.wire` needs no table for them.

No object here changes after it is made. Types that are made once a session are frozen; those that
are made for each frame are not, because a frozen object takes five times as long to make.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steerstream.lens import LensModel

NEVER_NS = 1 << 62
"""Later than any time of the monotonic clock."""


class FramePolicy(enum.IntEnum):
    """What happens to a frame that waits when a newer one of its session arrives."""

    LATEST = 1
    EVERY = 2


class Validity(enum.IntEnum):
    """How far a command can be trusted."""

    VALID = 1
    WARMING_UP = 2
    HELD = 3
    FALLBACK = 4


class SkipReason(enum.IntEnum):
    """Why the network gave no command for a frame."""

    LATE = 1
    SUPERSEDED = 2
    DUPLICATE = 3
    OUT_OF_ORDER = 4
    UNDECODABLE = 5
    OVERLOADED = 6
    FAILED = 7
    INVALID_FIELD = 8
    CAPTURE_TIME = 9


class Limit(enum.IntEnum):
    """A limit between the network and the vehicle."""

    STEERING_ANGLE = 1
    STEERING_RATE = 2
    LATERAL_ACCELERATION = 3
    LATERAL_JERK = 4
    SPEED = 5
    ACCELERATION = 6
    STEERING_TORQUE = 7
    STEERING_TORQUE_RATE = 8


@dataclass(frozen=True, slots=True)
class Slot:
    """A session's row of the state pool, valid while the row's generation is this one."""

    index: int
    generation: int


@dataclass(frozen=True, slots=True)
class Camera:
    """The camera that a vehicle describes; zero stands for "not stated"."""

    width_px: int = 0
    height_px: int = 0
    horizontal_fov_deg: float = 0.0
    mount_height_m: float = 0.0
    horizon_fraction: float = 0.0
    lens: LensModel = LensModel.PINHOLE
    distortion: tuple[float, ...] = ()
    focal_x_px: float = 0.0
    focal_y_px: float = 0.0
    principal_x_px: float = 0.0
    principal_y_px: float = 0.0


@dataclass(frozen=True, slots=True)
class Opening:
    """The terms that a vehicle asks for at open; None stands for the server's choice."""

    vehicle_id: str
    model: str | None
    budget_ms: float | None
    policy: FramePolicy
    camera: Camera
    ticket: bytes
    frame_rate_hz: float | None
    replays_rings: bool = False
    wants_horizon: bool = True


@dataclass(slots=True)
class ControlValues:
    """One value for each head, left positive; None for a head that the network lacks."""

    steering_wheel_angle_rad: float | None = None
    speed_mps: float | None = None
    steering_torque_nm: float | None = None


@dataclass(slots=True)
class Stddevs:
    """The predicted standard deviation of each raw value; None for a head that has none."""

    steering_wheel_angle_rad: float | None
    speed_mps: float | None
    steering_torque_nm: float | None


@dataclass(slots=True)
class Horizon:
    """Limited values for the time after a frame, each `spacing_ms` after the one before.

    A head that the horizon lacks is None; the others have a value for each step. `last_raw` and
    `last_stddevs` are what the network said for the last step.
    """

    spacing_ms: int
    angles_rad: Sequence[float]
    speeds_mps: Sequence[float] | None
    torques_nm: Sequence[float] | None
    last_raw: ControlValues
    last_stddevs: Stddevs


@dataclass(slots=True)
class Timings:
    """The time that an answer took in each stage, in nanoseconds of the monotonic clock."""

    queue_ns: int
    decode_ns: int
    infer_ns: int
    total_ns: int
    batch_size: int


@dataclass(slots=True)
class Command:
    """The values for a vehicle to follow, for one frame.

    `stddevs` belong to `raw`; None where the network predicts none at all. `horizon` is None where
    the network has none, and for all but fresh values.
    """

    sequence_number: int
    capture_time_ns: int
    raw: ControlValues
    limited: ControlValues
    active_limits: tuple[Limit, ...]
    validity: Validity
    age_ms: float
    alive_counter: int
    state_epoch: int
    step_count: int
    timings: Timings
    stddevs: Stddevs | None = None
    horizon: Horizon | None = None


@dataclass(slots=True)
class Skip:
    """The answer to a frame for which the network gave no command.

    `is_overdue` says that the server was slow: a newer frame superseded this one, which had waited
    for half its budget.
    `was_decoded` tells whether its picture took a decoder's time; it is not sent.
    """

    sequence_number: int
    capture_time_ns: int
    reason: SkipReason
    detail: str
    held: Command | None
    is_overdue: bool = False
    was_decoded: bool = False


@dataclass(frozen=True, slots=True)
class DrainingNotice:
    """The server is about to stop; the session ends when the time is over."""

    ends_in_ms: int


@dataclass(frozen=True, slots=True)
class ExpiringNotice:
    """The session sends nothing and ends when the time is over; a frame keeps it."""

    ends_in_ms: int


@dataclass(frozen=True, slots=True)
class SheddingNotice:
    """The server lets this session go so that the others stay in time."""

    ends_in_ms: int
    retry_after_ms: int


@dataclass(frozen=True, slots=True)
class PaceNotice:
    """The server is full, and answers this session's frames no more often than this.

    `period_ms` is 0 where the session may send as it stated again. `first_in_ms` is when the first
    frame of the pace is welcome; sessions with an equal pace get different times.
    """

    period_ms: float
    first_in_ms: float


@dataclass(frozen=True, slots=True)
class TicketNotice:
    """The session's sealed state, after the frame of that number.

    `replay_from` is the first frame that makes its rings again; None where it holds them.
    """

    ticket: bytes
    sequence_number: int
    valid_for_ms: int
    replay_from: int | None = None


Notice = DrainingNotice | ExpiringNotice | SheddingNotice | PaceNotice | TicketNotice


@dataclass(slots=True)
class Stepped:
    """A frame that the network saw, and the numbers of the contract's `values` in their order.

    `state` is the recurrent state after it, where the frame's record asked for it.
    """

    outputs: Sequence[float]
    began_ns: int
    infer_ns: int
    batch_size: int
    state: bytes | None = None


@dataclass(frozen=True, slots=True)
class NotStepped:
    """A frame that the engine gave back, LATE or FAILED; the recurrent state has not seen it."""

    reason: SkipReason
    detail: str


Outcome = Stepped | NotStepped


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """Which sessions a server records, and where.

    Attributes:
        folder: where the files lie.
        max_bytes: of all files of all workers together.
        share: of the sessions that are recorded, from 0 to 1.
        workers: how many have a part of the bound each, this server among them.
    """

    folder: Path
    max_bytes: int
    share: float
    workers: int = 1
