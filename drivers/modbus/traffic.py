"""Keeps what one device's link has seen: how long answers took, and the registers last read."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

KEPT = 100  # answers of which the times are kept
BLOCKS = 256  # reads of which the registers are kept; a driver repeats the same few dozen


class Place(NamedTuple):
    """Where registers are. `function`: 3 holding registers, 4 input registers."""

    unit: int
    function: int
    address: int


class Traffic:
    """Round trips and registers of one device. Times are the event loop's."""

    def __init__(self) -> None:
        self.answers = self.refusals = self.failures = 0  # refusals: Modbus exceptions
        self.connect_s: float | None = None  # how long its last TCP connection took to be there
        self._took_s: deque[float] = deque(maxlen=KEPT)
        self._blocks: dict[tuple[Place, int], tuple[float, tuple[int, ...]]] = {}

    def answered(self, took_s: float, refused: bool = False) -> None:
        """An answer came, or an exception."""
        self.answers += not refused
        self.refusals += refused
        self._took_s.append(took_s)

    def failed(self) -> None:
        """No answer, or one that was not used."""
        self.failures += 1

    def keep(self, place: Place, words: list[int], at_s: float) -> None:
        """Keep the registers of a read. Of the same read only the last are kept."""
        key = place, len(words)
        self._blocks.pop(key, None)  # so that the oldest is the first
        self._blocks[key] = at_s, tuple(words)
        if len(self._blocks) > BLOCKS:
            del self._blocks[next(iter(self._blocks))]

    @property
    def median_ms(self) -> float | None:
        """Of the last round trips; None before the first."""
        return 1000 * sorted(self._took_s)[len(self._took_s) // 2] if self._took_s else None

    @property
    def worst_ms(self) -> float | None:
        """The longest of the last round trips."""
        return 1000 * max(self._took_s) if self._took_s else None

    def registers(self) -> dict[Place, tuple[int, float]]:
        """Each register that was read: the word, and when."""
        found: dict[Place, tuple[int, float]] = {}
        for (place, _), (at_s, words) in self._blocks.items():  # the newest last
            for n, word in enumerate(words):
                found[place._replace(address=place.address + n)] = word, at_s
        return found
