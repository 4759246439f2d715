"""The contract of a bundle: everything that a server must know about a network.

A bundle is one ONNX file. Its metadata holds one JSON object under `METADATA_KEY`; this
module is the definition of that object. The exporter writes it with `Contract.to_json`, the
server and the evaluation read it with `Contract.from_json`. The server can serve every network
that has a contract.

Tensors carry the batch first. Shapes in a contract leave the batch out.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from steerstream_bundle.strict import Reader

METADATA_KEY = "steerstream.contract"
VERSION = 1

STEERING_WHEEL_ANGLE = "steering_wheel_angle"
SPEED = "speed"
STEERING_TORQUE = "steering_torque"
UNITS = {STEERING_WHEEL_ANGLE: "rad", SPEED: "m/s", STEERING_TORQUE: "Nm"}
"""Heads that the wire contract can carry, with their units."""

PRECISIONS = ("fp32", "fp16", "int8")

GREATEST_RMSE_RATIO = 1.02
"""Of a bundle of reduced precision that may take its FP32 bundle's place, on every source."""


class ContractError(ValueError):
    """A bundle's contract is missing, malformed, or at odds with itself."""


LONGEST_NAME = 256
"""Characters of a model's name: a vehicle cannot ask for a longer one."""
_MOST_BYTES = 256 * 1024
"""Of a whole contract as JSON; much of it goes to every vehicle in one message."""
_MOST_ITEMS = 64
"""State tensors, training sources, scores, and heads of a source."""
_MOST_HORIZON_STEPS = 64
_LONGEST_HORIZON_SPACING_MS = 1000
_MOST_DIMENSIONS = 8
_LONGEST_TEXT = 1000
_LARGEST_WHOLE = 2**53
"""Whole numbers up to here are exact in JSON, and fit into the wire contract's."""
_LARGEST_FLOAT = 3.4e38
"""The largest float32, rounded down."""
LARGEST_SIDE_PX = 8192
_LARGEST_STATE = 2**24
"""Elements of one state tensor of one session: 64 MiB."""
_LOWEST_RATE_HZ, _HIGHEST_RATE_HZ = 0.1, 1000.0
_LONGEST_GAP_MS = 24 * 3600 * 1000
_MOST_WARM_UP_STEPS = 1_000_000
_LONGEST_ACT_IN_S = 10.0
_CAMERA_BOUNDS = {
    "horizontal_fov_deg": (1.0, 179.0),
    "aspect_ratio": (0.1, 10.0),
    "mount_height_m": (0.1, 10.0),
    "horizon_fraction": (-1.0, 2.0),
}


def _reason_against(value: object) -> str | None:
    """Return why the wire contract could not carry a value, or None."""
    if isinstance(value, str) and (len(value) > _LONGEST_TEXT or not value.isprintable()):
        return f"must be at most {_LONGEST_TEXT} printable characters"
    if isinstance(value, int) and abs(value) > _LARGEST_WHOLE:
        return f"must be at most {_LARGEST_WHOLE}"
    if isinstance(value, float) and abs(value) > _LARGEST_FLOAT:
        return f"must be a number that a float32 can hold, at most {_LARGEST_FLOAT:g}"
    return None


_READER = Reader(
    error=ContractError,
    reason_against=_reason_against,
    types={dict: "an object", list: "a list"},
    of_type="",
    unknown="{path} has unknown fields: {names}; export the bundle again with this version",
)


