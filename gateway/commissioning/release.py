"""Ends what a gateway left in PCS, PV and switch: for the service's end, and by hand.

It asks nothing new of any device. Covers a gateway that was killed, not a cable that was cut: a device without a timer
then keeps what it holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable
from typing import Protocol, runtime_checkable

import msgspec

from dispatch.model.equipment import Switch
from drivers.devices import Driver
from drivers.modbus.errors import DeviceError

LIMIT_S = 8.0  # for all devices together, each asked beside the others; systemd waits 30 s
TRY_S = 2.5  # for a device that does not answer at once: its connection may have been lost with the gateway
TRY_AGAIN_S = 0.2


class Released(msgspec.Struct, frozen=True):
    """What was done with one device. `ok`: nothing of ours is left in it, or its own timer ends it."""

    id: str
    ok: bool
    text: str


@runtime_checkable
class Releasable(Protocol):
    """A driver that can leave its device to itself."""

    async def release(self) -> str | None:
        """Leave it as it was found, or to itself; what was done, in words. Raises DeviceError."""
        ...


@runtime_checkable
class TakenOver(Releasable, Protocol):
    """A driver of a switch that may have been given another control for an order, or of PV that may be limited."""

    @property
    def taken_over(self) -> bool:
        """Whether it has, and not given it back since, as the state directory has it."""
        ...


async def release(drivers: Iterable[Driver], untouched: Container[str] = ()) -> list[Released]:
    """Leave every PCS to itself, unless the site may be off the grid: a forming PCS is never touched.

    Then give the switch the control back in which it was found, if a gateway has taken it over. PV is freed of a limit
    wherever the site is, as a gateway frees it.

    `untouched`: mapped PCS that no gateway has commanded, as its record says.
    """
    drivers = list(drivers)
    switches = [d for d in drivers if d.kind == "switch"]
    taken = [d for d in switches if isinstance(d, TakenOver) and d.taken_over]
    limited = [d for d in drivers if d.kind == "pv" and isinstance(d, TakenOver) and d.taken_over]
    freed = await asyncio.gather(*(_released(d) for d in limited))
    if away := await _not_closed(switches):
        left = [*(d for d in drivers if d.kind == "pcs"), *taken]
        return [*(Released(d.id, False, f"left as it is: {away}") for d in left), *freed]
    ours = [d for d in drivers if d.kind == "pcs" and d.id not in untouched]
    others = [
        Released(d.id, True, "not commanded, as the state directory has it")
        for d in drivers
        if d.kind == "pcs" and d.id in untouched
    ]
    found = [*await asyncio.gather(*(_released(d) for d in ours)), *others, *freed]
    return [*found, *await asyncio.gather(*(_released(d) for d in taken))]


async def _not_closed(switches: list[Driver]) -> str:
    """Why the site may live on its PCS; empty: every switch reads closed, or says that a generator feeds the site."""
    for switch in switches:
        try:
            read = await _until_answered(switch)
        except (DeviceError, TimeoutError) as error:
            return f"{switch.id} cannot be read, the site may be off the grid ({error or 'no answer'})"
        position = read.position.good if isinstance(read, Switch) else None
        on_genset = isinstance(read, Switch) and read.source.good == "genset"  # a bus that PCS follow
        if position != "closed" and not on_genset:
            return f"{switch.id} is {position or 'in an unknown position'}, the site may be off the grid"
    return ""


async def _released(driver: Driver) -> Released:
    try:
        async with asyncio.timeout(LIMIT_S):
            read = await _until_answered(driver)
            pcs = read[0] if isinstance(read, tuple) else None
            if pcs is not None and pcs.mode.good == "grid_forming":
                return Released(driver.id, False, "left as it is: it forms the grid")
            if not isinstance(driver, Releasable):
                return Released(driver.id, False, "left as it is: its driver cannot release it")
            return Released(driver.id, True, await driver.release() or "left as it was found")
    except TimeoutError:
        return Released(driver.id, False, f"not released within {LIMIT_S:g} s")
    except DeviceError as error:
        return Released(driver.id, False, f"not released: {error}")


async def _until_answered(driver: Driver) -> object:
    """One reading, tried again for `TRY_S`. Raises DeviceError, TimeoutError."""
    ends_s = asyncio.get_running_loop().time() + TRY_S
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                return await driver.read()
            except DeviceError:
                if asyncio.get_running_loop().time() >= ends_s:
                    raise
            await asyncio.sleep(TRY_AGAIN_S)
