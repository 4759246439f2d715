"""Where a server runs its networks, by the cores that it has."""

from __future__ import annotations

import threading

import pytest

from steerstream_bundle import quickest
from steerstream_service.config import Config
from steerstream_service.engine.loop_engine import LARGEST_STEP, LoopEngine, TurnExecutor
from steerstream_service.engine.thread_engine import ThreadEngine
from steerstream_service.process import server
from steerstream_service.process.server import Server
from tests.service import bundles


@pytest.fixture
def models(tmp_path):
    return quickest.load_all([bundles.recurrent(tmp_path / "tiny.onnx")])


@pytest.mark.parametrize(
    ("steps_on", "cores", "workers", "kind"),
    [
        ("auto", 1.0, 1, LoopEngine),
        ("auto", 2.0, 1, ThreadEngine),
        ("auto", 2.0, 2, LoopEngine),
        ("thread", 1.0, 1, ThreadEngine),
        ("loop", 2.0, 1, LoopEngine),
    ],
)
def test_one_core_has_no_threads_to_spare(  # noqa: PLR0917 - the columns of its table
    models, monkeypatch, steps_on, cores, workers, kind
):
    monkeypatch.setattr(server, "available_cores", lambda: cores)
    made = Server(models, "tiny", Config(steps_on=steps_on), workers=workers)
    assert type(made._engine) is kind
    assert isinstance(made._decoder, TurnExecutor) == (kind is LoopEngine)
    assert (made._beside is not None) == (kind is LoopEngine), "long pictures hold no loop up"
    largest = made.admission.models["tiny"].queue.cost.buckets[-1]
    assert largest == (LARGEST_STEP if kind is LoopEngine else Config().max_batch)


def test_a_machine_without_threads_for_decoding_is_noticed_at_the_start(models, monkeypatch):
    start, started = threading.Thread.start, []

    def start_one(thread):
        if len(started) == 1:
            raise RuntimeError("can't start new thread")
        start(thread)
        started.append(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        Server(models, "tiny", Config(steps_on="thread", decode_threads=3))
    started[0].join(60)
    assert not started[0].is_alive()


def test_every_thread_for_decoding_is_there_at_the_start(models):
    before = set(threading.enumerate())
    made = Server(models, "tiny", Config(steps_on="thread", decode_threads=3))
    made_here = set(threading.enumerate()) - before
    assert sum(thread.name.startswith("decode") for thread in made_here) == 3
    made._decoder.shutdown()
