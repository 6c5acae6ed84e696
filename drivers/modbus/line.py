"""Keeps the one connection to an address, which all units behind it share.

Many gateways and inverters take a single TCP connection and close or ignore others (SolarEdge, Huawei, RS485 gateways).
"""

from __future__ import annotations

import asyncio
import ssl

from drivers.back_off import BackOff
from drivers.modbus.address import Address
from drivers.modbus.connection import Caller, Connection
from drivers.modbus.errors import ConnectionLost
from drivers.shared import Shared

OWED_DEADLINES = 2  # how long an answer that did not come in time may still come, where it cannot be told from the next


class Line(Shared):
    """An address. Whoever holds `turn` may ask for the connection and send one request over it.

    `turn` is first come, first served, so that no device waits for more than one request of each other. While the
    connection cannot be had, tries come later and later, up to `backoff_max_s`.

    Without transaction ids a late answer looks like the next one's. A unit that owes one is left alone until it must
    have come (`settled`); what comes meanwhile is thrown away.
    """

    def __init__(self, address: Address, *, backoff_max_s: float, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.address = address
        self.turn = asyncio.Lock()
        self.number = 0  # of the connection: another one has another number
        self.connect_s: float | None = None  # how long the connection in use took to be there
        self.dropped = 0  # connections that ended because some device was silent or gave a wrong answer
        self._back_off = BackOff(backoff_max_s, why="not connected yet")
        self._longest_s = self._connect_delay_s = self._spacing_s = 0.0
        self._tls = tls
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection | None] | None = None
        self._free_at_s = 0.0
        self._settled_at_s: dict[int, float] = {}  # by unit

    def allow_for(self, deadline_s: float, connect_delay_s: float = 0.0, spacing_s: float = 0.0) -> None:
        """One of its devices needs this much time.

        `connect_delay_s`: how long that device wants to be left alone after a connect, `spacing_s`: between requests.
        """
        self._spacing_s = max(self._spacing_s, spacing_s)
        self._longest_s = max(self._longest_s, deadline_s)
        self._connect_delay_s = max(self._connect_delay_s, connect_delay_s)

    async def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        if self._connection is not None:
            self._connection.close()

    @property
    def live(self) -> bool:
        """Whether there is a connection that may be used."""
        return self._connection is not None and not self._connection.lost

    async def connection(self, caller: Caller) -> Connection:
        """The connection in use, or a new one. Raises ConnectionLost when it cannot be had by the caller's deadline."""
        self._drop_lost()
        if self._connection is not None:
            return self._connection
        where = f"{caller.device} at {self.address}"
        if self._opening is None:
            if (wait_s := self._back_off.wait_s(asyncio.get_running_loop().time())) > 0:
                raise ConnectionLost(where, f"{self._back_off.why}; next try in {wait_s:.1f} s")
            self._opening = asyncio.create_task(self._connect(), name=f"connect {self.address}")
        opening = self._opening
        await asyncio.wait({opening}, timeout=caller.deadline_s)
        if not opening.done():
            raise ConnectionLost(where, f"still connecting after {caller.deadline_s * 1000:g} ms")
        if opening.cancelled() or (connection := opening.result()) is None:
            raise ConnectionLost(where, self._back_off.why)
        return connection

    def settled(self, unit: int) -> bool:
        """Whether no late answer of this unit can be taken for the next one's."""
        settled_at_s = self._settled_at_s.get(unit)
        return settled_at_s is None or asyncio.get_running_loop().time() >= settled_at_s

    async def settle(self, unit: int) -> None:
        """Wait until it is settled."""
        if (wait_s := self._settled_at_s.get(unit, 0.0) - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(wait_s)

    async def pause(self) -> None:
        """Wait until the pause after the last request is over."""
        if self._spacing_s and (wait_s := self._free_at_s - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(wait_s)

    def asked(self, caller: Caller, unit: int, connection: Connection) -> None:
        """A request has come to its end, in whatever way."""
        now_s = asyncio.get_running_loop().time()
        self._free_at_s = now_s + self._spacing_s
        if connection.owed and (self.address.rtu or caller.any_transaction):
            self._settled_at_s[unit] = now_s + OWED_DEADLINES * caller.deadline_s

    def _drop_lost(self) -> None:
        """Forget a connection that has ended. One that the other side closed before it answered counts as a failure."""
        if self._connection is not None and (lost := self._connection.lost):
            if self._connection.answered:
                self._back_off.answered()
            elif self._connection.by_peer:
                self._back_off.failed(lost, self._connection.lost_at_s)
            self._connection = None

    async def _connect(self) -> Connection | None:
        """One try, in a task of its own: it may take longer than the caller who started it is willing to wait."""
        connection = Connection(self.address, self._longest_s, self._tls)
        began_s = asyncio.get_running_loop().time()
        try:
            if await connection.connect():
                self.connect_s = asyncio.get_running_loop().time() - began_s
                await asyncio.sleep(self._connect_delay_s)
                self._connection, self.number = connection, self.number + 1
                return connection
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            self._opening = None
        self._back_off.failed(connection.lost, asyncio.get_running_loop().time())
        return None
