"""Runs what may hang for ever, such as a call to a dead disk: in a thread that nobody waits for at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

Result = TypeVar("Result")


async def may_hang(work: Callable[..., Result], *arguments: Any) -> Result:
    """What `asyncio.to_thread` does, but whoever gives up waiting can end the process."""
    return await asyncio.wrap_future(in_daemon_thread(partial(work, *arguments)))


def in_daemon_thread(work: Callable[[], Result]) -> Future[Result]:
    """Begin `work`; its result or error as a future. The thread does not keep the process from ending."""
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  whoever waits gets it, whatever it is
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="daemon", daemon=True).start()
    return future
