"""Says what the registers of a SunSpec device mean, of those that were read anyway."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from drivers.modbus.traffic import Place
from drivers.register_view import RegisterValue, Words, taken
from drivers.sunspec.discovery import FoundModel
from drivers.sunspec.model import Model, Point, Value, decode, model


def explain(found: Sequence[FoundModel], unit: int, words: Words, now_s: float) -> Iterator[RegisterValue]:
    """The points of these models whose registers are all there, as "701.W"."""
    for one in found:
        try:
            known = model(one.id)
        except LookupError:  # a maker's own model
            continue
        for point in known.points.values():
            if point.type != "pad" and point.end <= one.length + 2:
                yield from _point(known, point, Place(unit, 3, one.address), words, now_s)


def _point(known: Model, point: Point, base: Place, words: Words, now_s: float) -> Iterator[RegisterValue]:
    found = taken(words, base._replace(address=base.address + point.offset), point.size, now_s)
    if found is None:
        return
    raw, age_s = found
    sf: int | str | None = point.sf
    if (scale := known.scale_of(point)) is not None:
        of_scale = taken(words, base._replace(address=base.address + scale.offset), 1, now_s)
        if of_scale is None:
            return
        sf = struct.unpack(">h", struct.pack(">H", of_scale[0][0]))[0]
    value = decode(point, struct.unpack(f">{point.code}", struct.pack(f">{point.size}H", *raw))[0], sf)
    yield RegisterValue(
        base.unit, 3, base.address + point.offset, raw, age_s, f"{known.id}.{point.name}", _shown(value), point.units
    )


def _shown(value: Value | None) -> float | str | None:
    return ", ".join(value) or "none" if isinstance(value, tuple) else value
