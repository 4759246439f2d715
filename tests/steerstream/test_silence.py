from __future__ import annotations

import asyncio

import pytest

from steerstream.silence import _LOOKS, AnswerSilence, Silence


async def test_where_no_news_come_the_block_ends():
    silence = Silence(0.01, lambda: 3)
    with pytest.raises(TimeoutError):
        async with silence, asyncio.timeout(60):
            await asyncio.Event().wait()
    assert silence.was_too_long


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param(lambda look: look, id="news"),
        pytest.param(lambda look: look // _LOOKS, id="news at the last look"),
        pytest.param(lambda look: None, id="nothing owed"),
        pytest.param(lambda look: 7 if look % _LOOKS else None, id="nothing owed at the last look"),
    ],
)
async def test_news_or_nothing_owed_begin_the_count_again(heard):
    looks = 0
    enough = asyncio.Event()

    def look() -> int | None:
        nonlocal looks
        looks += 1
        if looks > 4 * _LOOKS:
            enough.set()
        result: int | None = heard(looks)
        return result

    async with Silence(0.01, look):
        await enough.wait()


async def test_another_timeout_is_not_taken_for_silence():
    silence = Silence(60.0, lambda: 0)
    with pytest.raises(TimeoutError, match="of the block"):
        async with silence:
            raise TimeoutError("of the block")
    assert not silence.was_too_long


async def test_the_looks_end_with_the_block():
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    async with Silence(0.01, look):
        pass
    at_the_end = looks
    await asyncio.sleep(0.02)
    assert looks == at_the_end


# Of a server, while frames wait.

MS = 1_000_000
LIMIT_MS = 200


@pytest.fixture
def answers():
    silence = AnswerSilence()
    silence.begin(LIMIT_MS * MS, 0)
    silence.look(0, None)
    return silence


def looked(silence, *times_ms, since_ms=0):
    """What part of the limit has passed at the last of the looks."""
    for time_ms in times_ms:
        part = silence.look(time_ms * MS, since_ms * MS)
    return part


def test_the_whole_limit_has_passed_when_all_of_it_was_looked_at(answers):
    assert looked(answers, *range(25, 201, 25)) == 1.0
    assert looked(answers, 201) > 1.0
    assert answers.lasts_ms == 201.0


def test_a_client_that_stood_still_counts_one_look(answers):
    assert looked(answers, 25, 10_000) == 0.25
    assert answers.lasts_ms == 10_000.0


def test_an_answer_begins_it_again(answers):
    looked(answers, *range(25, 176, 25))
    answers.heard(170 * MS)
    assert looked(answers, 180) == pytest.approx(10 / LIMIT_MS)


def test_without_a_frame_that_waits_there_is_none(answers):
    looked(answers, *range(25, 176, 25))
    assert answers.look(180 * MS, None) == 0.0
    assert looked(answers, 200, since_ms=190) == pytest.approx(10 / LIMIT_MS)


def test_another_server_has_the_whole_limit(answers):
    looked(answers, *range(25, 176, 25))
    answers.begin(LIMIT_MS * MS, 180 * MS)
    assert looked(answers, 190) == pytest.approx(10 / LIMIT_MS)


def test_the_next_look_is_when_it_may_be_over(answers):
    assert answers.next_look_s == 0.025
    looked(answers, *range(25, 176, 25), 190)
    assert answers.next_look_s == pytest.approx(0.010)
    looked(answers, 200)
    assert answers.next_look_s == 0.001
