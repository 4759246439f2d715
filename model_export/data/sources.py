"""The sources of training data, by the name that a configuration gives them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from model_export.config import HEADS, Config, SourceConfig
from model_export.data import (
    own_recording,
    rendered,
    udacity_ch2,
    udacity_sim,
    udacity_traces,
)
from model_export.data.delay import delayed
from model_export.data.recording import Piece, Recording, both_ways, cached
from model_export.data.state_of_files import state_of_files
from model_export.errors import ConfigError, DataError
from steerstream_bundle.contract import FrameInput, TrainingSource

Reader = Callable[..., Sequence[Piece]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of source: how to read a split of it, and where it came from.

    Attributes:
        read: takes the data folder, the split, the rate, the source's options and the network's
            input, which JPEGs are decoded for.
        options: the options that it takes, with their defaults.
        decides: the options that each split depends on.
        held_out_by: the option that holds recordings out of training, where it is not empty.
        files: takes the data folder and the source's options; returns where its files lie. None for
            a source without files.
    """

    read: Reader
    name: str
    licence: str
    rendered: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    decides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    held_out_by: str = ""
    files: Callable[[Path, Mapping[str, Any]], Path] | None = None


def _read_real(
    data: Path, split: str, _rate_hz: float, options: Mapping[str, Any], frame: FrameInput
) -> Sequence[Piece]:
    return udacity_ch2.pieces(data, split, frame, options.get("holdout", ()))


def _read_rendered(
    _data: Path, split: str, rate_hz: float, options: Mapping[str, Any], _frame: FrameInput
) -> Sequence[Piece]:
    roads = options["roads" if split == "train" else f"{split}_roads"]
    return rendered.drives(split, roads=roads, seconds=options["seconds"], rate_hz=rate_hz)


def _read_traces(
    data: Path, split: str, rate_hz: float, options: Mapping[str, Any], _frame: FrameInput
) -> Sequence[Piece]:
    return udacity_traces.drives(
        data,
        split,
        chunk_s=options["chunk_s"],
        rate_hz=rate_hz,
        every=options["validation_every"] if split == "validation" else options.get("every", 1),
        holdout_every=options.get("holdout_every", 0),
    )


def _read_own(
    data: Path, split: str, _rate_hz: float, options: Mapping[str, Any], frame: FrameInput
) -> Sequence[Piece]:
    return [functools.partial(own_recording.read, data, split, frame, options)]


def _read_simulator(
    data: Path, split: str, _rate_hz: float, _options: Mapping[str, Any], frame: FrameInput
) -> Sequence[Piece]:
    return [functools.partial(udacity_sim.read, data, split, frame)]


