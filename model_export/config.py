"""Training configurations: TOML files, read strictly into frozen dataclasses.

Strict means that a key that is unknown, missing or of the wrong type is refused by its full name,
so that a misspelt setting never trains silently with its default.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_export.errors import ConfigError
from steerstream_bundle.contract import (
    SPEED,
    STEERING_TORQUE,
    STEERING_WHEEL_ANGLE,
    ContractError,
    Crop,
    FrameInput,
)
from steerstream_bundle.strict import Reader

READER = Reader(
    error=ConfigError,
    key="key {!r}",
    types={dict: "a table"},
    unknown="unknown key {first}; known here: {known}",
)
"""For configurations, and for what networks and sources define of their own in them."""

_BOUNDS = {
    "above 0": (math.ulp(0.0), math.inf),
    "at least 1": (1, math.inf),
    "at least 0": (0, math.inf),
    "from 0 to 1": (0, 1),
    "above 0 and at most 1": (math.ulp(0.0), 1),
}
_POSITIVE, _COUNT, _FROM_ZERO, _SHARE, _RATE = ({"bound": bound} for bound in _BOUNDS)
"""Metadata of fields whose values have bounds."""

HEADS = (STEERING_WHEEL_ANGLE, SPEED, STEERING_TORQUE)
"""Order of the heads in every label array and network output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameConfig:
    """The network's picture: its size, and the rows of the source that it sees, as fractions."""

    height_px: int = 66
    width_px: int = 200
    top: float = 0.40
    bottom: float = 0.90

    def contract(self) -> FrameInput:
        """Return the picture as a bundle's contract states it."""
        crop = Crop(top=self.top, bottom=self.bottom)
        return FrameInput(
            tensor="frame", height_px=self.height_px, width_px=self.width_px, crop=crop
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Which network, and what it lets choose.

    Attributes:
        kind: the name of a file in `model_export.networks`.
        settings: keys of that network's own `Settings`.
    """

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """One output of the network.

    Attributes:
        mean: the network predicts deviations from it, in the head's unit.
        scale: one unit of the network's raw output, in the head's unit.
        robust: error, in the head's unit, beyond which the loss grows linearly.
        weight: share in the loss.
        minimum: least plausible value, for the contract.
        maximum: greatest plausible value, for the contract.
    """

    mean: float
    scale: float = field(metadata=_POSITIVE)
    robust: float = field(metadata=_POSITIVE)
    weight: float = field(metadata=_FROM_ZERO)
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsConfig:
    """The three outputs, in the order of `HEADS`."""

    steering_wheel_angle: HeadConfig
    speed: HeadConfig
    steering_torque: HeadConfig

    def ordered(self) -> tuple[HeadConfig, ...]:
        """Return the heads in the order of `HEADS`."""
        return (self.steering_wheel_angle, self.speed, self.steering_torque)


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """Bounds of the random changes to a sequence; zero or an empty range switches one off.

    Attributes:
        flip: probability of a mirrored sequence.
        shift_m: greatest sideways move of the camera, either way.
        yaw_rad: greatest turn of the camera, either way.
        wander_m: standard deviation of a smooth random path about the driven one, along which a
            sequence is seen from elsewhere; the angle then leads back to the driven path. Single
            frames are each seen from a place of their own.
        wander_rad: standard deviation of the heading error on that path; it decides how fast the
            path turns, and with it how little the motion between pictures says of the road.
        return_radps: how fast a label leads back to the driven path: the frequency of a damped
            spring. The driver is not in the middle of the lane either, and the network, which is
            to lead back as if he were wrong, has an error of this stiffness times his offset.
        return_damping: of that spring.
        recovery_m: distance over which the corrected angle leads back to the driven path.
        pitch_px: greatest move of the horizon in rows of the network's picture.
        zoom: greatest relative change of size.
        gain: least and greatest factor of brightness.
        gamma: least and greatest exponent of brightness.
        colour: greatest relative change of one colour channel.
        shadow: probability that a part of the picture lies in shadow or in light.
        noise: greatest standard deviation of the sensor's noise, of 255.
        blur: probability of a blurred sequence.
        erase: probability that a rectangle of the picture is hidden.
        drop: greatest share of frames that are lost; only on stored features.
        rates_hz: frames come at one of these rates, as far as the source has them; only on stored
            features.
    """

    flip: float = field(default=0.0, metadata=_SHARE)
    shift_m: float = field(default=0.0, metadata=_FROM_ZERO)
    yaw_rad: float = field(default=0.0, metadata=_FROM_ZERO)
    wander_m: float = field(default=0.0, metadata=_FROM_ZERO)
    wander_rad: float = field(default=0.02, metadata=_POSITIVE)
    return_radps: float = field(default=1.68, metadata=_POSITIVE)
    return_damping: float = field(default=0.6, metadata=_SHARE)
    recovery_m: float = field(default=20.0, metadata=_POSITIVE)
    pitch_px: float = field(default=0.0, metadata=_FROM_ZERO)
    zoom: float = field(default=0.0, metadata=_SHARE)
    gain: tuple[float, float] = field(default=(1.0, 1.0), metadata=_POSITIVE)
    gamma: tuple[float, float] = field(default=(1.0, 1.0), metadata=_POSITIVE)
    colour: float = field(default=0.0, metadata=_SHARE)
    shadow: float = field(default=0.0, metadata=_SHARE)
    noise: float = field(default=0.0, metadata=_FROM_ZERO)
    blur: float = field(default=0.0, metadata=_SHARE)
    erase: float = field(default=0.0, metadata=_SHARE)
    drop: float = field(default=0.0, metadata=_SHARE)
    rates_hz: tuple[float, ...] = field(default=(), metadata=_POSITIVE)

    @property
    def thins(self) -> bool:
        """Whether frames go missing."""
        return self.drop > 0 or bool(self.rates_hz)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """One source of training data.

    Attributes:
        kind: a name in `model_export.data.sources.READERS`.
        batch_size: sequences of each batch that come from this source.
        loss_weight: factor on the loss of its frames.
        heads: labels to use of those that the source has; empty for all.
        options: settings of the reader, by name.
        monitor: weight of its validation steering RMSE in the score that picks the best weights.
        passes: how often each frame is encoded, each time with another draw of changes, for
            stages that train on stored features.
        augment: changes to its training sequences.
    """

    kind: str
    batch_size: int = field(metadata=_COUNT)
    loss_weight: float = field(default=1.0, metadata=_FROM_ZERO)
    heads: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    monitor: float = field(default=0.0, metadata=_FROM_ZERO)
    passes: int = field(default=1, metadata=_COUNT)
    augment: AugmentConfig = AugmentConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig:
    """One stage of training; it goes on from the best weights of the stage before.

    A stage with a window of one frame learns features from diverse single frames; then stages with
    windows of ten frames teach the recurrent cell by truncated back-propagation through time.

    Attributes:
        name: for logs.
        steps: optimiser steps; each takes one window of every sequence in the batch.
        learning_rate: its peak; it decays to zero by a cosine.
        window: frames through which gradients flow.
        batch_factor: factor on every source's `batch_size`.
        pass_frames: frames after which a sequence is left for another place, state reset.
        encoder_rate: factor on the learning rate of the visual encoder; 0 freezes it.
        stored_features: with a frozen encoder, encode all frames beforehand and train on what is
            stored; sources say how often each frame is encoded.
        freeze_statistics: keep the running statistics of batch normalisation, and use them.
        stddev_only: train the predicted standard deviations alone, without dropout; the means and
            the state stay exactly as they were.
        plan_only: train what a network plans alone, on its own drives (`picture_drives`,
            `dagger_roads`); its commands stay exactly as they were.
        picture_drives: before such a stage, drive so often along each real sequence that trains,
            from several starts.
        dagger_roads: before the stage, drive so many new roads with the network; the expert's
            labels for these drives join the source `rendered` (DAgger, arXiv 1011.0686); with
            `plan_only` the network's own commands are learned in their place.
        dagger_seconds: length of each of these drives.
    """

    name: str
    steps: int = field(metadata=_COUNT)
    learning_rate: float = field(metadata=_RATE)
    window: int = field(default=10, metadata=_COUNT)
    batch_factor: int = field(default=1, metadata=_COUNT)
    pass_frames: int = field(default=100, metadata=_COUNT)
    encoder_rate: float = field(default=1.0, metadata=_FROM_ZERO)
    stored_features: bool = False
    freeze_statistics: bool = False
    stddev_only: bool = False
    plan_only: bool = False
    picture_drives: int = field(default=0, metadata=_FROM_ZERO)
    dagger_roads: int = field(default=0, metadata=_FROM_ZERO)
    dagger_seconds: float = field(default=30.0, metadata=_POSITIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Settings that all stages share: AdamW with warm-up, averaged weights, early stopping.

    Attributes:
        warm_up: steps until a stage's peak learning rate.
        weight_decay: of AdamW, on weights of two or more dimensions.
        clip_norm: bound of the gradient's global norm.
        ema_decay: of the averaged weights, which are what is evaluated and exported.
        evaluate_every: steps between evaluations and checkpoints.
        patience: evaluations without a better score until a stage ends early.
        keep_last: keep a stage's last weights in place of those with the best score, and end no
            stage early, so that the validation split has no say and its scores do not flatter.
        label_delay_ms: labels are those of so much later than the frame, so that a network says
            what is right when its command acts.
        fresh_cell: of the run that `--start` names, take over the encoder alone, so that another
            cell learns on the same features.
    """

    warm_up: int = field(default=50, metadata=_COUNT)
    weight_decay: float = field(default=1e-2, metadata=_FROM_ZERO)
    clip_norm: float = field(default=5.0, metadata=_POSITIVE)
    ema_decay: float = field(default=0.99, metadata=_SHARE)
    evaluate_every: int = field(default=100, metadata=_COUNT)
    patience: int = field(default=20, metadata=_COUNT)
    keep_last: bool = False
    label_delay_ms: float = field(default=0.0, metadata=_FROM_ZERO)
    fresh_cell: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingConfig:
    """Settings of the contract beside its tensors."""

    rate_hz: float = field(default=20.0, metadata=_POSITIVE)
    reset_after_ms: int = field(default=1000, metadata=_FROM_ZERO)
    warm_up_steps: int = field(default=10, metadata=_FROM_ZERO)
    limits_profile: str = "passenger_car"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that decides a training run, apart from the data."""

    name: str
    seed: int = field(metadata=_FROM_ZERO)
    network: NetworkConfig
    heads: HeadsConfig
    source: tuple[SourceConfig, ...]
    stage: tuple[StageConfig, ...]
    training: TrainingConfig = TrainingConfig()
    frame: FrameConfig = FrameConfig()
    serving: ServingConfig = ServingConfig()

    def __post_init__(self) -> None:
        if not self.source or not self.stage:
            raise ConfigError("a configuration needs at least one [[source]] and one [[stage]]")
        if not any(source.monitor for source in self.source) and not self.training.keep_last:
            raise ConfigError("a source needs monitor above 0: its steering picks the best weights")
        for head, bounds in zip(HEADS, self.heads.ordered(), strict=True):
            if not bounds.minimum < bounds.maximum:
                raise ConfigError(f"head {head}: minimum must be below maximum")
        try:
            self.frame.contract()
        except ContractError as error:
            raise ConfigError(f"frame: {error}") from None
        self._check_stored_features()

    def _check_stored_features(self) -> None:
        for source in self.source:
            if unknown := set(source.heads) - set(HEADS):
                raise ConfigError(f"source {source.kind}: no head {min(unknown)!r}")
            if source.augment.thins and not all(stage.stored_features for stage in self.stage):
                raise ConfigError(
                    f"source {source.kind}: drop and rates_hz need stages with stored_features"
                )
        for stage in self.stage:
            if stage.stored_features and stage.encoder_rate:
                raise ConfigError(
                    f"stage {stage.name}: stored_features needs a frozen encoder, encoder_rate = 0"
                )


def load(path: Path) -> Config:
    """Read a configuration.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or has a key that is unknown, missing, of
            the wrong type or out of its bounds.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        config = READER.read(Config, data)
        _check_bounds(config, "")
        return config  # noqa: TRY300 - its errors are named as well
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _check_bounds(table: Any, path: str) -> None:  # noqa: ANN401 - a dataclass of this module
    for item in dataclasses.fields(table):
        value, name = getattr(table, item.name), f"{path}{item.name}"
        values = value if isinstance(value, tuple) else (value,)
        for index, one in enumerate(values):
            if dataclasses.is_dataclass(one):
                inside = f"{name}[{index}]" if isinstance(value, tuple) else name
                _check_bounds(one, f"{inside}.")
            elif bound := item.metadata.get("bound"):
                low, high = _BOUNDS[bound]
                if not low <= one <= high:
                    raise ConfigError(f"key {name!r} must be {bound}, is {one!r}")
