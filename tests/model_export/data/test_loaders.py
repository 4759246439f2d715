"""Loaders give what the training itself would have made, in order, and end with it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model_export.data.loaders import in_order
from model_export.errors import ProcessError
from tests.model_export.data.test_sequences import sampler, source


@pytest.mark.parametrize("loaders", [0, 1, 3])
def test_results_come_in_the_order_of_their_items(loaders: int):
    taken: list[int] = []

    def endless() -> Iterator[int]:
        for item in itertools.count():
            taken.append(item)
            yield item

    with contextlib.closing(in_order(lambda item: item * item, endless(), loaders)) as results:
        assert list(itertools.islice(results, 20)) == [item * item for item in range(20)]
    # A loader has one item at work, and one that waits.
    assert len(taken) <= 20 + 2 * loaders


def test_batches_are_the_same_whoever_fills_them():
    rows = (source(40, 30, noise=20.0), source(50, noise=20.0))
    alone, shared = sampler(*rows), sampler(*rows)
    with contextlib.closing(in_order(shared.filled, shared.windows_ahead(), 3)) as batches:
        for _ in range(20):
            left, right = alone.next_batch(), next(batches)
            shared.next_windows()
            np.testing.assert_array_equal(left.frames, right.frames)
            np.testing.assert_array_equal(left.labels, right.labels)
            np.testing.assert_array_equal(left.resets, right.resets)
            assert shared.state_dict() == alone.state_dict()


def test_an_error_of_a_loader_is_raised_as_it_is():
    with pytest.raises(ZeroDivisionError, match="division or modulo by zero"):
        list(in_order(lambda item: 1 // item, [1, 0], 2))


def test_a_killed_loader_is_named_in_one_line():
    def die(_item: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ProcessError, match="a loader that prepares frames was killed"):
        list(in_order(die, [1], 1))


def test_loaders_end_with_a_training_that_is_killed(tmp_path: Path):
    training = os.fork()
    if not training:
        for pid in in_order(lambda _item: os.getpid(), itertools.count(), 1):
            (tmp_path / "loader").write_text(str(pid))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(training, 0)
    loader = int((tmp_path / "loader").read_text())
    for _ in range(2000):
        if not runs(loader):
            return
        time.sleep(0.05)
    raise AssertionError("the loader still runs")


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for a parent to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
