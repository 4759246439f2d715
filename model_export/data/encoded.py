"""Features of a frozen encoder, computed once and kept on disk.

Every frame is encoded in several passes, each piece of a sequence with another draw of
augmentations in each pass. The files depend on the encoder's weights, so that runs share them where
those are the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from model_export.config import AugmentConfig, SourceConfig
from model_export.data.augment import Augmentation, Labels
from model_export.data.delay import ahead
from model_export.data.loaders import in_order
from model_export.data.prepared import prepared
from model_export.data.recording import Recording, Span, spans
from model_export.data.sources import Source
from model_export.data.thinning import kept
from model_export.networks import DrivingNetwork
from steerstream.progress import tracked
from steerstream_bundle.contract import FrameInput
from steerstream_bundle.preprocess import Picture

_VERSION = 4
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
        loaders: processes that augment the frames.
    """

    def __init__(
        self,
        network: DrivingNetwork,
        frame: FrameInput,
        *,
        seed: int,
        folder: Path,
        after_s: Sequence[float] = (0.0,),
        loaders: int = 0,
    ) -> None:
        self._after_s, self._loaders = tuple(after_s), loaders
        self._network, self._frame = network.eval(), frame
        self._seed, self._folder = seed, folder
        self._encoder = _digest_of(self._network, frame)

    def source(self, source: Source) -> Source:
        """Return a source whose recordings hold features."""
        train = self.training(source.train, source.config)
        return dataclasses.replace(self.judged(source), train=train)

    def judged(self, source: Source) -> Source:
        """Return a source of which only the recordings that judge hold features."""
        return dataclasses.replace(
            source,
            holdout=source.holdout and self.unchanged(source.holdout),
            validation=self.unchanged(source.validation),
        )

    def training(self, recording: Recording, source: SourceConfig) -> Recording:
        """Return a recording's features, augmented, all passes one after the other."""
        return self._recording(recording, source.augment, passes=source.passes)

    def unchanged(self, recording: Recording) -> Recording:
        """Return a recording's features as they are."""
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
        pieces = [
            self._piece(recording, augment, at, span)
            for at in range(passes)
            for span in _pieces(recording, cut=passes > 1)
        ]
        parts = (part for piece in pieces for part in piece.parts())
        make = functools.partial(self._pictures, recording, augment)
        pictures = in_order(make, parts, self._loaders)
        later = ahead(recording, (0.0, *self._after_s))
        labels: list[Labels] = []
        shape: tuple[int, ...] = ()
        with (folder / "features.f16").open("wb") as file, contextlib.closing(pictures):
            for piece in tracked(pieces, "encoding", len(pieces), "sequences"):
                parts_of_it = itertools.islice(pictures, len(list(piece.parts())))
                for features in self._encoded(parts_of_it):
                    file.write(features.tobytes())
                    shape = features.shape[1:]
                change = Augmentation(augment, self._frame, piece.seed)
                labels.append(change.labels(later[piece.places], piece.places))
        known = np.concatenate(labels)
        np.savez(
            folder / "labels.npz",
            labels=known[:, 0],
            ahead=known[:, 1:],
            starts=np.concatenate([piece.places == piece.first for piece in pieces]),
            times_s=np.concatenate([recording.times_s[piece.places] for piece in pieces]),
            shape=np.array(shape),
        )

    def _piece(self, recording: Recording, augment: AugmentConfig, at: int, span: Span) -> _Piece:
        seed = int(np.random.default_rng((self._seed, at, span.first)).integers(2**62))
        arrived = kept(recording.times_s[span.first : span.last], augment, (seed, at))
        return _Piece(span.first, span.first + arrived, seed)

    def _pictures(self, recording: Recording, augment: AugmentConfig, part: _Part) -> Picture:
        """Return the augmented pictures [N, height, width, 3] of a part."""
        change = Augmentation(augment, self._frame, part.seed)
        pictures = [change.picture(recording.frames[at], at) for at in part.places.tolist()]
        recording.let_go()
        return np.stack(pictures)

    @torch.no_grad()
    def _encoded(self, parts: Iterator[Picture]) -> Iterator[npt.NDArray[np.float16]]:
        visual = self._network.initial_state(1)[len(self._network.recurrent_tensors) :]
        for pictures in parts:
            for first in range(0, len(pictures), _CHUNK_FRAMES):
                window = torch.from_numpy(pictures[None, first : first + _CHUNK_FRAMES])
                features, visual = self._network.perceive(window.to(self._network.device), visual)
                yield features[0].cpu().numpy().astype(np.float16)


class _Piece(NamedTuple):
    """What one pass sees of an unbroken piece of a recording.

    Attributes:
        first: the place of its first frame.
        places: of the frames that arrive.
        seed: of what is done to them.
    """

    first: int
    places: npt.NDArray[np.int64]
    seed: int

    def parts(self) -> Iterator[_Part]:
        """Return it in parts that fit into memory, however long it is."""
        for first in range(0, len(self.places), _PIECE_FRAMES):
            yield _Part(self.places[first : first + _PIECE_FRAMES], self.seed)


class _Part(NamedTuple):
    """Frames of a piece that are augmented together."""

    places: npt.NDArray[np.int64]
    seed: int


def _pieces(recording: Recording, *, cut: bool) -> Iterator[Span]:
    for span in recording.spans:
        step = _PIECE_FRAMES if cut else span.last - span.first
        for first in range(span.first, span.last, step):
            yield Span(first, min(first + step, span.last))


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
    features, _ = network.perceive(torch.from_numpy(noise).to(network.device), visual)
    return hashlib.sha256(features.cpu().numpy().astype(np.float16).tobytes()).hexdigest()
