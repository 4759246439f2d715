"""Features of a frozen encoder, computed once and kept on disk.

Every frame is encoded in several passes, each piece of a sequence with another draw of
augmentations in each pass. The files depend on the encoder's weights, so that runs share them where
those are the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model_export.config import AugmentConfig, SourceConfig
from model_export.data.augment import Augmentation, Labels
from model_export.data.delay import ahead
from model_export.data.prepared import prepared
from model_export.data.recording import Recording, Span, spans
from model_export.data.sources import Source
from model_export.data.thinning import kept
from model_export.networks import DrivingNetwork
from steerstream.progress import tracked
from steerstream_bundle.contract import FrameInput
from steerstream_bundle.preprocess import Picture

_VERSION = 3
"""Raise it when what is stored changes."""
_CHUNK_FRAMES = 16
_PIECE_FRAMES = 160
"""A longer sequence is cut into pieces, each with a draw of its own."""


class FeatureCache:
    """Encodes recordings with one network's encoder as it is now.

    Args:
        network: its `DrivingNetwork.perceive` is used, in evaluation mode.
        frame: the network's picture.
        seed: decides the augmentations.
        folder: where features are kept.
        after_s: times after each frame that labels are stored for.
    """

    def __init__(
        self,
        network: DrivingNetwork,
        frame: FrameInput,
        *,
        seed: int,
        folder: Path,
        after_s: Sequence[float] = (0.0,),
    ) -> None:
        self._after_s = tuple(after_s)
        self._network, self._frame = network.eval(), frame
        self._seed, self._folder = seed, folder
        self._encoder = _digest_of(self._network, frame)

    def source(self, source: Source) -> Source:
        """Return a source whose recordings hold features."""
        return dataclasses.replace(
            source,
            train=self.training(source.train, source.config),
            holdout=source.holdout and self._unchanged(source.holdout),
            validation=self._unchanged(source.validation),
        )

    def training(self, recording: Recording, source: SourceConfig) -> Recording:
        """Return a recording's features, augmented, all passes one after the other."""
        return self._recording(recording, source.augment, passes=source.passes)

    def _unchanged(self, recording: Recording) -> Recording:
        return self._recording(recording, AugmentConfig(), passes=1)

    def _recording(self, recording: Recording, augment: AugmentConfig, *, passes: int) -> Recording:
        place = str(recording.folder.resolve())
        labels = hashlib.sha256(recording.labels.tobytes()).hexdigest()
        about = [_VERSION, self._encoder, place, labels, repr(augment), passes, self._seed]
        about += [list(self._after_s)]
        digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
        folder = self._folder / f"features-{digest}"
        return _open(prepared(folder, lambda work: self._write(recording, augment, passes, work)))

    def _write(
        self, recording: Recording, augment: AugmentConfig, passes: int, folder: Path
    ) -> None:
        labels: list[Labels] = []
        later = ahead(recording, (0.0, *self._after_s))
        starts: list[npt.NDArray[np.bool_]] = []
        times_s: list[npt.NDArray[np.float64]] = []
        shape: tuple[int, ...] = ()
        todo = [(at, piece) for at in range(passes) for piece in _pieces(recording, cut=passes > 1)]
        with (folder / "features.f16").open("wb") as file:
            for at, span in tracked(todo, "encoding", len(todo), "sequences"):
                seed = self._draw(at, span)
                change = Augmentation(augment, self._frame, seed)
                rows = slice(span.first, span.last)
                places = span.first + kept(recording.times_s[rows], augment, (seed, at))
                for features in self._encoded(recording, places, change):
                    file.write(features.tobytes())
                    shape = features.shape[1:]
                labels.append(change.labels(later[places], places, np.array([0.0, *self._after_s])))
                starts.append(places == span.first)
                times_s.append(recording.times_s[places])
        known = np.concatenate(labels)
        np.savez(
            folder / "labels.npz",
            labels=known[:, 0],
            ahead=known[:, 1:],
            starts=np.concatenate(starts),
            times_s=np.concatenate(times_s),
            shape=np.array(shape),
        )

    @torch.no_grad()
    def _encoded(
        self, recording: Recording, places: npt.NDArray[np.int64], change: Augmentation
    ) -> Iterator[npt.NDArray[np.float16]]:
        visual = self._network.initial_state(1)[len(self._network.recurrent_tensors) :]
        for first in range(0, len(places), _CHUNK_FRAMES):
            chunk = places[first : first + _CHUNK_FRAMES].tolist()
            frames = [_picture(change, recording, place) for place in chunk]
            windows = torch.from_numpy(np.stack(frames))[None]
            features, visual = self._network.perceive(windows, visual)
            yield features[0].numpy().astype(np.float16)

    def _draw(self, at: int, span: Span) -> int:
        return int(np.random.default_rng((self._seed, at, span.first)).integers(2**62))


def _pieces(recording: Recording, *, cut: bool) -> Iterator[Span]:
    for span in recording.spans:
        step = _PIECE_FRAMES if cut else span.last - span.first
        for first in range(span.first, span.last, step):
            yield Span(first, min(first + step, span.last))


def _picture(change: Augmentation, recording: Recording, place: int) -> Picture:
    return np.ascontiguousarray(change.picture(recording.frames[place], place))


def _open(folder: Path) -> Recording:
    with np.load(folder / "labels.npz") as stored:
        labels, times_s, starts = stored["labels"], stored["times_s"], stored["starts"]
        later = stored["ahead"]
        shape = tuple(stored["shape"].tolist())
    path = folder / "features.f16"
    features = np.memmap(path, dtype=np.float16, mode="r", shape=(len(labels), *shape))
    return Recording(
        frames=features,
        labels=labels,
        times_s=times_s,
        spans=spans(starts),
        folder=folder,
        ahead=later,
    )


@torch.no_grad()
def _digest_of(network: DrivingNetwork, frame: FrameInput) -> str:
    """Return a digest of what the encoder makes of noise: it tells weights apart."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 2, *frame.shape), np.uint8)
    visual = network.initial_state(1)[len(network.recurrent_tensors) :]
    features, _ = network.perceive(torch.from_numpy(noise), visual)
    return hashlib.sha256(features.numpy().astype(np.float16).tobytes()).hexdigest()
