"""Makes the means of each minute of the overview signals of a block, so that nobody unpacks blocks for a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from storage.blocks import Block
from storage.signals import MISSING, Signal

MINUTE_US = 60_000_000


class Minute(msgspec.Struct, frozen=True):
    """One minute of a site."""

    t: int  # UTC s, its start by the site's clock
    samples: int
    means: dict[str, float]  # column -> mean of the values there are, in the signal's unit; without any: absent


def minutes_of(block: Block, signals: Sequence[Signal], columns: Mapping[str, str]) -> list[Minute]:
    """The minutes of a block, of the signals that `columns` names. Raises BlockDamaged."""
    places: dict[int, list[int]] = {}
    for n, t_us in enumerate(block.times_us()):
        places.setdefault(t_us // MINUTE_US, []).append(n)
    means: dict[int, dict[str, float]] = {minute: {} for minute in places}
    for place, signal in enumerate(signals):
        column = columns.get(signal.name)
        if column is None:
            continue
        raw = block.column(place).raw
        for minute, numbers in places.items():
            values = [value for n in numbers if (value := raw[n]) != MISSING]
            if values:
                means[minute][column] = sum(values) / len(values) * signal.scale
    return [Minute(60 * minute, len(numbers), means[minute]) for minute, numbers in places.items()]
