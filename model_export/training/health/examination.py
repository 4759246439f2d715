"""One run looked into: everything that is measured in its network, on its validation drive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_export.config import HEADS, Config, SourceConfig
from model_export.data.sources import read_source
from model_export.errors import DataError
from model_export.networks import DrivingNetwork, build
from model_export.networks.parts.losses import MaskedLoss
from model_export.run import RunFolder, load_weights
from model_export.training import history
from model_export.training.health.gates import GateUse, GateWatch
from model_export.training.health.gradients import GradientFlow, measure_gradients
from model_export.training.health.moments import Moment, share_of_error, worst_moments
from model_export.training.health.units import LayerFiring, UnitWatch
from model_export.training.scoring import Judged, predict
from steerstream_bundle.contract import STEERING_WHEEL_ANGLE

_ANGLE = HEADS.index(STEERING_WHEEL_ANGLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """The findings of one examination.

    Attributes:
        run: the run's folder.
        config: its configuration.
        source: name of the drive that all but the curves were measured on.
        judged: its validation recording, and what the network said of it, state carried.
        flows: of gradients, one for each state tensor of each cell.
        layers: that are rectified.
        gates: of the cells.
        moments: the worst, first of all the very worst.
        entries: of the run's record.
    """

    run: RunFolder
    config: Config
    source: str
    judged: Judged
    flows: tuple[GradientFlow, ...]
    layers: tuple[LayerFiring, ...]
    gates: tuple[GateUse, ...]
    moments: Sequence[Moment]
    entries: Sequence[Mapping[str, Any]]

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.run.path.resolve().name

    @property
    def rmse_rad(self) -> float:
        """Root mean square error of the steering wheel angle."""
        return self.judged.rmse(_ANGLE)

    @property
    def share_of_error(self) -> float:
        """Share of all squared error that lies within half a second of the moments."""
        return share_of_error(
            self.moments, self.judged.errors[:, _ANGLE], self.config.serving.rate_hz
        )


def examine(run: RunFolder, data: Path, cache: Path) -> Examination:
    """Look into a run's best weights, on the drive that its validation minds most.

    Args:
        run: its folder.
        data: folder of the driving data.
        cache: folder of prepared frames.

    Raises:
        RunError: the folder is no run, or has no weights or no record yet.
        DataError: its validation drive is missing, malformed or too short.
    """
    config = run.load_config()
    network = _network(run, config)
    entries = history.read(run)
    source = read_source(_most_minded(config), config, data, cache)
    drive = source.validation
    units, gates = UnitWatch(network), GateWatch(network)
    with units.watching(), gates.watching():
        judged = Judged(drive, predict(network, drive, carry=True))
    return Examination(
        run=run,
        config=config,
        source=source.kind.name,
        judged=judged,
        flows=measure_gradients(network, MaskedLoss(config.heads), drive),
        layers=units.layers(),
        gates=gates.uses(),
        moments=_worst(judged, config.serving.rate_hz),
        entries=entries,
    )


def _worst(judged: Judged, rate_hz: float) -> list[Moment]:
    truth, said = judged.recording.labels[:, _ANGLE], judged.predicted
    moments = worst_moments(truth, said.mean[:, _ANGLE], said.stddev[:, _ANGLE], rate_hz)
    if not moments:
        raise DataError(f"no frame of the validation drive has a label of {STEERING_WHEEL_ANGLE}")
    return moments


def _network(run: RunFolder, config: Config) -> DrivingNetwork:
    network = build(config)
    load_weights(network, run.load_result())
    return network.eval()


def _most_minded(config: Config) -> SourceConfig:
    """Return the source whose validation weighs most in the choice of weights."""
    return max(config.source, key=lambda source: source.monitor)
