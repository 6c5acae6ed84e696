"""What runs outside the tick ends with it, whatever it does, and does not end it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from waiting import LIMIT_S

from gateway import task_supervisor
from gateway.task_supervisor import run_supervised


class Heard:
    """What the supervisor says."""

    def __init__(self) -> None:
        self.said: list[tuple[str, ...]] = []
        self.news = asyncio.Event()

    def failed(self, name: str, error: str, again_s: float) -> None:
        self.said.append((name, error, f"{again_s:g}"))

    def works(self, name: str) -> None:
        self.said.append((name, "works"))
        self.news.set()


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

    await asyncio.wait_for(run_supervised([("forgetful", forgetful)], tick, Heard()), LIMIT_S)
    assert forgotten.is_set()


async def test_work_that_fails_is_told_of_and_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_supervisor, "RESTART_S", 0.01)
    monkeypatch.setattr(task_supervisor, "WELL_S", 0.01)
    runs, heard = 0, Heard()

    async def faulty() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise KeyError("a mistake")
        await asyncio.Event().wait()

    async def tick() -> None:
        await heard.news.wait()

    await asyncio.wait_for(run_supervised([("planner", faulty)], tick, heard), LIMIT_S)
    mistake = "KeyError('a mistake')"
    assert heard.said == [("planner", mistake, "0.01"), ("planner", mistake, "0.02"), ("planner", "works")]


async def test_work_that_ignores_every_cancellation_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(task_supervisor, "CANCEL_S", 0.01)
    monkeypatch.setattr(task_supervisor, "ENDED_S", 0.03)
    begun, end = asyncio.Event(), asyncio.Event()

    async def deaf() -> None:
        begun.set()
        while not end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await end.wait()

    async def tick() -> None:
        await begun.wait()

    await asyncio.wait_for(run_supervised([("deaf", deaf)], tick, Heard()), LIMIT_S)
    assert "deaf does not end, it is left behind" in caplog.text
    end.set()


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

    with pytest.raises(RuntimeError, match="no tick"):
        await asyncio.wait_for(run_supervised([("work", work)], tick, Heard()), LIMIT_S)
    assert ended.is_set()
