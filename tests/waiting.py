"""Waiting for what happens, however long a busy machine takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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
