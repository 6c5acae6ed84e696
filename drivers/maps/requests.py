"""Plans the reads of a device map: the fewest requests that its `max_registers` and `max_gap` allow. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from drivers.maps.schema import DeviceMap, Poll
from drivers.modbus.frames import MAX_READ


@dataclass(frozen=True)
class Request:
    """One read."""

    at: str
    function: int
    address: int
    count: int

    @property
    def end(self) -> int:
        """The address behind its last register."""
        return self.address + self.count


Span = tuple[int, int]  # first register, the one behind the last: read in one request, never parted


def plan(
    device_map: DeviceMap, polls: Collection[Poll], without: Collection[str] = (), max_registers: int = MAX_READ
) -> list[Request]:
    """The requests that bring every value of these poll classes, `without` those that the device refuses.

    With the class fast comes the identity, where the map has it compared in each reading.

    `max_registers`: the link's own limit, which splits longer reads wherever they are, values too.
    """
    wanted: dict[tuple[str, int], set[Span]] = {}
    for name, value in device_map.values.items():
        if value.address is None or value.poll not in polls or name in without:
            continue
        spans = wanted.setdefault((value.at, device_map.function_of(value)), set())
        spans.add((value.address, value.address + value.registers))
        if value.scale_register is not None:
            spans.add((value.scale_register, value.scale_register + 1))
    access = device_map.access
    if access.identity == "reading" and "fast" in polls:
        for one in device_map.identity:
            spans = wanted.setdefault((one.at, device_map.function_of(one)), set())
            spans.add((one.address, one.address + one.registers))
    return [
        Request(at, function, first, end - first)
        for (at, function), spans in wanted.items()
        for first, end in joined(spans, min(access.max_registers, max_registers), access.max_gap)
    ]


def joined(spans: Iterable[Span], max_registers: int, max_gap: int) -> Iterator[Span]:
    """The fewest reads that hold these spans whole: each is extended as far as it may be. Disjoint spans, any order."""
    first = end = -1
    for next_first, next_end in sorted(spans):
        if first >= 0 and next_first - end <= max_gap and next_end - first <= max_registers:
            end = max(end, next_end)
            continue
        if first >= 0:
            yield first, end
        first, end = next_first, next_end
    if first >= 0:
        yield first, end


def parts(request: Request, device_map: DeviceMap) -> list[Request]:
    """A request that was refused as a whole, in two: each with about half of its values. Empty: it holds one only."""
    starts = sorted(
        {
            place
            for value in device_map.values.values()
            if value.at == request.at and device_map.function_of(value) == request.function
            for place in (value.address, value.scale_register)
            if place is not None and request.address <= place < request.end
        }
    )
    if len(starts) < 2:
        return []
    middle = starts[len(starts) // 2]
    ends = {
        value.address + value.registers: None
        for value in device_map.values.values()
        if value.at == request.at and value.address is not None and request.address <= value.address < middle
    }
    end = max((*ends, starts[len(starts) // 2 - 1] + 1))
    first = Request(request.at, request.function, request.address, end - request.address)
    return [first, Request(request.at, request.function, middle, request.end - middle)]
