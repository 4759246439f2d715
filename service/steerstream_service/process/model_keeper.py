"""Changes what a running server serves: reads and warms up bundles beside the drives."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from steerstream_bundle import onnx_file, providers, quickest
from steerstream_bundle.errors import BundleError
from steerstream_bundle.loading import Bundle, reduced_path
from steerstream_bundle.providers import Provider
from steerstream_service.admission.admission import Admission
from steerstream_service.admission.catalogue import Model, RoutingError
from steerstream_service.admission.shadows import Shadows
from steerstream_service.config import Config
from steerstream_service.engine.engine import Engine
from steerstream_service.process import memory, priority
from steerstream_service.telemetry.logs import fields
from steerstream_service.telemetry.observer import Observer

_log = logging.getLogger(__name__)

_LOWEST_NICENESS = 19
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Source:
    """Where bundles are loaded from, and how they are run.

    Attributes:
        folder: of the bundles that may be loaded; None where none may.
        candidates: what may run them, the preferred first.
        precision: the precision that the operator asked for.
    """

    folder: Path | None
    candidates: Sequence[Provider]
    precision: str


NO_SOURCE = Source(None, (providers.CPU,), quickest.AUTO)
"""Of a server that loads no bundles once it runs."""


class ModelKeeper:
    """Loads and unloads models; all but reading and warming up runs on the event loop.

    Args:
        source: where bundles come from.
        admission: gets the models.
        engine: gets their queues.
        shadows: compare models.
        config: the server's settings.
        observer: is told of new models.
    """

    def __init__(
        self,
        source: Source,
        *,
        admission: Admission,
        engine: Engine,
        shadows: Shadows,
        config: Config,
        observer: Observer,
    ) -> None:
        self._source = source
        self._admission = admission
        self._engine = engine
        self._shadows = shadows
        self._config = config
        self._observer = observer
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "load", self._yield_to_drives)
        self._unloading: dict[Model, asyncio.Task[None]] = {}

    @property
    def unloading(self) -> Collection[Model]:
        """Models that open no more sessions, and have some left."""
        return self._unloading.keys()

    async def load(self, file: str, digests: Collection[str], name: str) -> None:
        """Read a bundle, warm its network up, and serve it.

        Args:
            file: a name in the folder.
            digests: SHA-256 of the files that may be read, in hexadecimal.
            name: the name that it is served under; empty for its contract's.

        Raises:
            BundleError: the file is not there, has another digest, or is no bundle that works.
            RoutingError: there is no folder, or the name is taken.
            ConfigError: the memory does not suffice.
            TimeoutError: it took longer than a start may.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._config.start_timeout_s), self._lock:
            bundle = await loop.run_in_executor(self._thread, self._read, file, digests)
            model = Model(bundle, self._config, name)
            self._check_name(model.name)
            await loop.run_in_executor(self._thread, model.queue.warm_up)
            self._admission.capacity.add_model(model.name, model.queue.cost)
            self._engine.add(model.queue)
            self._observer.served(model.name)
            self._admission.catalogue.add(model)
        _log.info(
            "model_loaded",
            extra=fields(
                model=model.name,
                file=file,
                precision=bundle.precision,
                sha256=bundle.sha256,
                step_us=model.queue.step_cost_ns // 1000,
            ),
        )

    def unload(self, name: str) -> None:
        """Open no more sessions with a model, and let go of it when its last session has ended.

        Raises:
            UnknownModelError: it is not served.
            RoutingError: it is the default, or compared with it.
        """
        comparison = self._shadows.comparison
        if comparison is not None and comparison.name == name:
            raise RoutingError(
                f"{name!r} is compared with others; end the comparison first: a shadow's share of 0"
            )
        model = self._admission.catalogue.remove(name)
        self._unloading[model] = asyncio.create_task(self._let_go(model))
        _log.info("model_unloading", extra=fields(model=name))

    def stop(self) -> None:
        """Read no more bundles, and wait for nothing."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for task in self._unloading.values():
            task.cancel()

    async def _let_go(self, model: Model) -> None:
        # A session, or a shadow, holds a slot for as long as it may submit a frame.
        while model.queue.pool.free < self._config.max_sessions:  # noqa: ASYNC110 - seldom, and slow
            await asyncio.sleep(_LOOK_S)
        self._engine.remove(model.queue)
        self._admission.capacity.remove_model(model.name)
        del self._unloading[model]
        _log.info("model_unloaded", extra=fields(model=model.name))

    def _check_name(self, name: str) -> None:
        if name in self._admission.models or name in {model.name for model in self._unloading}:
            raise RoutingError(f"a model {name!r} is served already; load it under another name")

    def _read(self, file: str, digests: Collection[str]) -> Bundle:
        folder = self._source.folder
        if folder is None:
            raise RoutingError("start the server with --load-from DIR, the folder to load from")
        is_name = file.isprintable() and file == Path(file).name and not file.startswith(".")
        if not (file and is_name):
            raise BundleError(f"{file!r:.80} must be the name of a file of --load-from, no path")
        path = folder / file
        # The digest comes before anything is made of the bytes.
        _check_digest(path, digests)
        sibling = reduced_path(path, quickest.INT8)
        precision = self._source.precision
        if precision != quickest.F32 and sibling.exists() and _digest(sibling) not in digests:
            precision = quickest.F32
        (bundle,) = quickest.load_all(
            [path],
            candidates=self._source.candidates,
            precision=precision,
            intra_op_threads=self._config.intra_op_threads,
        ).values()
        if bundle.sha256 not in digests:
            raise BundleError(f"{path}: was changed while it was read; load it again")
        if not self._source.candidates[0].pool_on_device:
            memory.check([bundle.contract], self._config)
        return bundle

    def _yield_to_drives(self) -> None:
        """Let reading and warming up have the time that drives leave.

        Threads of ONNX Runtime inherit the priority, and would keep it in every step, so this is
        only for a server that has none.
        """
        if self._config.intra_op_threads == 1:
            priority.lower(_LOWEST_NICENESS)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(onnx_file.read(path)).hexdigest()
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None


def _check_digest(path: Path, digests: Collection[str]) -> None:
    found = _digest(path)
    if found not in digests:
        raise BundleError(
            f"{path}: its SHA-256 is {found}, which was not stated; if it is the file that you "
            "mean, state it with --sha256"
        )
