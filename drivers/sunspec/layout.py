"""Plans the requests that fetch points of a SunSpec model, and takes the registers apart.

ID and length of the model are read with its values, in the same request where everything fits into one: a model that
is no longer at its place is noticed before a value is used.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from drivers.sunspec.model import Model, Point, Value, decode, model

MAX_READ = 125  # registers in one request, MODBUS Application Protocol V1.1b3, 6.3
SIZES = (MAX_READ, 100, 64, 50, 32, 16, 8, 4)  # what devices were seen to allow; a 64-bit value needs four
HEADER = 2  # registers: ID and L
ONES = 0xFFFF


class Span(NamedTuple):
    """Registers from `offset` (of the model's ID register) on."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        """Offset of the register after it."""
        return self.offset + self.size


@dataclass(frozen=True)
class Layout:
    """How to read some points of a model: the requests in their order.

    Where one request is not enough, ID and L are read at the end once more, and scale factors before and after the
    values that they do not fit with. `fixed`: the offsets of ID, L and scale factors. A register of these that is read
    twice must not have changed in between, or the values do not belong together.
    """

    requests: tuple[Span, ...]
    fixed: frozenset[int]
    unpacker: struct.Struct
    fields: tuple[tuple[Point, int | None], ...]  # in unpacking order; the index of its scale factor among the fields
    wanted: frozenset[str]

    @functools.cached_property
    def end(self) -> int:
        """Registers from the model's ID register to the last that is needed."""
        return max(span.end for span in self.requests)

    @property
    def longest(self) -> int:
        """Registers of its longest request."""
        return max(span.size for span in self.requests)

    def decode(self, registers: Sequence[int]) -> dict[str, Value | None]:
        """The wanted values, scaled; None: not implemented. `registers`: all `end` of them, 0 where none was read.

        Where every field is all ones nothing is implemented, although -1 x 10^-1 would be a number. Raises struct.error
        on a wrong number of registers.
        """
        if self.fields and all(set(registers[p.offset : p.end]) == {ONES} for p, _ in self.fields):
            return dict.fromkeys(self.wanted)
        raw = self.unpacker.unpack(struct.pack(f">{len(registers)}H", *registers))
        return {
            point.name: decode(point, raw[n], point.sf if sf_index is None else raw[sf_index])
            for n, (point, sf_index) in enumerate(self.fields)
            if point.name in self.wanted
        }


@functools.cache
def plan(model_id: int, names: tuple[str, ...], length: int, max_read: int = MAX_READ) -> Layout:
    """How to fetch these points of a model whose L is `length`, at most `max_read` registers at a time.

    A value comes in one request with its scale factor where they fit; every number in one request. Points beyond the
    device's own length are left out. Raises LookupError for a name the model does not have.
    """
    known = model(model_id)
    end = length + HEADER  # ID and L are not counted in L
    pairs = [_with_scale(known, name) for name in names]
    pairs = [(point, scale) for point, scale in pairs if max(point.end, scale.end if scale else 0) <= end]
    points = {p.name: p for pair in pairs for p in pair if p is not None}
    scales = {scale.name: scale for _, scale in pairs if scale}
    parted = {scale.name: scale for point, scale in pairs if scale and _span(point, scale).size > max_read}
    apart = _requests([_span(scale) for scale in parted.values()], max_read)
    whole = [Span(0, HEADER), *(atom for pair in pairs for atom in _atoms(*pair, max_read))]
    requests = [*apart, *_requests(whole, max_read)]
    if len(requests) > 1:
        requests += [*apart, Span(0, HEADER)]
    ordered = sorted(points.values(), key=lambda p: p.offset)
    return Layout(
        requests=tuple(requests),
        fixed=frozenset([0, 1, *(scale.offset for scale in scales.values())]),
        unpacker=_unpacker(ordered, max(span.end for span in requests)),
        fields=_fields(ordered, pairs),
        wanted=frozenset(point.name for point, _ in pairs),
    )


def _with_scale(known: Model, name: str) -> tuple[Point, Point | None]:
    point = known.point(name)
    return point, known.scale_of(point)


def _span(*points: Point) -> Span:
    low = min(p.offset for p in points)
    return Span(low, max(p.end for p in points) - low)


def _atoms(point: Point, scale: Point | None, max_read: int) -> Iterator[Span]:
    """What one request must hold whole: a value with its scale factor; else the value; of a text as much as fits."""
    together = _span(point) if scale is None else _span(point, scale)
    if together.size <= max_read:
        yield together
        return
    for offset in range(point.offset, point.end, max_read):
        yield Span(offset, min(max_read, point.end - offset))


def _requests(atoms: Sequence[Span], max_read: int) -> list[Span]:
    """The fewest requests that hold the atoms whole, in ascending order."""
    found: list[Span] = []
    for atom in sorted(atoms):
        if found and max(found[-1].end, atom.end) - found[-1].offset <= max_read:
            found[-1] = Span(found[-1].offset, max(found[-1].end, atom.end) - found[-1].offset)
        else:
            found.append(atom)
    return found


def _unpacker(points: Sequence[Point], end: int) -> struct.Struct:
    layout, at = ">", 0
    for point in points:
        layout += f"{2 * (point.offset - at)}x{point.code}"
        at = point.end
    return struct.Struct(layout + f"{2 * (end - at)}x")


def _fields(
    points: Sequence[Point], pairs: Sequence[tuple[Point, Point | None]]
) -> tuple[tuple[Point, int | None], ...]:
    index = {p.name: n for n, p in enumerate(points)}
    scales = {point.name: index[scale.name] for point, scale in pairs if scale}
    return tuple((p, scales.get(p.name)) for p in points)
