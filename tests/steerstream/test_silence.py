from __future__ import annotations

import asyncio

import pytest

from steerstream.silence import _LOOKS, Silence


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
