"""Listens to a P1 port: a serial port, or a TCP bridge that passes the meter's bytes on."""

from __future__ import annotations

import asyncio
from functools import partial

from drivers.back_off import BackOff
from drivers.connect_errors import system_reason
from drivers.modbus.address import Address
from drivers.modbus.channels import Channel, open_channel
from drivers.modbus.errors import ConnectionLost, Timeout
from drivers.p1.arrivals import MOST_BYTES_A_SECOND, SILENT, Arrival, Arrivals

CONNECT_S = 2.0
FIRST_S = 3.0  # for the first two telegrams on a new connection
SILENT_S = 15.0  # without a byte: the connection is opened anew, as a bridge that was switched off does not end it


class Receiver:
    """The port of one meter. Telegrams are taken as they arrive; nothing is ever sent.

    A lost connection is opened by the next call of `current`: at once if a telegram had come on it, else after 0.1 s,
    doubling up to `backoff_max_s`.
    """

    def __init__(self, address: Address, device: str, backoff_max_s: float) -> None:
        self.address, self._device = address, device
        self.arrivals = Arrivals()
        self.connect_s: float | None = None
        self._channel: Channel | None = None
        self._connection = 0  # counts them, so that nothing of an earlier one is taken
        self._opened_s = self._heard_s = 0.0
        self._came = asyncio.Event()  # set when bytes came, and at the end of a connection
        self._back_off = BackOff(backoff_max_s)  # why: why there is no connection
        self._closed = False

    async def current(self) -> Arrival:
        """The newest telegram. Raises ConnectionLost, Timeout where none is young enough.

        It waits for telegrams only on a new connection, `FIRST_S` at most.
        """
        loop = asyncio.get_running_loop()
        if self._channel is not None and loop.time() - self._heard_s > SILENT_S:
            self._ended(self._connection, f"no byte for {SILENT_S:g} s")
        if self._channel is None:
            await self._open()
        try:
            async with asyncio.timeout_at(self._opened_s + FIRST_S):
                while self._channel is not None and (found := self.arrivals.current(loop.time())) is None:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            found = self.arrivals.current(loop.time())
        if self._channel is None:
            raise ConnectionLost(self._where, self._back_off.why, SILENT)
        if found is None:
            raise Timeout(self._where, *self.arrivals.why(loop.time()))
        return found

    def close(self) -> None:
        """Let go of the port for good."""
        self._closed = True
        self._ended(self._connection, "closed")

    @property
    def _where(self) -> str:
        return f"{self._device} at {self.address}"

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ConnectionLost(self._where, "closed", "nothing to do: the driver was closed")
        if (wait_s := self._back_off.wait_s(loop.time())) > 0:
            raise ConnectionLost(self._where, f"{self._back_off.why}; next try in {wait_s:.1f} s", SILENT)
        begun_s, connection = loop.time(), self._connection
        self._opened_s = self._heard_s = begun_s
        self.arrivals.begin(begun_s)
        received, ended = partial(self._received, connection), partial(self._ended, connection)
        try:
            channel = await open_channel(self.address, None, received, ended, CONNECT_S)
        except TimeoutError:
            self._ended(connection, f"cannot connect within {CONNECT_S:g} s")
        except (OSError, UnicodeError, OverflowError) as error:
            self._ended(connection, f"cannot connect: {system_reason(error)}")
        else:
            self._opened_s = loop.time()
            self.connect_s = self._opened_s - begun_s
            if connection == self._connection:
                self._channel = channel
                return
            channel.close()  # it has ended already
        raise ConnectionLost(self._where, self._back_off.why, SILENT)

    def _received(self, connection: int, data: bytes) -> None:
        if connection != self._connection:
            return
        self._heard_s = asyncio.get_running_loop().time()
        if not self.arrivals.take(data, self._heard_s):
            self._ended(connection, f"more than {MOST_BYTES_A_SECOND} bytes in a second: that is no P1 port")
        self._came.set()

    def _ended(self, connection: int, why: str) -> None:
        """This connection is gone, or could not be had."""
        if connection != self._connection:
            return
        self._connection += 1
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        why = why or "the other side ended the connection"
        self._back_off.failed(why, asyncio.get_running_loop().time(), at_once=self.arrivals.answered)
        self._came.set()
