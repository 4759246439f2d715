from __future__ import annotations

import asyncio

import pytest

from steerstream import Draining, Expiring
from steerstream.inbox import Inbox
from tests.steerstream.values import command


async def test_answers_come_in_order_and_then_the_end():
    inbox = Inbox(4, drop_oldest=False)
    for number in range(3):
        await inbox.put(command(number, 0))
    inbox.close()
    read = [(await inbox.get()).sequence_number for _ in range(3)]
    assert read == [0, 1, 2]
    assert await inbox.get() is None


async def test_where_the_newest_matters_the_oldest_is_dropped_and_counted():
    inbox = Inbox(2, drop_oldest=True)
    for number in range(5):
        await inbox.put(command(number, 0))
    assert [(await inbox.get()).sequence_number for _ in range(2)] == [3, 4]
    assert inbox.dropped == 3


async def test_where_all_are_wanted_the_sender_waits():
    inbox = Inbox(1, drop_oldest=False)
    await inbox.put(command(0, 0))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await inbox.put(command(1, 0))
    putting = asyncio.create_task(inbox.put(command(2, 0)))
    assert (await inbox.get()).sequence_number == 0
    await putting
    assert (await inbox.get()).sequence_number == 2


async def test_notices_overtake_answers_and_the_newest_of_a_kind_stays():
    inbox = Inbox(1, drop_oldest=False)
    await inbox.put(command(0, 0))
    for left in (300, 200, 100):
        inbox.put_notice(Draining(left))
    inbox.put_notice(Expiring(50))
    assert [await inbox.get() for _ in range(2)] == [Draining(100), Expiring(50)]


async def test_a_reader_that_waits_learns_of_the_end():
    inbox = Inbox(1, drop_oldest=False)
    readers = [asyncio.create_task(inbox.get()) for _ in range(3)]
    await asyncio.sleep(0)
    inbox.close()
    assert await asyncio.gather(*readers) == [None, None, None]
