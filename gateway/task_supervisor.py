"""Supervises background tasks: restarts those that fail, ends them with the main task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol

log = logging.getLogger("skerry.gateway")

RESTART_S = 5.0  # after a first failure; each further one waits twice as long
LONGEST_RESTART_S = 60.0
WELL_S = 10.0  # work that has run for so long after a failure counts as working
CANCEL_S = 1.0  # between two cancellations
ENDED_S = 3.0  # after which the end does not wait for work that ignores them all

Run = Callable[[], Coroutine[Any, Any, None]]
Work = tuple[str, Run]  # its name, for people, and what to run


class Watcher(Protocol):
    """Is told what becomes of the work, by its name."""

    def failed(self, name: str, error: str, again_s: float) -> None:
        """It ended by an error, and is begun again."""

    def works(self, name: str) -> None:
        """It has run for a while since."""


async def run_supervised(work: Sequence[Work], main: Callable[[], Awaitable[None]], watcher: Watcher) -> None:
    """Run `work` until `main` ends. `watcher` is told of what failed by a mistake of ours."""
    tasks = [asyncio.create_task(keep_running(name, run, watcher), name=name) for name, run in work]
    try:
        await main()
    finally:
        await end_tasks(tasks)


async def end_tasks(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended, for `ENDED_S` at most: what does not end by then is left behind, and logged.

    A wait_for that is answered in the very moment in which it is cancelled loses the cancellation (Python 3.11).
    """
    loop, still_running = asyncio.get_running_loop(), list(tasks)
    until_s = loop.time() + ENDED_S
    while still_running and loop.time() < until_s:
        for task in still_running:
            task.cancel()
        _, running = await asyncio.wait(still_running, timeout=CANCEL_S)
        still_running = list(running)
    for task in still_running:
        log.error("%s does not end, it is left behind", task.get_name())


async def keep_running(name: str, run: Run, watcher: Watcher) -> None:
    """Run it, and begin it again when it fails, until it ends or is cancelled."""
    loop, wait_s = asyncio.get_running_loop(), RESTART_S
    failed = False
    while True:
        began_s = loop.time()
        well = loop.call_later(WELL_S, watcher.works, name) if failed else None
        try:
            await run()
            if failed:
                watcher.works(name)
            return
        except Exception as error:
            log.exception("%s failed", name)
            if loop.time() - began_s > LONGEST_RESTART_S:
                wait_s = RESTART_S
            failed = True
            watcher.failed(name, repr(error), wait_s)
        finally:
            if well is not None:
                well.cancel()
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_RESTART_S)
