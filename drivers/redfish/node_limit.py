"""Looks at the power limit of one node in its BMC, and changes it: nothing else of a BMC is ever changed.

A change is sent with the ETag of what was looked at where there is one, and read back.
"""

from __future__ import annotations

import asyncio

import msgspec

from drivers.http.errors import HttpError
from drivers.modbus.errors import WrongDevice
from drivers.redfish.discovery import Machine
from drivers.redfish.documents import Document
from drivers.redfish.limits import (
    CONTROL,
    OFF,
    ON,
    PowerLimit,
    change,
    exception_of,
    of_control,
    of_environment,
    of_power,
    source_of,
)
from drivers.redfish.link import LACKS, BmcLink

LOOKED_S = 5.0  # a change is made on what was looked at within this time
OUTDATED = (412, 428)  # the ETag is not that of the resource any more, or one is needed: DSP0266, "ETags"
NOT_ALLOWED = (
    "give the account of this [[bmc]] the privilege ConfigureManager, which DMTF's registry asks for here: "
    "Operator lacks it on OpenBMC"
)


class _Place(msgspec.Struct, frozen=True):
    """Where the limit is. `wrapped`: in EnvironmentMetrics."""

    path: str
    etag: str
    wrapped: bool = False


class NodeLimit:
    """Of one node. `seen`: as it was looked at last, at `at_s` of the event loop's clock; None: it was not yet."""

    def __init__(self, where: str, link: BmcLink) -> None:
        self._where, self._link = where, link
        self.seen: PowerLimit | None = None
        self.at_s = float("-inf")
        self._place = _Place("", "")

    async def look(self, machine: Machine, order: bool = True) -> PowerLimit:
        """As it is now. `order`: before requests that only read. Raises DeviceError; WrongDevice: there is none."""
        found, place = None, _Place("", "")
        if machine.environment:
            metrics, etag = await self._got(machine.environment, order)
            if source := source_of(metrics):
                control, own = await self._got(source, order)
                found, place = of_control(control), _Place(source, own)
            if found is None:
                found, place = of_environment(metrics), _Place(machine.environment, etag, wrapped=True)
        if machine.power:
            power, etag = await self._got(machine.power, order)
            if found is None:
                found, place = of_power(power), _Place(machine.power, etag)
            else:
                found = msgspec.structs.replace(found, exception=exception_of(power))
        if found is not None:
            found = msgspec.structs.replace(found, serial=machine.identity.serial)
        self.seen, self._place, self.at_s = found, place, asyncio.get_running_loop().time()
        if found is None:
            advice = "give on_cap in place of cap_by; some makers want a licence for power limits"
            raise WrongDevice(self._where, "gives no power limit that could be set", advice)
        return found

    async def set(self, machine: Machine, w: float | None, mode: str) -> PowerLimit:
        """Set it; what it is then. `mode`: the ControlMode to have; empty: any in which it limits.

        Raises DeviceError, WrongDevice also where somebody has changed it since it was looked at.
        """
        before = self.seen
        if before is None or asyncio.get_running_loop().time() - self.at_s > LOOKED_S:
            before = await self.look(machine)
        bodies = _bodies(before, w, mode, self._place.wrapped)
        for body in bodies[:-1]:
            try:
                await self._changed(machine, before, body)
                return await self.look(machine)
            except HttpError as error:
                if error.status != 400:  # else it knows this word not, or takes no null
                    raise
        await self._changed(machine, before, bodies[-1])
        return await self.look(machine)

    async def _changed(self, machine: Machine, before: PowerLimit, body: object) -> None:
        try:
            await self._link.change(self._place.path, body, self._place.etag)
        except HttpError as error:
            if error.status == 403:
                raise HttpError(error.where, error.what, NOT_ALLOWED, error.status) from None
            if error.status not in OUTDATED:
                raise
            if await self.look(machine) != before:
                advice = "nothing to do: it is looked at again"
                raise WrongDevice(self._where, "its power limit has changed while it was to be set", advice) from None
            await self._link.change(self._place.path, body, "*")  # readings in the resource have changed its ETag

    async def _got(self, path: str, order: bool) -> tuple[Document, str]:
        """A resource; an empty one where the link to it leads nowhere."""
        try:
            return await self._link.look(path, order)
        except HttpError as error:
            if error.status not in LACKS:
                raise
            return {}, ""


def _bodies(before: PowerLimit, w: float | None, mode: str, wrapped: bool) -> list[object]:
    """What to send, one after the other until one is taken: BMCs differ in words, and in whether they take null."""
    if w is None and mode != OFF and before.high_w is not None:
        return [change(before, w, mode, wrapped), change(before, before.high_w, mode, wrapped)]
    if before.kind != CONTROL:
        return [change(before, w, "", wrapped)]
    if mode == OFF:
        word = {"ControlMode": OFF}
        every = [change(before, w, OFF, wrapped), change(before, None, OFF, wrapped)]
        return [*every, {CONTROL: word} if wrapped else word]
    if mode or before.mode in ON or not before.mode:
        return [change(before, w, mode, wrapped)]
    return [change(before, w, word, wrapped) for word in ON]
