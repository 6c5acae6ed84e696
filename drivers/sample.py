"""Holds values read from a device at one moment, and gives them as readings with their age."""

from __future__ import annotations

from collections.abc import Mapping

from dispatch.model.readings import MISSING, UNKNOWN, Quality, Reading, Status

Value = float | int | str | tuple[str, ...]


class Sample:
    """Named values with a common age. What is absent, None or of another kind is missing."""

    def __init__(self, values: Mapping[str, Value | None], age_s: float = 0.0, quality: Quality = Quality.GOOD) -> None:
        self._values, self._age_s, self._quality = values, age_s, quality

    def aged(self, age_s: float, quality: Quality) -> Sample:
        """The same values, older."""
        return Sample(self._values, age_s, quality)

    def number(self, *names: str) -> float | None:
        """The first of these that is a number."""
        for name in names:
            value = self._values.get(name)
            if isinstance(value, (int, float)):
                return float(value)
        return None

    def reading(self, *names: str) -> Reading:
        """The first of these that is a number, as a reading."""
        return self.of(self.number(*names))

    def of(self, value: float | None) -> Reading:
        """A value worked out of this sample, with the sample's age."""
        return MISSING if value is None else Reading(value, self._age_s, self._quality)

    def status(self, name: str) -> Status:
        """A word, as a status."""
        return self.word(self.text(name))

    def word(self, value: str | None) -> Status:
        """A word worked out of this sample, with the sample's age."""
        return UNKNOWN if value is None else Status(value, self._age_s, self._quality)

    def text(self, name: str) -> str | None:
        """A word or text."""
        value = self._values.get(name)
        return value if isinstance(value, str) else None

    def bits(self, name: str) -> tuple[str, ...] | None:
        """The names of a bit field's set bits; None: not implemented."""
        value = self._values.get(name)
        return value if isinstance(value, tuple) else None


def smallest(*values: float | None) -> float | None:
    """The smallest of the values that are there, or None."""
    return min((v for v in values if v is not None), default=None)
