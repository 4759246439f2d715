"""Chunks of histories: all are run once, on several processes, and are known the next time."""

from __future__ import annotations

import dataclasses

import pytest

from tests.histories import chunks


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_FOLDER", tmp_path / "kept")


@pytest.mark.usefixtures("folder")
def test_what_was_run_is_known_the_next_time_and_what_broke_something_is_run_again(monkeypatch):
    asked = [(1, 2), (3, 2), (5, 1)]
    first = {chunk.seed: chunk for chunk in chunks.run_all(asked, chunks.Kept(), 2)}
    assert [first[seed].histories for seed, _ in asked] == [2, 2, 1]
    assert all(chunk.frames > 0 and not chunk.broken for chunk in first.values())
    kept = chunks.Kept()
    assert kept.chunks.keys() == set(asked)
    kept.add(dataclasses.replace(first[5], seed=7, broken={7: ["[answers] two"]}))
    assert (7, 1) in kept.chunks
    assert (7, 1) not in chunks.Kept().chunks
    monkeypatch.setattr(chunks, "run", lambda *_: pytest.fail("it was run before"))
    assert {chunk.seed: chunk for chunk in chunks.run_all(asked, chunks.Kept(), 2)} == first


@pytest.mark.usefixtures("folder")
def test_after_a_change_of_the_code_nothing_is_known(monkeypatch):
    list(chunks.run_all([(1, 1)], chunks.Kept(), 1))
    assert chunks.Kept().chunks
    monkeypatch.setattr(chunks, "_SOURCES", ("tests/histories",))
    assert not chunks.Kept().chunks


def test_a_history_that_breaks_something_is_named_by_its_seed(monkeypatch):
    monkeypatch.setattr(chunks, "lines", lambda _: ["  [answers] one is missing"])
    chunk = chunks.run(4, 2)
    assert {seed: found[-1] for seed, found in chunk.broken.items()} == dict.fromkeys(
        (4, 5), "  [answers] one is missing"
    )
    (alone,) = chunks.run(4, 1).broken.values()
    assert any("server-0" in line for line in alone), "its plan"
