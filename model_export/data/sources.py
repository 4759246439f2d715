"""The sources of training data, by the name that a configuration gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_export.config import HEADS, Config, SourceConfig
from model_export.data import rendered, udacity_ch2, udacity_sim, udacity_traces
from model_export.data.recording import Recording, Sample, cached
from model_export.errors import ConfigError
from service.contract import FrameInput, TrainingSource

Reader = Callable[..., Iterator[Sample]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of source: how to read a split of it, and where it came from.

    Attributes:
        read: takes the data folder, the split, the rate, the source's options and the network's
            input, which JPEGs are decoded for.
        options: the options that it takes, with their defaults.
    """

    read: Reader
    name: str
    licence: str
    rendered: bool
    options: Mapping[str, float]


def _read_rendered(
    _data: Path, split: str, rate_hz: float, options: Mapping[str, Any], _frame: FrameInput
) -> Iterator[Sample]:
    roads = options["roads" if split == "train" else "validation_roads"]
    return rendered.read(split, roads=roads, seconds=options["seconds"], rate_hz=rate_hz)


def _read_traces(
    data: Path, split: str, rate_hz: float, options: Mapping[str, Any], _frame: FrameInput
) -> Iterator[Sample]:
    every = options["every" if split == "train" else "validation_every"]
    chunk_s = options["chunk_s"]
    return udacity_traces.read(data, split, chunk_s=chunk_s, rate_hz=rate_hz, every=every)


READERS: Mapping[str, Kind] = {
    "udacity_ch2": Kind(
        read=lambda data, split, _rate_hz, _options, frame: udacity_ch2.read(data, split, frame),
        name=udacity_ch2.NAME,
        licence=udacity_ch2.LICENCE,
        rendered=False,
        options={},
    ),
    "udacity_sim": Kind(
        read=lambda data, split, _rate_hz, _options, frame: udacity_sim.read(data, split, frame),
        name=udacity_sim.NAME,
        licence=udacity_sim.LICENCE,
        rendered=True,
        options={},
    ),
    "udacity_traces": Kind(
        read=_read_traces,
        name=udacity_traces.NAME,
        licence=udacity_traces.LICENCE,
        rendered=True,
        options={"chunk_s": 20.0, "every": 1, "validation_every": 8},
    ),
    "rendered": Kind(
        read=_read_rendered,
        name=rendered.NAME,
        licence=rendered.LICENCE,
        rendered=True,
        options={"roads": 100, "validation_roads": 5, "seconds": 20.0},
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source, read: what trains, what validates, and how the configuration uses it."""

    config: SourceConfig
    train: Recording
    validation: Recording

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that it teaches: those that it labels and the configuration wants."""
        known, wanted = np.isfinite(self.train.labels), self.config.heads or HEADS
        return tuple(
            head for column, head in enumerate(HEADS) if known[:, column].any() and head in wanted
        )

    def provenance(self) -> TrainingSource:
        """Return what the bundle's metadata says of it."""
        kind = READERS[self.config.kind]
        return TrainingSource(
            name=kind.name,
            frames=len(self.train.labels),
            heads=self.heads,
            licence=kind.licence,
            rendered=kind.rendered,
        )


def read_source(source: SourceConfig, config: Config, data: Path, cache: Path) -> Source:
    """Read both splits of a source, from the cache where it has them.

    Raises:
        ConfigError: there is no such kind of source, or it has no such option.
        DataError: its data is missing or malformed.
    """
    kind = _kind(source)
    options = dict(kind.options) | dict(source.options)
    frame, rate_hz = config.frame.contract(), config.serving.rate_hz

    def split(name: str) -> Recording:
        key = {"kind": source.kind, "split": name, "rate_hz": rate_hz, "options": options}
        return cached(lambda: kind.read(data, name, rate_hz, options, frame), key, frame, cache)

    return Source(config=source, train=split("train"), validation=split("validation"))


def _kind(source: SourceConfig) -> Kind:
    if source.kind not in READERS:
        raise ConfigError(f"no source {source.kind!r}; there are: {', '.join(sorted(READERS))}")
    kind = READERS[source.kind]
    if unknown := sorted(source.options.keys() - kind.options.keys()):
        known = ", ".join(kind.options) or "none"
        raise ConfigError(f"source {source.kind}: no option {unknown[0]!r}; it takes: {known}")
    return kind