class StateKind(enum.StrEnum):
    """The content of a state tensor.

    The last few frames alone decide what a ring holds, and the intervals between them, whatever the
    state was before. So it can be made again from these frames, and tickets may leave it out.
    """

    RECURRENT = "recurrent"
    FEEDBACK = "feedback"
    FRAME_RING = "frame_ring"
    FEATURE_RING = "feature_ring"

    @property
    def is_ring(self) -> bool:
        """Whether it is one of the two rings."""
        return self in {StateKind.FRAME_RING, StateKind.FEATURE_RING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """The part of a source picture that the network sees, as fractions of its height and width."""

    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.top < self.bottom <= 1 and 0 <= self.left < self.right <= 1):
            raise ContractError(
                f"crop must satisfy 0 <= top < bottom <= 1 and left < right: {self}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedCamera:
    """The camera of the pictures that a network was trained with, without distortion.

    All fields are zero where nobody knows; then pictures of other cameras cannot be mapped to it.

    Attributes:
        horizontal_fov_deg: its field of view across the whole picture.
        aspect_ratio: the picture's width by its height.
        mount_height_m: height of the lens above the ground.
        horizon_fraction: row of the horizon on a level road, as a fraction of the height.
    """

    horizontal_fov_deg: float = 0.0
    aspect_ratio: float = 0.0
    mount_height_m: float = 0.0
    horizon_fraction: float = 0.0

    def __post_init__(self) -> None:
        if not any(dataclasses.astuple(self)):
            return
        for name, (low, high) in _CAMERA_BOUNDS.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise ContractError(f"camera.{name} must be from {low:g} to {high:g}, is {value}")

    @property
    def is_known(self) -> bool:
        """Whether the bundle says which camera it was trained with."""
        return self.horizontal_fov_deg > 0


class TimeInput(NamedTuple):
    """A float32 tensor [N] by which a network is told a time of each frame, in seconds.

    Attributes:
        name: `interval_s`, since the last frame that the state has seen, or `act_in_s`, from the
            capture of this frame until its command acts.
        tensor: the input's name in the graph.
        default_s: the time where nobody states one.
    """

    name: Literal["interval_s", "act_in_s"]
    tensor: str
    default_s: float


class ValueTensor(NamedTuple):
    """A float32 tensor [N, *shape] of values that a step returns.

    Attributes:
        name: the output's name in the graph.
        shape: of one frame: empty for one value, or a horizon's steps.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many values it has of a frame."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameInput:
    """The picture tensor: uint8 [N, height_px, width_px, 3], RGB, normalised inside the graph."""

    tensor: str
    height_px: int
    width_px: int
    crop: Crop

    def __post_init__(self) -> None:
        if not all(1 <= side <= LARGEST_SIDE_PX for side in (self.height_px, self.width_px)):
            raise ContractError(
                f"frame size must be from 1 to {LARGEST_SIDE_PX} pixels a side, is "
                f"{self.width_px}x{self.height_px}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one frame without the batch: height, width, colour."""
        return (self.height_px, self.width_px, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTensor:
    """One pair of recurrent state tensors: float32 [N, *shape] into the graph, the same out of it.

    `initial` holds the value at a session's start, flattened: one number for all elements, or one
    for each.
    """

    input: str
    output: str
    shape: tuple[int, ...]
    kind: StateKind
    initial: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if not self.shape or any(size < 1 for size in self.shape):
            raise ContractError(f"state {self.input!r} needs positive sizes, has {self.shape}")
        if len(self.shape) > _MOST_DIMENSIONS:
            raise ContractError(
                f"state {self.input!r} must have at most {_MOST_DIMENSIONS} dimensions, "
                f"has {len(self.shape)}"
            )
        if math.prod(self.shape) > _LARGEST_STATE:
            raise ContractError(
                f"state {self.input!r} must have at most {_LARGEST_STATE} elements, "
                f"has {self.shape}"
            )
        if len(self.initial) not in (1, math.prod(self.shape)):
            raise ContractError(
                f"state {self.input!r} needs 1 or {math.prod(self.shape)} initial values, "
                f"has {len(self.initial)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One head: a float32 tensor [N] in SI units, left positive.

    `minimum` and `maximum` bound what is plausible; a value outside, or one that is not a
    number, never leaves the server as valid. `training_mean` is the mean label, the simplest
    predictor to compare with. `stddev_tensor` names the head's predicted standard deviation,
    float32 [N] in the same unit, above zero; empty where the network predicts none.
    """

    head: str
    tensor: str
    unit: str
    minimum: float
    maximum: float
    training_mean: float
    stddev_tensor: str = ""

    def __post_init__(self) -> None:
        if UNITS.get(self.head) != self.unit:
            raise ContractError(f"head {self.head!r} in {self.unit!r} is not one of {UNITS}")
        if not self.minimum < self.maximum:
            raise ContractError(f"head {self.head!r} needs minimum < maximum")


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonOutput:
    """What comes next of one head: a float32 tensor [N, steps] in the head's unit.

    `stddev_tensor` names the predicted standard deviation of the last step, float32 [N]; empty
    where the network predicts none.
    """

    head: str
    tensor: str
    stddev_tensor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """What a network says of the time after a frame; without outputs it says nothing of it.

    Step `i`, counted from 1, is for `i * spacing_ms` after the frame's picture was taken, and as
    much after its command acts where the network is told when that is.
    """

    steps: int = 0
    spacing_ms: int = 0
    outputs: tuple[HorizonOutput, ...] = ()

    def __post_init__(self) -> None:
        if not self.outputs:
            if self.steps or self.spacing_ms:
                raise ContractError("horizon.steps and horizon.spacing_ms need horizon.outputs")
            return
        if not 1 <= self.steps <= _MOST_HORIZON_STEPS:
            raise ContractError(
                f"horizon.steps must be from 1 to {_MOST_HORIZON_STEPS}, is {self.steps}"
            )
        if not 1 <= self.spacing_ms <= _LONGEST_HORIZON_SPACING_MS:
            raise ContractError(
                f"horizon.spacing_ms must be from 1 to {_LONGEST_HORIZON_SPACING_MS}, "
                f"is {self.spacing_ms}"
            )

    @property
    def values(self) -> tuple[ValueTensor, ...]:
        """Its tensors: every head's steps, then the last steps' standard deviations."""
        stddevs = (output.stddev_tensor for output in self.outputs)
        return (
            *(ValueTensor(output.tensor, (self.steps,)) for output in self.outputs),
            *(ValueTensor(tensor, ()) for tensor in stddevs if tensor),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRule:
    """How a gap between two frames is bridged.

    The state advances only by frames that the network saw. Up to `reset_after_ms` between two
    capture times it is held; beyond that it says nothing of the present road, and a new epoch
    begins from the initial state.
    """

    reset_after_ms: int

    def __post_init__(self) -> None:
        if not 1 <= self.reset_after_ms <= _LONGEST_GAP_MS:
            raise ContractError(
                f"reset_after_ms must be from 1 to {_LONGEST_GAP_MS}, is {self.reset_after_ms}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSource:
    """One source of training data: where it came from and what it labelled."""

    name: str
    frames: int
    heads: tuple[str, ...]
    licence: str
    rendered: bool

    def __post_init__(self) -> None:
        _refuse_negative(self.name, self.frames)
        _refuse_many("heads", self.heads)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One held-out score: RMSE of one head on one source, in the head's unit.

    `ratio` is of a bundle of reduced precision: its RMSE over that of the FP32 bundle that it was
    made from, in one run.
    """

    source: str
    head: str
    frames: int
    rmse: float
    note: str = ""
    ratio: float = 1.0

    def __post_init__(self) -> None:
        _refuse_negative(self.source, self.frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The origin of a bundle: its training data, its scores, and the code that made it.

    `precision` is what its weights are computed in: `fp32`, `fp16` or `int8`. Tensors at
    the graph's border are the same in all. `reduced_from` is the SHA-256 of the FP32 bundle that
    one of reduced precision was made from; it is empty for FP32.
    """

    sources: tuple[TrainingSource, ...] = ()
    scores: tuple[Score, ...] = ()
    git_revision: str = "unknown"
    created: str = "unknown"
    precision: str = "fp32"
    reduced_from: str = ""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ContractError(f"precision {self.precision!r} is not one of {PRECISIONS}")
        _refuse_many("sources", self.sources)
        _refuse_many("scores", self.scores)

    @property
    def precision_setting(self) -> str:
        """What the server's settings, its log and the wire call the precision: `f32` for `fp32`."""
        return self.precision.replace("fp", "f")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """Everything that a server must know about a bundle.

    `interval_tensor` names an input float32 [N]: seconds between the captures of this frame and
    of the last one that the state has seen, 1 / `rate_hz` where it has seen none in this epoch.
    It is empty where the network takes none.

    `act_in_tensor` names an input float32 [N]: seconds from the capture of this frame until its
    command acts, from 0 to `max_act_in_s`, the largest that was trained; `default_act_in_s` for a
    vehicle that states none. It is empty where the network takes none.

    `camera` is the one whose pictures the network was trained with.

    `horizon` is what the network says of the time after a frame, for some of its heads, the
    steering wheel angle among them.
    """

    name: str
    frame: FrameInput
    state: tuple[StateTensor, ...]
    outputs: tuple[Output, ...]
    rate_hz: float
    gap: GapRule
    warm_up_steps: int
    limits_profile: str
    interval_tensor: str = ""
    act_in_tensor: str = ""
    max_act_in_s: float = 0.0
    default_act_in_s: float = 0.0
    camera: TrainedCamera = field(default_factory=TrainedCamera)
    horizon: Horizon = field(default_factory=Horizon)
    provenance: Provenance = field(default_factory=Provenance)
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ContractError(
                f"contract version {self.version} is not {VERSION}; export the bundle again"
            )
        if not self.name:
            raise ContractError("a bundle needs a name")
        if len(self.name) > LONGEST_NAME:
            raise ContractError(
                f"a bundle's name must be at most {LONGEST_NAME} characters, has {len(self.name)}"
            )
        if not _LOWEST_RATE_HZ <= self.rate_hz <= _HIGHEST_RATE_HZ:
            raise ContractError(
                f"rate_hz must be from {_LOWEST_RATE_HZ:g} to {_HIGHEST_RATE_HZ:g}, "
                f"is {self.rate_hz}"
            )
        if not 0 <= self.warm_up_steps <= _MOST_WARM_UP_STEPS:
            raise ContractError(
                f"warm_up_steps must be from 0 to {_MOST_WARM_UP_STEPS}, is {self.warm_up_steps}"
            )
        self._check_act_in()
        _refuse_many("state tensors", self.state)
        heads = [output.head for output in self.outputs]
        if STEERING_WHEEL_ANGLE not in heads or len(set(heads)) != len(heads):
            raise ContractError(
                f"outputs must hold {STEERING_WHEEL_ANGLE!r} and no head twice, are {heads}"
            )
        ahead = [output.head for output in self.horizon.outputs]
        if ahead and (
            STEERING_WHEEL_ANGLE not in ahead
            or len(set(ahead)) != len(ahead)
            or not set(ahead) <= set(heads)
        ):
            raise ContractError(
                f"horizon.outputs must hold {STEERING_WHEEL_ANGLE!r}, no head twice, and only "
                f"heads of the outputs, are {ahead}"
            )
        values = (value.name for value in self.values)
        outputs = (*values, *(pair.output for pair in self.state))
        for side, tensors in (("input", self.input_tensors), ("output", outputs)):
            _refuse_nameless(side, tensors)
            _refuse_twins(side, tensors)

    @property
    def input_tensors(self) -> tuple[str, ...]:
        """Names of all that goes into the graph: the frame, the times if any, and the state."""
        times = (item.tensor for item in self.time_inputs)
        return (self.frame.tensor, *times, *(pair.input for pair in self.state))

    @property
    def time_inputs(self) -> tuple[TimeInput, ...]:
        """The times of a frame that the network is told, in the order of the graph's inputs."""
        times = (
            TimeInput("interval_s", self.interval_tensor, 1 / self.rate_hz),
            TimeInput("act_in_s", self.act_in_tensor, self.default_act_in_s),
        )
        return tuple(item for item in times if item.tensor)

    def act_in_s(self, stated_s: float | None) -> float:
        """Return when the network is told that a command acts.

        Args:
            stated_s: seconds from the frame's capture, as the vehicle states them, which may be
                more than was trained; None where it states none.
        """
        if stated_s is None:
            return self.default_act_in_s
        return min(max(stated_s, 0.0), self.max_act_in_s)

    @property
    def values(self) -> tuple[ValueTensor, ...]:
        """The tensors of values that a step returns.

        Every head's, then the standard deviations of those heads that have one, in the same order,
        and then the horizon's. The values of a frame are in this order everywhere.
        """
        heads = (output.tensor for output in self.outputs)
        stddevs = (output.stddev_tensor for output in self.outputs if output.stddev_tensor)
        return (*(ValueTensor(tensor, ()) for tensor in (*heads, *stddevs)), *self.horizon.values)

    @property
    def stddev_columns(self) -> dict[str, int]:
        """Index in a frame's values of each head's standard deviation, for heads that have one."""
        heads = [output.head for output in self.outputs if output.stddev_tensor]
        return {head: at for at, head in enumerate(heads, len(self.outputs))}

    def _check_act_in(self) -> None:
        longest, default = self.max_act_in_s, self.default_act_in_s
        if not self.act_in_tensor:
            if longest or default:
                raise ContractError("max_act_in_s and default_act_in_s need an act_in_tensor")
        elif not 0 < longest <= _LONGEST_ACT_IN_S:
            raise ContractError(
                f"max_act_in_s must be above 0 and at most {_LONGEST_ACT_IN_S:g}, is {longest}"
            )
        elif not 0 <= default <= longest:
            raise ContractError(
                f"default_act_in_s must be from 0 to max_act_in_s, {longest}, is {default}"
            )

    def same_network(self, other: Contract) -> bool:
        """Whether two contracts differ in their provenance alone."""
        return dataclasses.replace(self, provenance=other.provenance) == other

    def to_json(self) -> str:
        """Return the contract as the JSON text that stands in a bundle's metadata."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Read a contract from the JSON text in a bundle's metadata.

        Raises:
            ContractError: the text is no JSON or too long, a field is missing, unknown, there twice
                or of the wrong type, or the values contradict each other. The message names the
                field.
        """
        size = len(text.encode(errors="replace"))
        if size > _MOST_BYTES:
            raise ContractError(f"the contract must be at most {_MOST_BYTES} bytes, has {size}")
        try:
            data = json.loads(text, object_pairs_hook=_without_twins)
        except ContractError:  # a ValueError as well
            raise
        except RecursionError:
            raise ContractError("the contract is nested too deeply") from None
        except ValueError as error:  # a number of thousands of digits is one as well
            raise ContractError(f"the contract is not JSON: {error}") from None
        return _READER.read(cls, data, "contract")


def _refuse_negative(source: str, frames: int) -> None:
    if frames < 0:
        raise ContractError(f"source {source!r} has {frames} frames; that is less than none")


def _refuse_many(what: str, items: Sequence[object]) -> None:
    if len(items) > _MOST_ITEMS:
        raise ContractError(f"there must be at most {_MOST_ITEMS} {what}, are {len(items)}")


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object's fields; of a field that is there twice, neither can be believed."""
    table = dict(pairs)
    if len(table) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        key = max(counts, key=counts.__getitem__)
        raise ContractError(f"the contract has the field {key[:80]!r} twice in one object")
    return table


def _refuse_nameless(side: str, tensors: Sequence[str]) -> None:
    if not all(tensors):
        raise ContractError(f"an {side} names no tensor: {list(tensors)}")


def _refuse_twins(side: str, tensors: Sequence[str]) -> None:
    if len(set(tensors)) != len(tensors):
        raise ContractError(f"two {side}s share a tensor: {list(tensors)}")
