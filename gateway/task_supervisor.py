"""Supervises background tasks: restarts those that fail, ends them with the main task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

log = logging.getLogger("skerry.gateway")

RESTART_S = 5.0
CANCEL_S = 1.0  # between two cancellations

Run = Callable[[], Coroutine[Any, Any, None]]
Work = tuple[str, Run]  # its name, for people, and what to run


async def run_supervised(
    work: Sequence[Work], main: Callable[[], Awaitable[None]], on_failure: Callable[[str, str], None]
) -> None:
    """Run `work` until `main` ends. `on_failure` is given the name of what failed by a mistake of ours, and a text."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_keep_running(name, run, on_failure)) for name, run in work]
        try:
            await main()
        finally:
            # A wait_for that is answered in the very moment in which it is cancelled loses the cancellation
            # (Python 3.11): cancel again until every task has ended.
            while tasks:
                for task in tasks:
                    task.cancel()
                _, still_running = await asyncio.wait(tasks, timeout=CANCEL_S)
                tasks = list(still_running)


async def _keep_running(name: str, run: Run, on_failure: Callable[[str, str], None]) -> None:
    while True:
        try:
            return await run()
        except Exception as error:
            log.exception("%s failed", name)
            on_failure(name, f"internal error, begun again in {RESTART_S:g} s: {error!r}")
            await asyncio.sleep(RESTART_S)
