"""What runs beside the tick ends with it, whatever it does, and does not end it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from waiting import LIMIT_S

from gateway import task_supervisor
from gateway.task_supervisor import run_supervised


def unheard(name: str, text: str) -> None:
    raise AssertionError(f"{name}: {text}")


async def test_work_that_forgets_its_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_supervisor, "CANCEL_S", 0.01)
    begun, forgotten = asyncio.Event(), asyncio.Event()

    async def forgetful() -> None:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        forgotten.set()
        await asyncio.Event().wait()

    async def tick() -> None:
        await begun.wait()

    await asyncio.wait_for(run_supervised([("forgetful", forgetful)], tick, unheard), LIMIT_S)
    assert forgotten.is_set()


async def test_work_that_fails_is_told_of_and_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_supervisor, "RESTART_S", 0.01)
    runs, told, twice = 0, [], asyncio.Event()

    async def faulty() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise KeyError("a mistake")
        twice.set()

    async def tick() -> None:
        await twice.wait()

    await asyncio.wait_for(run_supervised([("planner", faulty)], tick, lambda *said: told.append(said)), LIMIT_S)
    assert told == [("planner", "internal error, begun again in 0.01 s: KeyError('a mistake')")]


async def test_a_tick_that_fails_ends_the_work_and_is_not_hidden() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def tick() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("no tick")

    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(run_supervised([("work", work)], tick, unheard), LIMIT_S)
    assert "no tick" in repr(caught.value.exceptions)
    assert ended.is_set()
