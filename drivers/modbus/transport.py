"""Keeps a link to one Modbus TCP device: reconnects with a growing back-off while connections fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from drivers.modbus.connection import Connection
from drivers.modbus.errors import ConnectionLost

BACKOFF_MIN_S = 0.1


class ModbusLink:
    """One device behind `host:port`. All times are the machine's, never the site's: sockets do not know scaled time.

    After a timeout, a bad reply or a loss the connection is dropped; the next call opens a fresh one, but not before
    the back-off has passed: none if the device had answered on the last one, else 0.1 s, doubling to `backoff_max_s`.
    Until then calls fail at once with ConnectionLost. No call waits longer than two deadlines.
    """

    def __init__(
        self, host: str, port: int, *, deadline_s: float, backoff_max_s: float, device: str = "device"
    ) -> None:
        self.device, self.host, self.port = device, host, port
        self._deadline_s, self._backoff_max_s = deadline_s, backoff_max_s
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection | None] | None = None
        self._backoff_s = 0.0
        self._not_before_s = 0.0
        self._why = "not connected yet"
        self._closed = False

    async def open(self) -> Connection:
        """The connection in use, or a new one; compare with `is`: on another connection nothing known before counts.

        Raises ConnectionLost while it cannot be had.
        """
        if self._closed:
            raise ConnectionLost(self._where, "closed", "nothing to do: the driver was closed")
        if self._connection is not None and self._connection.lost:
            self._back_off(self._connection.lost, self._connection.lost_at_s, answered=self._connection.answered)
            self._connection = None
        if self._connection is not None:
            return self._connection
        if self._opening is None:
            wait_s = self._not_before_s - asyncio.get_running_loop().time()
            if wait_s > 0:
                raise ConnectionLost(self._where, f"{self._why}; next try in {wait_s:.1f} s")
            self._opening = asyncio.create_task(self._connect(), name=f"connect {self.device}")
        opening = self._opening
        await asyncio.wait({opening}, timeout=self._deadline_s)
        if not opening.done():
            raise ConnectionLost(self._where, f"still connecting after {self._deadline_s * 1000:g} ms")
        if opening.cancelled() or (connection := opening.result()) is None:
            raise ConnectionLost(self._where, self._why)
        return connection

    async def read(self, unit: int, address: int, count: int) -> list[int]:
        """Read holding registers over whatever connection there is. Raises as `Connection.read`."""
        return await (await self.open()).read(unit, address, count)

    async def write(self, unit: int, address: int, values: Sequence[int]) -> None:
        """Write holding registers over whatever connection there is. Raises as `Connection.write`."""
        await (await self.open()).write(unit, address, values)

    async def close(self) -> None:
        """Close for good."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        if self._connection is not None:
            self._connection.close()

    @property
    def _where(self) -> str:
        return f"{self.device} at {self.host}:{self.port}"

    async def _connect(self) -> Connection | None:
        """One try, in a task of its own: it may take longer than the call that started it is willing to wait."""
        connection = Connection(self.device, self.host, self.port, self._deadline_s)
        try:
            if await connection.connect():
                self._connection = connection
                return connection
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            self._opening = None
        self._back_off(connection.lost, asyncio.get_running_loop().time(), answered=False)
        return None

    def _back_off(self, why: str, since_s: float, *, answered: bool) -> None:
        """Note a failure: at once again if the device had answered on that connection, else later and later."""
        self._why = why
        self._backoff_s = 0.0 if answered else min(max(2 * self._backoff_s, BACKOFF_MIN_S), self._backoff_max_s)
        self._not_before_s = since_s + self._backoff_s
