"""What a stage trains on: the run's sources, its drives by the network, and features of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_export import parallel
from model_export.config import HEADS, Config, StageConfig
from model_export.data.delay import delayed
from model_export.data.encoded import FeatureCache
from model_export.data.recording import Recording, open_recording, record
from model_export.data.sequences import BatchSampler, RowSource
from model_export.data.sources import Source
from model_export.export.exporter import export
from model_export.networks import DrivingNetwork
from model_export.run import Result, RunFolder
from model_export.training import dagger, own_drives
from steerstream_bundle.contract import Crop


@dataclass(frozen=True, slots=True, kw_only=True)
class StageData:
    """What one stage trains on and is judged on.

    Attributes:
        sources: those of the run, as frames or as stored features.
        drives: by the network, the same.
        sampler: draws the batches from them.
        rows: sequences side by side in a batch.
    """

    sources: Sequence[Source]
    drives: Sequence[Recording]
    sampler: BatchSampler
    rows: int


class StageDataMaker:
    """Makes what each stage of a run trains on; a stage's drives begin where it begins.

    Args:
        config: of the run.
        run: keeps the drives.
        network: that trains; it drives and encodes as it is when a stage begins.
        sources: of the run.
        start: what the run began with, if that was another run.
        cache: folder of prepared frames and features.
        loaders: processes that prepare frames.
    """

    def __init__(
        self,
        config: Config,
        run: RunFolder,
        network: DrivingNetwork,
        sources: Sequence[Source],
        *,
        start: Result | None,
        cache: Path,
        loaders: int,
    ) -> None:
        self._config, self._run, self._network, self._sources = config, run, network, sources
        self._start, self._cache, self._loaders = start, cache, loaders
        self._frame = config.frame.contract()

    def make(self, index: int) -> StageData:
        """Return the data of a stage; drive and encode where that was not done before.

        Raises:
            ModelExportError: a stored drive is damaged, or the network cannot be exported.
        """
        stage = self._config.stage[index]
        sources, drives = self._sources, self._recorded_drives(index)
        if stage.stored_features:
            sources, drives = self._encoded(index, drives)
        rows = self._rows(stage, sources, drives)
        return StageData(
            sources=sources, drives=drives, sampler=self._sampler(index, rows), rows=len(rows)
        )

    def _recorded_drives(self, last: int) -> list[Recording]:
        """Return the relabelled drives of all stages so far; those of the last may be to drive."""
        if self._config.stage[last].plan_only:
            return [self._drive(last)]
        drives = [
            self._drive(index) if index == last else open_recording(folder, self._frame)
            for index, stage in enumerate(self._config.stage[: last + 1])
            if stage.dagger_roads
            and not stage.plan_only
            and (folder := self._run.dagger(stage.name))
        ]
        return [delayed(drive, self._config.training.label_delay_ms / 1e3) for drive in drives]

    def _drive(self, index: int) -> Recording:
        folder = self._run.dagger(self._config.stage[index].name)
        with parallel.together():
            if parallel.is_first() and not folder.is_dir():
                self._record_drives(index, folder)
        return open_recording(folder, self._frame)

    def _record_drives(self, index: int, folder: Path) -> None:
        stage, frame = self._config.stage[index], self._frame
        if index == 0 and self._start:
            # What drives is what the run began with.
            weights = self._network.state_dict()
            self._run.save_result(dataclasses.replace(self._start, weights=weights))
        bundle = folder.with_suffix(".onnx")
        export(self._run, bundle)
        if stage.plan_only:
            samples = own_drives.drives(bundle, stage, self._sources, self._config.seed)
            record(samples, dataclasses.replace(frame, crop=Crop()), folder)
        else:
            record(dagger.drives(bundle, stage, index), frame, folder)

    def _encoded(
        self, index: int, drives: Sequence[Recording]
    ) -> tuple[list[Source], list[Recording]]:
        """Return features in the place of frames."""
        cache = FeatureCache(
            self._network,
            self._frame,
            seed=index,
            folder=self._cache,
            after_s=self._network.label_times_s,
            loaders=self._loaders,
        )
        if self._config.stage[index].plan_only:
            sources = [cache.judged(source) for source in self._sources]
            return sources, [cache.unchanged(drive) for drive in drives]
        sources, encoded = [cache.source(source) for source in self._sources], list(drives)
        for source in (one.config for one in self._sources if one.config.kind == "rendered"):
            encoded = [cache.training(drive, source) for drive in encoded]
        return sources, encoded

    def _rows(
        self, stage: StageConfig, sources: Sequence[Source], drives: Sequence[Recording]
    ) -> list[RowSource]:
        if stage.plan_only:
            row = RowSource(recordings=tuple(drives), heads=HEADS, augment=None, loss_weight=1)
            return [row] * (stage.batch_factor * sum(one.batch_size for one in self._config.source))
        rows = []
        for source in sources:
            own = drives if source.config.kind == "rendered" else []
            row = RowSource(
                recordings=(source.train, *own),
                heads=source.heads,
                augment=None if stage.stored_features else source.config.augment,
                loss_weight=source.config.loss_weight,
            )
            rows += [row] * (source.config.batch_size * stage.batch_factor)
        return rows

    def _sampler(self, index: int, rows: Sequence[RowSource]) -> BatchSampler:
        stage = self._config.stage[index]
        return BatchSampler(
            rows,
            self._frame,
            window=stage.window,
            pass_frames=stage.pass_frames,
            period_s=1 / self._config.serving.rate_hz,
            seed=self._config.seed * 1000 + index,
            after_s=self._network.label_times_s,
            share=parallel.share(),
        )
