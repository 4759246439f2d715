from __future__ import annotations

import pytest

from benchmark.errors import StateDiffersError
from benchmark.peers import judge

REFERENCE = [[[0.1, 10.0, 1.0], [0.2, 11.0, 1.1]], [[0.3, 12.0, 1.2], [0.4, 13.0, 1.3]]]


def test_outputs_that_equal_the_reference_pass() -> None:
    assert judge.check_state(REFERENCE, REFERENCE) == 0.0
    close = [[[value + 5e-5 for value in frame] for frame in each] for each in REFERENCE]
    assert judge.check_state(close, REFERENCE) == pytest.approx(5e-5)


def test_a_state_that_went_to_another_session_is_caught() -> None:
    swapped = [REFERENCE[1], REFERENCE[0]]
    with pytest.raises(StateDiffersError, match="session 0, frame 0"):
        judge.check_state(swapped, REFERENCE)


def test_a_state_that_was_lost_between_two_frames_is_caught() -> None:
    lost = [REFERENCE[0], [REFERENCE[1][0], REFERENCE[1][0]]]
    with pytest.raises(StateDiffersError, match="session 1, frame 1"):
        judge.check_state(lost, REFERENCE)


@pytest.mark.parametrize("answer", [None, [float("nan"), 0.0, 0.0]])
def test_no_output_and_nan_are_differences(answer: list[float] | None) -> None:
    with pytest.raises(StateDiffersError):
        judge.check_state([[answer]], [[[0.0, 0.0, 0.0]]])


def test_every_session_and_turn_sends_its_own_sequence() -> None:
    turns = [judge.sequences(8, 24, 64, turn=turn) for turn in range(2)]
    assert len({tuple(sequence) for turn in turns for sequence in turn}) == 16


def test_a_peer_is_compared_with_the_precision_that_it_serves() -> None:
    other = [[[value + 1e-3 for value in frame] for frame in each] for each in REFERENCE]
    references = {"f32": [REFERENCE, REFERENCE], "int8": [other, other]}
    assert judge.nearest([REFERENCE, REFERENCE], references) == ("f32", 0.0)
    assert judge.nearest([other, other], references) == ("int8", 0.0)
    with pytest.raises(StateDiffersError):
        judge.nearest([REFERENCE, other], references)


@pytest.mark.parametrize("limit", [0, 1, 2, 9, 14, 19])
def test_bisection_finds_the_last_load_that_holds(limit: int) -> None:
    search = judge.Search(low=10, high=20, tries=1)
    tries = 0
    while not search.is_over:
        search.take(holds=search.vehicles <= limit)
        tries += 1
    assert search.found == limit
    assert tries <= 6


def test_one_spoilt_try_does_not_end_a_search() -> None:
    search = judge.Search(low=10, high=20, tries=2)
    tried = set()
    while not search.is_over:
        spoilt = search.vehicles not in tried
        tried.add(search.vehicles)
        search.take(holds=search.vehicles <= 14 and not spoilt)
    assert search.found == 14


def test_a_search_without_room_is_over_at_once() -> None:
    assert judge.Search(low=1, high=1, tries=2).is_over
