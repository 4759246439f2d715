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


@pytest.mark.parametrize("limit", [0, 1, 2, 9, 14, 19])
def test_bisection_finds_the_last_load_that_holds(limit: int) -> None:
    tried: list[int] = []

    def holds(number: int) -> bool:
        tried.append(number)
        return number <= limit

    assert judge.most(holds, low=10, high=20) == limit
    assert len(tried) <= 6
