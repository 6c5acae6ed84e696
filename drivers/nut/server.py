"""Keeps one TCP connection to an upsd, which all devices behind it share, and asks it for their variables."""

from __future__ import annotations

import asyncio

from drivers.back_off import BackOff
from drivers.connect_errors import system_reason
from drivers.modbus.errors import BadReply, ConnectionLost, DeviceError, Timeout
from drivers.nut.config import address_of
from drivers.nut.protocol import MOST_LINE_BYTES, Refused, VariableList
from drivers.shared import Shared

DEADLINE_S = 2.0  # for a whole answer; upsd answers from its memory, at once
_ADVICE = "check url, that upsd runs, its LISTEN lines in upsd.conf, and the firewall"


class NutServer(Shared):
    """An upsd. Requests go in turn; each has the machine's time, never the site's, for its whole answer.

    After silence, a bad answer or a loss the connection is dropped, so that a late answer is never taken for the next
    one. The next call opens a fresh one: at once if upsd had answered on the last, else after 0.1 s, doubling up to
    `backoff_max_s`; until then calls fail at once.
    """

    def __init__(self, host: str, port: int, *, backoff_max_s: float) -> None:
        super().__init__()
        self.host, self.port = host, port
        self._back_off = BackOff(backoff_max_s)
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._answered = False  # on the connection in use

    async def _close(self) -> None:
        self._drop()

    async def variables(self, device: str, name: str, deadline_s: float) -> dict[str, str]:
        """All variables of the device that upsd calls `name`. `device`: its id, for errors.

        Raises ConnectionLost, Timeout, BadReply; Refused where upsd answers ERR.
        """
        where = f"{device} at nut://{self.host}:{self.port}/{name}"
        async with self._turn:
            if self._closed:
                raise ConnectionLost(where, "closed", "nothing to do: the driver was closed")
            if (wait_s := self._back_off.wait_s(asyncio.get_running_loop().time())) > 0:
                raise ConnectionLost(where, f"{self._back_off.why}; next try in {wait_s:.1f} s", _ADVICE)
            try:
                async with asyncio.timeout(deadline_s):
                    found = await self._ask(where, name)
            except Refused:
                self._clean()
                raise
            except DeviceError as error:
                self._fail(error.what)
                raise
            except TimeoutError:
                what = f"no whole answer within {deadline_s:g} s"
                self._fail(what)
                raise Timeout(where, what, "check the load of upsd's machine and the network") from None
            except BaseException:  # cancelled amid an answer
                self._drop()
                raise
            self._clean()
            return found

    async def _ask(self, where: str, name: str) -> dict[str, str]:
        try:
            reader, writer = await self._connected()
            writer.write(f"LIST VAR {name}\n".encode("ascii"))
            await writer.drain()
            answer = VariableList(where, name)
            while True:
                line = await reader.readline()
                if not line.endswith(b"\n"):
                    raise ConnectionLost(where, "upsd closed the connection amid its answer", _ADVICE)
                if answer.take(line):
                    return answer.values
        except (OSError, UnicodeError) as error:
            raise ConnectionLost(where, system_reason(error), _ADVICE) from None
        except ValueError:  # of readline
            raise BadReply(where, f"a line of more than {MOST_LINE_BYTES} bytes") from None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection in use, or a new one where there is none, or where upsd has closed it meanwhile."""
        if self._streams is not None and self._streams[0].at_eof():
            self._drop()
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.host, self.port, limit=MOST_LINE_BYTES)
            self._answered = False
        return self._streams

    def _clean(self) -> None:
        self._answered = True
        self._back_off.answered()

    def _fail(self, why: str) -> None:
        self._back_off.failed(why, asyncio.get_running_loop().time(), at_once=self._answered)
        self._drop()

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()  # nothing is left to send
            self._streams = None
        self._answered = False


class NutServers:
    """Every upsd of a site, each once."""

    def __init__(self, backoff_max_s: float) -> None:
        self._backoff_max_s = backoff_max_s
        self._servers: dict[tuple[str, int], NutServer] = {}

    def at(self, url: str) -> NutServer:
        """The one that a url of the site file names."""
        host, port, _ = address_of(url)
        return self._servers.setdefault((host, port), NutServer(host, port, backoff_max_s=self._backoff_max_s))
