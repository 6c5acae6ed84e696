"""Work that can wait is done in small pieces, and none of it shortly before a tick."""

from __future__ import annotations

import asyncio

import pytest
from waiting import LIMIT_S

from drivers.http.turns import MOST_WAITING, Turns


async def passes(count: int = 5) -> None:
    """The event loop goes through what is due so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_of_all_that_come_together_one_goes_in_each_pass_of_the_loop() -> None:
    """So what is due meanwhile, such as a tick, never waits for more than one."""
    turns, now, gone = Turns(), 0, list[int]()

    async def count() -> None:
        nonlocal now
        while True:
            now += 1
            await asyncio.sleep(0)

    async def piece() -> None:
        await turns.turn()
        gone.append(now)

    counting = asyncio.create_task(count())
    await asyncio.gather(*(piece() for _ in range(5)))
    assert len(set(gone)) == 5
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)


async def test_none_goes_shortly_before_a_tick_nor_in_it() -> None:
    turns, loop = Turns(), asyncio.get_running_loop()
    turns.tick_due(loop.time() + 0.001)
    waiting = [asyncio.create_task(turns.turn()) for _ in range(3)]
    await passes()
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()  # whoever gives up is not waited for
    turns.tick_due(loop.time() + 3600.0)
    await asyncio.wait_for(asyncio.gather(*waiting[1:]), LIMIT_S)


async def test_a_tick_that_never_ends_does_not_end_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.http.turns.MOST_QUIET_S", 0.01)
    turns = Turns()
    turns.tick_due(asyncio.get_running_loop().time())
    await asyncio.wait_for(turns.turn(), LIMIT_S)


async def test_it_is_crowded_while_many_wait() -> None:
    """Each has a page in memory: no more are fetched."""
    turns, loop = Turns(), asyncio.get_running_loop()
    turns.tick_due(loop.time())
    waiting = [asyncio.create_task(turns.turn()) for _ in range(MOST_WAITING + 6)]
    await passes()
    assert turns.crowded
    waiting.pop().cancel()
    turns.tick_due(loop.time() + 3600.0)
    await asyncio.wait_for(asyncio.gather(*waiting), LIMIT_S)
    assert not turns.crowded
