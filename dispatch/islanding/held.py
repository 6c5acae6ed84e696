"""Measures for how long a condition has held."""

from __future__ import annotations


class Held:
    """For how long a condition has held without a break."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def update(self, holds: bool, mono_s: float, unsure: bool = False) -> float:
        """Seconds; below 0 while it does not hold. One sight of it is 0. `unsure`: it neither begins nor ends."""
        if unsure:
            return self.held_s(mono_s)
        if not holds:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = mono_s
        return self.held_s(mono_s)

    def held_s(self, mono_s: float) -> float:
        """As `update` found it."""
        return -1.0 if self._since_s is None else mono_s - self._since_s
