"""Work on driving data in several processes, in order: no result depends on how many there are.

They are forked, so what they work on is not copied, and whatever a function is bound to needs no
pickling; what goes to and fro is small or is moved as bytes.
"""

from __future__ import annotations

import collections
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import cv2

from model_export.errors import ProcessError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_AHEAD = 2
"""Items begun for each loader: one at work, one that waits. It bounds what lies in memory."""
_WATCH_S = 1.0

_work: Callable[[Any], Any]
"""In a loader, what it was started for."""


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], loaders: int
) -> Generator[_Result]:
    """Yield `function(item)` of each item, in their order; items are taken as results are.

    Args:
        function: depends on nothing that changes later.
        items: may be without end.
        loaders: processes; with 0 the work is done here, when a result is asked for.

    Raises:
        ProcessError: a loader was killed.
    """
    if not loaders:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("fork")
    begin = (function, os.getpid())
    pool = ProcessPoolExecutor(loaders, context, _begin, begin)
    try:
        yield from _begun_ahead(pool, iter(items), loaders * _AHEAD)
    except BrokenProcessPool:
        raise ProcessError(
            "a loader that prepares frames was killed, perhaps for its memory; the same command,"
            " with fewer --loaders, goes on from the last checkpoint"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begun_ahead(pool: ProcessPoolExecutor, items: Iterator[Any], ahead: int) -> Iterator[Any]:
    begun: collections.deque[Future[Any]] = collections.deque()
    for item in items:
        begun.append(pool.submit(_do, item))
        if len(begun) >= ahead:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def _begin(function: Callable[[Any], Any], parent: int) -> None:
    global _work  # noqa: PLW0603 - the one thing that a loader is for
    _work = function
    # Ctrl-C reaches all processes of a terminal: the training ends, and with it its loaders.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(1)
    # Here alone: pictures are read for evaluations too, which need no torch.
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this loader when the training is gone: killed, it can tell its loaders nothing."""
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(1)


def _do(item: Any) -> Any:  # noqa: ANN401 - whatever the work takes and gives
    return _work(item)