READERS: Mapping[str, Kind] = {
    "udacity_ch2": Kind(
        read=_read_real,
        name=udacity_ch2.NAME,
        licence=udacity_ch2.LICENCE,
        rendered=False,
        options={"holdout": []},
        decides={"train": ("holdout",), "holdout": ("holdout",)},
        held_out_by="holdout",
        files=lambda data, _: data / udacity_ch2.FOLDER,
    ),
    "recording": Kind(
        read=_read_own,
        name=own_recording.NAME,
        licence=own_recording.LICENCE,
        rendered=False,
        options=own_recording.OPTIONS,
        decides=dict.fromkeys(("train", "validation"), tuple(own_recording.OPTIONS)),
        files=lambda data, options: data / options["path"],
    ),
    "udacity_sim": Kind(
        read=_read_simulator,
        name=udacity_sim.NAME,
        licence=udacity_sim.LICENCE,
        rendered=True,
        files=lambda data, _: data / udacity_sim.FOLDER,
    ),
    "udacity_traces": Kind(
        read=_read_traces,
        name=udacity_traces.NAME,
        licence=udacity_traces.LICENCE,
        rendered=True,
        options={"chunk_s": 20.0, "every": 1, "holdout_every": 0, "validation_every": 8},
        decides={
            "train": ("chunk_s", "every", "holdout_every"),
            "holdout": ("chunk_s", "holdout_every"),
            "validation": ("chunk_s", "validation_every"),
        },
        held_out_by="holdout_every",
        files=lambda data, _: data / udacity_traces.FOLDER,
    ),
    "rendered": Kind(
        read=_read_rendered,
        name=rendered.NAME,
        licence=rendered.LICENCE,
        rendered=True,
        options={"roads": 100, "holdout_roads": 0, "validation_roads": 5, "seconds": 20.0},
        decides={
            "train": ("roads", "seconds"),
            "holdout": ("holdout_roads", "seconds"),
            "validation": ("validation_roads", "seconds"),
        },
        held_out_by="holdout_roads",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source, read.

    Attributes:
        config: how the configuration uses it.
        train: what trains.
        holdout: what neither trains nor is reported: it chooses weights and calibrates; if any. Its
            mirror image follows it where training mirrors too: a network errs by other amounts on
            that, and the few roads that are held out say little of how it errs on all others.
        validation: what is reported.
    """

    config: SourceConfig
    train: Recording
    holdout: Recording | None
    validation: Recording

    @property
    def kind(self) -> Kind:
        """How it is read, and where it came from."""
        return READERS[self.config.kind]

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that it teaches: those that it labels and the configuration wants."""
        known, wanted = np.isfinite(self.train.labels), self.config.heads or HEADS
        return tuple(
            head for column, head in enumerate(HEADS) if known[:, column].any() and head in wanted
        )

    def provenance(self) -> TrainingSource:
        """Return what the bundle's metadata says of it."""
        return TrainingSource(
            name=self.kind.name,
            frames=len(self.train.labels),
            heads=self.heads,
            licence=self.kind.licence,
            rendered=self.kind.rendered,
        )


def read_source(
    source: SourceConfig, config: Config, data: Path, cache: Path, *, loaders: int = 0
) -> Source:
    """Read all splits of a source, from the cache where it has them; labels as training wants.

    Args:
        source: how the configuration uses it.
        config: of the run.
        data: folder of the driving data.
        cache: folder of all recordings.
        loaders: processes that prepare what the cache has not.

    Raises:
        ConfigError: there is no such kind of source, or it has no such option.
        DataError: its data is missing or malformed.
    """
    kind = _kind(source.kind)
    frame, rate_hz = config.frame.contract(), config.serving.rate_hz

    delay_s = config.training.label_delay_ms / 1e3

    def split(name: str) -> Recording:
        recording = read_split(
            source.kind,
            name,
            source.options,
            frame,
            rate_hz=rate_hz,
            data=data,
            cache=cache,
            loaders=loaders,
        )
        if name == "holdout" and source.augment.flip:
            recording = both_ways(recording, frame)
        return delayed(recording, delay_s)

    holds_out = {**kind.options, **source.options}.get(kind.held_out_by)
    return Source(
        config=source,
        train=split("train"),
        holdout=split("holdout") if holds_out else None,
        validation=split("validation"),
    )


def read_split(
    name: str,
    split: str,
    options: Mapping[str, Any],
    frame: FrameInput,
    *,
    rate_hz: float,
    data: Path,
    cache: Path,
    loaders: int = 0,
) -> Recording:
    """Read one split of a source, from the cache where it is there.

    Args:
        name: the kind of source.
        split: `train`, `holdout` or `validation`.
        options: those that are not the kind's defaults.
        frame: the network's picture.
        rate_hz: of what is rendered.
        data: folder of the driving data.
        cache: folder of all recordings.
        loaders: processes that prepare what the cache has not.

    Raises:
        ConfigError: there is no such kind of source, or it has no such option.
        DataError: its data is missing or malformed.
    """
    kind = _kind(name)
    for option, value in options.items():
        _check_option(name, kind, option, value)
    merged = {**kind.options, **options}
    chosen = {one: merged[one] for one in kind.decides.get(split, ())}
    key = {"kind": name, "split": split, "rate_hz": rate_hz, "options": chosen}
    try:
        if kind.files is not None:
            key["files"] = state_of_files(kind.files(data, merged), cache)
        return cached(
            lambda: kind.read(data, split, rate_hz, chosen, frame),
            key,
            frame,
            cache,
            loaders=loaders,
        )
    except DataError as error:
        raise DataError(f"source {name}, split {split}: {error}") from None


def _check_option(name: str, kind: Kind, option: str, value: object) -> None:
    """Refuse an option that the kind lacks, and a value that is not like its default.

    Raises:
        ConfigError: it is one of these.
    """
    if option not in kind.options:
        known = ", ".join(kind.options) or "none"
        raise ConfigError(f"source {name}: no option {option!r}; it takes: {known}")
    default = kind.options[option]
    wanted = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise ConfigError(f"source {name}: {option} must be like {default!r}, is {value!r}")
    if isinstance(value, int | float) and (value < 0 or (value == 0 and default)):
        least = "at least" if default == 0 else "above"
        raise ConfigError(f"source {name}: {option} must be {least} 0, is {value!r}")


def _kind(name: str) -> Kind:
    if name not in READERS:
        raise ConfigError(f"no source {name!r}; there are: {', '.join(sorted(READERS))}")
    return READERS[name]
