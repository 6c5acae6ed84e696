"""What runs beside the tick: begun again when it fails, ended with the tick."""

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


async def run_beside(
    work: Sequence[Work], tick: Callable[[], Awaitable[None]], failed: Callable[[str, str], None]
) -> None:
    """Run `work` until `tick` ends. `failed` is told the name of what failed by a mistake of ours, and a text."""
    async with asyncio.TaskGroup() as group:
        beside = [group.create_task(_keep(name, run, failed)) for name, run in work]
        try:
            await tick()
        finally:
            # A wait_for that is answered in the very moment in which it is cancelled forgets the cancellation
            # (Python 3.11): it is said again until everybody has heard it.
            while beside:
                for task in beside:
                    task.cancel()
                _, still = await asyncio.wait(beside, timeout=CANCEL_S)
                beside = list(still)


async def _keep(name: str, run: Run, failed: Callable[[str, str], None]) -> None:
    while True:
        try:
            return await run()
        except Exception as error:
            log.exception("%s failed", name)
            failed(name, f"internal error, begun again in {RESTART_S:g} s: {error!r}")
            await asyncio.sleep(RESTART_S)
