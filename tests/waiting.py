"""Waiting for what happens, however long a busy machine takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
LIMIT_S = 60.0  # no machine is that slow: what has not happened by then will not


async def until(condition: Callable[[], object]) -> None:
    """Wait until something that has no event of its own is so. Raises TimeoutError."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110  there is no event
            await asyncio.sleep(0.005)


async def until_done(attempt: Callable[[], Awaitable[T]], failure: type[Exception]) -> T:
    """Try until it no longer fails, as a poll does; what it gives then. Raises TimeoutError."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                return await attempt()
            except failure:
                await asyncio.sleep(0.02)


def clock_at_work_s() -> float:
    """A clock that stands while a thread of this process waits for a core, so that a busy machine is not counted.

    Linux counts that wait in nanoseconds: second field of /proc/*/schedstat (Documentation/scheduler/sched-stats).
    """
    waited_ns = 0
    for thread in Path("/proc/self/task").iterdir():
        try:
            waited_ns += int((thread / "schedstat").read_text(encoding="ascii").split()[1])
        except OSError:  # ended meanwhile, or a kernel that does not count
            continue
    return time.monotonic() - waited_ns / 1e9
