"""Runs what may hang for ever, such as a call to a dead disk: in a thread that nobody waits for at the end.

Every call of the gateway that may block goes through here: an executor of `concurrent.futures` joins its threads when
the process ends, so one hung call would keep the process for ever.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

Result = TypeVar("Result")

_under_way: set[threading.Thread] = set()
_lock = threading.Lock()


async def may_hang(work: Callable[..., Result], *arguments: Any) -> Result:
    """What `asyncio.to_thread` does, but whoever gives up waiting can end the process."""
    return await asyncio.wrap_future(in_daemon_thread(partial(work, *arguments)))


def in_daemon_thread(work: Callable[[], Result], name: str = "daemon") -> Future[Result]:
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
        finally:
            with _lock:
                _under_way.discard(thread)

    thread = threading.Thread(target=run, name=name, daemon=True)
    with _lock:
        _under_way.add(thread)
    try:
        thread.start()
    except BaseException:
        with _lock:
            _under_way.discard(thread)
        raise
    return future


def under_way() -> list[str]:
    """The names of the threads whose work has not ended."""
    with _lock:
        return sorted(thread.name for thread in _under_way)


class DaemonExecutor(ThreadPoolExecutor):
    """For what asyncio and drivers hand to the event loop's default executor, such as looking up a host's name."""

    def __init__(self) -> None:
        super().__init__(1)

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Begin the call in a daemon thread of its own."""
        return in_daemon_thread(partial(fn, *args, **kwargs), "executor")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """There is nothing to wait for."""
        del wait, cancel_futures
