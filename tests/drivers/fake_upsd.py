"""An upsd on loopback, written from NUT's docs/net-protocol.txt: LIST VAR, LIST UPS, refusals, faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

Variables = dict[str, str]

UPS = {
    "battery.charge": "97",
    "battery.runtime": "1680",
    "ups.load": "41",
    "ups.mfr": 'Maker "A" \\ B',
    "ups.realpower": "1230.5",
    "ups.status": "OL CHRG",
}
PDU = {"device.type": "pdu", "outlet.1.realpower": "310", "outlet.2.realpower": "0.0", "outlet.3.realpower": "455.5"}


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class FakeUpsd:
    """Serves `devices`: by name their variables, or the word of a refusal."""

    def __init__(self, **devices: Variables | str) -> None:
        self.devices: dict[str, Variables | str] = dict(devices)
        self.asked: list[str] = []
        self.connections = 0
        self.ends = False  # each connection after one answer
        self.answer: Callable[[str], bytes | None] | None = None  # instead of its own; None: silence
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def hang_up(self) -> None:
        """End every connection, at once."""
        for writer in self._writers:
            writer.transport.abort()

    def url(self, name: str) -> str:
        return f"nut://127.0.0.1:{self.port}/{name}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                asked = line.decode().rstrip("\n")
                self.asked.append(asked)
                said = self.answer(asked) if self.answer is not None else "".join(self.lines(asked)).encode()
                if said is not None:
                    writer.write(said)
                if self.ends:
                    break
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def lines(self, asked: str) -> Iterator[str]:
        match asked.split():
            case ["LIST", "UPS"]:
                yield "BEGIN LIST UPS\n"
                yield from (f'UPS {name} "Unavailable"\n' for name in self.devices)
                yield "END LIST UPS\n"
            case ["LIST", "VAR", name]:
                found = self.devices.get(name, "UNKNOWN-UPS")
                if isinstance(found, str):
                    yield f"ERR {found}\n"
                    return
                yield f"BEGIN LIST VAR {name}\n"
                yield from (f"VAR {name} {variable} {quoted(value)}\n" for variable, value in found.items())
                yield f"END LIST VAR {name}\n"
            case _:
                yield "ERR UNKNOWN-COMMAND\n"
