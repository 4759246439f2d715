"""A server whose state does not fit is refused before it has taken the memory."""

from __future__ import annotations

import math

import pytest

from steerstream_bundle.contract import StateKind, StateTensor
from steerstream_service.config import Config
from steerstream_service.errors import ConfigError
from steerstream_service.process import memory
from tests.service import bundles

FRAME_BYTES = 8 * 16 * 3


def contract(*shapes):
    state = [
        StateTensor(input=f"h{n}", output=f"next{n}", shape=shape, kind=StateKind.RECURRENT)
        for n, shape in enumerate(shapes)
    ]
    return bundles.contract(state=tuple(state))


def test_a_slot_for_each_session_and_a_batch():
    config = Config(max_sessions=9, max_batch=1)
    assert memory.needed_bytes(contract(), config) == FRAME_BYTES
    assert memory.needed_bytes(contract((5,), (2, 3)), config) == FRAME_BYTES + 12 * 4 * 11


def test_state_that_does_not_fit_is_refused_with_the_settings(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 2e9)
    memory.check([contract((4096,))], Config())
    with pytest.raises(ConfigError, match="65536 sessions and batches of 32 take 4,299 MB, "):
        memory.check([contract((4096, 4))], Config(max_sessions=65_536))


def test_several_models_share_the_memory(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 1.5 * 4 * 4096 * 129)
    memory.check([contract((4096,))], Config())
    with pytest.raises(ConfigError, match="lower max_sessions or max_batch"):
        memory.check([contract((4096,))] * 2, Config())


@pytest.mark.parametrize(
    ("limit", "used", "free"),
    [("max", 5, 8192e3), ("1000000000", 999_000_000, 3e6), (None, None, 8192e3)],
)
def test_free_memory_is_the_machines_or_the_control_groups(
    monkeypatch, tmp_path, limit, used, free
):
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")
        (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 2000000\nslab 3\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    assert memory.free_bytes() == free


def test_a_system_that_does_not_say_refuses_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    assert memory.free_bytes() == math.inf
    memory.check([contract((4096, 4096))], Config(max_sessions=65_536))


def test_this_system_says():
    assert 0 < memory.free_bytes() < 1e15
