"""Spreads the requests to all BMCs of a site in time: they share a management network that is often slow."""

from __future__ import annotations

import asyncio

A_SECOND = 20.0  # 600 BMCs every 30 s; more of them are read less often


class Pace:
    """Whose request is next. Whoever waits goes in the order of coming."""

    def __init__(self, a_second: float = A_SECOND) -> None:
        self._every_s, self._next_s, self._next_order_s = 1 / a_second, float("-inf"), float("-inf")

    async def turn(self, first: bool = False) -> None:
        """Wait until a request may go out. `first`: one for an order, which waits only for those of other orders.

        Requests that only read are put off by as many, so that on average there are no more in all.
        """
        now_s = asyncio.get_running_loop().time()
        at_s = max(now_s, self._next_order_s if first else self._next_s)
        if first:
            self._next_order_s = at_s + self._every_s
        self._next_s = max(self._next_s, now_s) + self._every_s
        if at_s > now_s:
            await asyncio.sleep(at_s - now_s)
