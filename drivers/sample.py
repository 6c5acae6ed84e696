"""Holds values read from a device at one moment, and gives them as readings with their age."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dispatch.model.readings import MISSING, UNKNOWN, Quality, Reading, Status

STALE_S = 5.0  # a value that is read about once a second

Value = float | int | str | tuple[str, ...]


class Sample:
    """Named values with a common age. What is absent, None or of another kind is missing."""

    def __init__(
        self,
        values: Mapping[str, Value | None],
        age_s: float = 0.0,
        quality: Quality = Quality.GOOD,
        older_s: Mapping[str, float] = {},
    ) -> None:
        """`older_s`: values that were read earlier, by this much; beyond STALE_S they are stale."""
        self._values, self._age_s, self._quality, self._older_s = values, age_s, quality, older_s

    def aged(self, age_s: float, quality: Quality) -> Sample:
        """The same values, older."""
        return Sample(self._values, age_s, quality, self._older_s)

    def without(self, names: Collection[str]) -> Sample:
        """The same without these values."""
        kept = {name: value for name, value in self._values.items() if name not in names}
        return Sample(kept, self._age_s, self._quality, self._older_s)

    def number(self, *names: str) -> float | None:
        """The first of these that is a number."""
        for name in names:
            value = self._values.get(name)
            if isinstance(value, (int, float)):
                return float(value)
        return None

    def reading(self, *names: str) -> Reading:
        """The first of these that is a number, as a reading."""
        for name in names:
            value = self._values.get(name)
            if isinstance(value, (int, float)):
                return self._aged(float(value), name)
        return MISSING

    def magnitude(self, name: str) -> Reading:
        """A number without its sign, as a reading."""
        value = self.number(name)
        return self._aged(None if value is None else abs(value), name)

    def _aged(self, value: float | None, name: str) -> Reading:
        """A value with the age that it has under this name."""
        if value is None:
            return MISSING
        return Reading(value, *self._aging(name))

    def _aging(self, name: str) -> tuple[float, Quality]:
        """Age and quality of a value of this name."""
        older_s = self._older_s.get(name, 0.0)
        fresh = older_s <= STALE_S or self._quality is not Quality.GOOD
        return self._age_s + older_s, self._quality if fresh else Quality.STALE

    def of(self, value: float | None) -> Reading:
        """A value worked out of this sample, with the sample's age."""
        return MISSING if value is None else Reading(value, self._age_s, self._quality)

    def status(self, name: str) -> Status:
        """A word, as a status."""
        word = self.text(name)
        return UNKNOWN if word is None else Status(word, *self._aging(name))

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
