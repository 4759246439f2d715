"""Turns come one at a time, in rounds, to those who still wait for them."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from steerstream_service.admission.fair_queue import CrowdedError, FairQueue

MOST = 6


class Crowd:
    """Those who ask for turns, by name; the first letter says whose a turn is."""

    def __init__(self):
        self.turns = FairQueue(MOST)
        self.had, self.refused, self.tasks = [], [], {}

    async def come(self, *names):
        for name in names:
            self.tasks[name] = asyncio.create_task(self._come(name))
            await asyncio.sleep(0)

    async def _come(self, name):
        try:
            await self.turns.take(name[0])
        except CrowdedError:
            self.refused.append(name)
        else:
            self.had.append(name)

    async def give_back(self, times=1):
        for _ in range(times):
            self.turns.give_back()
            await asyncio.sleep(0)


async def test_a_free_turn_is_had_at_once_and_the_next_when_it_comes_back():
    crowd = Crowd()
    await crowd.come("a1", "a2", "a3")
    assert crowd.had == ["a1"]
    await crowd.give_back()
    assert crowd.had == ["a1", "a2"]
    await crowd.give_back(2)
    await crowd.come("b1")
    assert crowd.had == ["a1", "a2", "a3", "b1"]


async def test_everybody_has_one_turn_in_a_round():
    crowd = Crowd()
    await crowd.come("a0", "a1", "a2", "a3", "b1", "c1", "b2")
    await crowd.give_back(6)
    assert crowd.had == ["a0", "a1", "b1", "c1", "a2", "b2", "a3"]


async def test_of_a_crowd_that_is_too_large_the_last_of_whoever_has_most_is_refused():
    crowd = Crowd()
    await crowd.come("a0", *(f"a{number}" for number in range(1, MOST + 3)))
    assert crowd.refused == [f"a{MOST + 1}", f"a{MOST + 2}"]
    await crowd.come("b1", "c1")
    await asyncio.sleep(0)
    assert crowd.refused[2:] == [f"a{MOST}", f"a{MOST - 1}"]
    await crowd.give_back(MOST)
    assert crowd.had == ["a0", "a1", "b1", "c1", "a2", "a3", "a4"]


async def test_who_has_as_many_as_anybody_is_refused_itself():
    crowd = Crowd()
    await crowd.come("x", *"abcdef", "g", "a")
    assert crowd.refused == ["g", "a"]


async def test_who_is_gone_has_no_turn_and_keeps_nobody_waiting():
    crowd = Crowd()
    await crowd.come("a0", "a1", "b1", "b2", "c1")
    crowd.tasks["a1"].cancel()
    await asyncio.wait([crowd.tasks["a1"]])
    crowd.tasks["b1"].cancel()  # Its turn comes before it knows.
    await crowd.give_back(2)
    assert crowd.had == ["a0", "c1", "b2"]


async def test_a_turn_that_comes_together_with_a_cancellation_goes_on_to_the_next():
    crowd = Crowd()
    await crowd.come("a0", "b1", "c1")
    crowd.turns.give_back()
    crowd.tasks["b1"].cancel()
    await asyncio.wait([crowd.tasks["b1"]])
    await asyncio.sleep(0)
    assert crowd.had == ["a0", "c1"]
    await crowd.give_back()
    await crowd.come("d1")
    assert crowd.had == ["a0", "c1", "d1"]


async def test_a_refusal_that_comes_together_with_a_cancellation_gives_no_turn_away():
    crowd = Crowd()
    await crowd.come("a0", *(f"a{number}" for number in range(1, MOST + 1)))
    last = crowd.tasks[f"a{MOST}"]
    last.cancel()
    await crowd.come("b1")
    await asyncio.wait([last])
    assert crowd.refused == []
    crowd.tasks["b2"] = asyncio.create_task(crowd._come("b2"))
    crowd.tasks[f"a{MOST - 1}"].cancel()
    await asyncio.sleep(0)
    assert crowd.had == ["a0"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("come"), st.sampled_from("abc")),
            st.tuples(st.just("back"), st.just("")),
            st.tuples(st.just("gone"), st.integers(0, 40)),
            st.tuples(st.just("wait"), st.just("")),
        ),
        max_size=60,
    )
)
def test_no_history_gives_a_turn_twice_or_loses_one(history):
    async def live():
        crowd, returned = Crowd(), 0
        for number, (what, which) in enumerate(history):
            match what:
                case "come":
                    name = f"{which}{number}"
                    crowd.tasks[name] = asyncio.create_task(crowd._come(name))
                case "back" if len(crowd.had) > returned:
                    returned += 1
                    crowd.turns.give_back()
                case "gone" if crowd.tasks:
                    [*crowd.tasks.values()][which % len(crowd.tasks)].cancel()
                case "wait":
                    await asyncio.sleep(0)
            assert returned <= len(crowd.had) <= returned + 1
        while True:
            for _ in range(3):
                await asyncio.sleep(0)
            if len(crowd.had) == returned:
                break
            returned += 1
            crowd.turns.give_back()
        assert all(task.done() for task in crowd.tasks.values()), "nobody waits for ever"
        assert not crowd.turns._waiting
        await crowd.come("z")
        assert crowd.had[-1] == "z"

    asyncio.run(live())
