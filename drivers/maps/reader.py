"""Reads a device as its map says: whether it is that device, and its values by poll class."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from drivers.maps.decoding import Decoded, decode, matches, shown, wanted_of
from drivers.maps.requests import Request, parts, plan
from drivers.maps.schema import DeviceMap, Identity, Poll
from drivers.modbus.errors import DeviceException, WrongDevice
from drivers.modbus.transport import ModbusLink

REFUSED = (2, 3)  # exceptions: some of the registers do not exist, or they are too many


class MapReader:
    """Reads over one link. What a device refuses is asked for in smaller reads, then left out.

    A value that it has given on this connection and refuses now has no value, and is asked for again: some devices
    refuse what they have while they are busy.
    """

    def __init__(self, link: ModbusLink, units: Mapping[str, int], device_map: DeviceMap, needed: str = "") -> None:
        """`units`: Modbus unit ids by name, "device" among them. `needed`: the value without which reading fails.

        Not given: that which the kind of the map needs.
        """
        self._link, self._units, self._map = link, units, device_map
        self._needed = needed or device_map.needed
        self._plans: dict[tuple[Poll, ...], list[Request]] = {}
        self.without: set[str] = set()  # values that this device refuses
        self._told: set[str] = set()  # values that it gave and refused later, of which a notice was given

    async def identify(self) -> None:
        """Compare what the device says of itself with the map. Raises WrongDevice, or another DeviceError.

        What an earlier device refused is asked for again.
        """
        self.begin_anew()
        for one in self._map.identity:
            unit, function = self._units[one.at], self._map.function_of(one)
            self._compare(one, await self._link.read(unit, one.address, one.registers, function))

    def begin_anew(self) -> None:
        """It may be another device: ask again for what the one before refused, or did not have."""
        self._plans.clear()
        self.without.clear()
        self._told.clear()

    def _compare(self, one: Identity, raw: Sequence[int]) -> None:
        """Raises WrongDevice where it is not what the map says."""
        order = self._map.order_of(one)
        if not matches(one, raw, order):
            where = f"{self._link.device} at {self._link.at} unit {self._units[one.at]}, register {one.address}"
            wanted = " or ".join(map(str, wanted_of(one)))
            what = f"holds {shown(one.type, raw, order)}, but map {self._map.name} expects {wanted}"
            raise WrongDevice(where, what)

    def _compare_all(self, words: Mapping[tuple[str, int, int], int]) -> None:
        """The identity among registers that were read with the values. Raises WrongDevice."""
        for one in self._map.identity:
            function = self._map.function_of(one)
            self._compare(one, [words[one.at, function, one.address + n] for n in range(one.registers)])

    def leave_out(self, names: Iterable[str]) -> None:
        """Do not ask this device for these values."""
        self.without |= set(names)
        self._plans.clear()

    async def read(self, *polls: Poll) -> dict[str, Decoded | None]:
        """The values of these poll classes; None: there is none now. Raises DeviceError."""
        known = self._plans.get(polls)  # all of it was given before
        words: dict[tuple[str, int, int], int] = {}
        gone: set[str] = set()
        waiting = list(plan(self._map, polls, self.without, self._link.max_registers) if known is None else known)
        granted = []
        while waiting:
            request = waiting.pop(0)
            try:
                raw = await self._link.read(self._units[request.at], request.address, request.count, request.function)
            except DeviceException as error:
                smaller, without = self._instead(request, error, given_before=known is not None)
                waiting, gone = smaller + waiting, gone | without
                continue
            granted.append(request)
            words.update({(request.at, request.function, request.address + n): word for n, word in enumerate(raw)})
        self._plans[polls] = granted if known is None else known
        if "fast" in polls and self._map.access.identity == "reading":
            self._compare_all(words)
        return {**dict.fromkeys(gone), **decode(self._map, words)}

    def _instead(
        self, request: Request, error: DeviceException, *, given_before: bool
    ) -> tuple[list[Request], set[str]]:
        """What to read instead of a refused request, or the values that there are none of. Raises what is no refusal.

        And where the one value that it reads is needed.
        """
        if error.code not in REFUSED:
            raise error
        if smaller := parts(request, self._map):
            return smaller, set()
        names = {
            name
            for name, value in self._map.values.items()
            if value.address is not None
            and value.at == request.at
            and self._map.function_of(value) == request.function
            and request.address <= value.address < request.end
        }
        computed = self._needs(names)
        if self._needed in computed or self._identifies(request):
            raise error
        what = f"{', '.join(sorted(names))} cannot be read: {error.what}"
        if not given_before:
            self.without |= names
            self._link.notices.add("warning", f"{what}; left out")
        elif not names <= self._told:
            self._told |= names
            self._link.notices.add("warning", f"{what}; it was read before, so it is asked for again")
        return [], computed

    def _identifies(self, request: Request) -> bool:
        """Whether it reads what the device is known by in each reading."""
        return self._map.access.identity == "reading" and any(
            one.at == request.at and request.address <= one.address < request.end for one in self._map.identity
        )

    def _needs(self, names: Collection[str]) -> set[str]:
        """These values, and those that are computed of them."""
        return {n for n, value in self._map.values.items() if n in names or not set(names).isdisjoint(value.parts)}
