"""A device that is nothing but registers, with injected faults. For tests that need no socket."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.modbus.errors import DeviceException, Timeout


class RegisterDouble:
    """Registers by unit name and address; `log` holds every request that wrote."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, int], int] = {}
        self.log: list[tuple[int, str, int, tuple[int, ...]]] = []
        self.reads = 0
        self.functions: set[int | None] = set()  # by which it was read; None: by 3
        self.refuse: dict[int, int] = {}  # address -> exception code
        self.deaf: set[int] = set()  # written without effect
        self.silent = False

    async def read(self, at: str, address: int, count: int, function: int | None = None) -> Sequence[int]:
        self._answer(at, address)
        self.reads += 1
        self.functions.add(function)
        return [self.held.get((at, address + n), 0) for n in range(count)]

    async def write(self, at: str, address: int, words: Sequence[int], function: int) -> None:
        self._answer(at, address)
        self.log.append((function, at, address, tuple(words)))
        if address in self.refuse:
            raise DeviceException(self.where(at, address), self.refuse[address])
        if address not in self.deaf:
            self.held.update({(at, address + n): word for n, word in enumerate(words)})

    def where(self, at: str, address: int) -> str:
        return f"double {at} register {address}"

    def _answer(self, at: str, address: int) -> None:
        if self.silent:
            raise Timeout(self.where(at, address), "no answer")

    def taken(self) -> list[tuple[int, str, int, tuple[int, ...]]]:
        """What was written since the last call."""
        log, self.log = self.log, []
        return log
