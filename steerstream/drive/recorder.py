"""Draws answers over their pictures and writes a video, beside the drive and not in its way."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from steerstream.answers import FrameAnswer
from steerstream.drive.overlay import draw_overlay
from steerstream.drive.video import VideoFile
from steerstream.errors import MediaError, OutputLost
from steerstream.sources.pictures import Picture, decode

MAX_WAITING = 32
"""Pictures that may wait to be drawn: 1.6 s at 20 Hz, 30 MB where they are raw."""

_SPARKLINE_FRAMES = 102


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """A picture, its answer and what stands beside them in the video.

    Attributes:
        image: the picture as it was sent.
        answer: what came for it.
        latency_ms: from when it was due to its answer.
        label_rad: the true steering wheel angle, or None.
        lines: texts for the corner.
    """

    image: Picture
    answer: FrameAnswer
    latency_ms: float
    label_rad: float | None
    lines: tuple[str, ...]


class Recorder:
    """Writes a video in a worker thread; an asynchronous context manager.

    A video that is lost on the way costs the drive nothing: the block's end says so.

    Args:
        path: where to write it.
        rate_hz: pictures a second.
        budget_ms: the length of the latency bar.
        waits: whether a drive waits where drawing is slower than driving. Otherwise the video shows
            the picture before again in place of those that it had no time for.
    """

    def __init__(self, path: Path, *, rate_hz: float, budget_ms: float, waits: bool) -> None:
        self._video = VideoFile(path, rate_hz=rate_hz)
        self._budget_ms = budget_ms
        self._waits = waits
        self._missed = 0
        self._last: NDArray[np.uint8] | None = None
        self._black: NDArray[np.uint8] | None = None
        self._scenes: asyncio.Queue[tuple[Scene, int] | None] = asyncio.Queue(MAX_WAITING)
        self._latencies_ms: collections.deque[float] = collections.deque(maxlen=_SPARKLINE_FRAMES)

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._writer.done():
            await self._scenes.put(None)
        try:
            await self._writer
        except MediaError as lost:
            if exc is None:
                raise OutputLost(str(lost)) from lost
            # The error that ended the drive matters more than the loss of its video.
            exc.add_note(str(lost))

    async def add(self, scene: Scene) -> None:
        """Hand over a scene; it is dropped where the video is lost already."""
        if self._writer.done():
            return
        if self._scenes.full() and not self._waits:
            self._missed += 1
            return
        missed, self._missed = self._missed, 0
        await self._scenes.put((scene, missed))

    async def _write(self) -> None:
        try:
            while (item := await self._scenes.get()) is not None:
                await asyncio.to_thread(self._draw, *item)
            await asyncio.to_thread(self._repeat, self._missed)
        finally:
            try:
                await asyncio.to_thread(self._video.close)
            finally:
                # The task that waits to hand over a scene must not wait for ever.
                while not self._scenes.empty():
                    self._scenes.get_nowait()

    def _decoded(self, image: Picture) -> NDArray[np.uint8] | None:
        """Return the pixels, black where they are damaged; None before the first good picture."""
        try:
            pixels = decode(image)
        except MediaError:
            return self._black
        self._black = np.zeros_like(pixels)
        return pixels

    def _repeat(self, count: int) -> None:
        if self._last is not None:
            for _ in range(count):
                self._video.write(self._last)

    def _draw(self, scene: Scene, missed: int) -> None:
        self._repeat(missed)
        self._latencies_ms.append(scene.latency_ms)
        pixels = self._decoded(scene.image)
        if pixels is None:
            return
        self._last = draw_overlay(
            pixels,
            command=scene.answer,
            latency_ms=scene.latency_ms,
            budget_ms=self._budget_ms,
            label_rad=scene.label_rad,
            lines=scene.lines,
            latencies_ms=list(self._latencies_ms),
        )
        self._video.write(self._last)
