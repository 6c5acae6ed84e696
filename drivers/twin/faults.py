"""Simulates faults: an outage of the grid; devices that freeze, hang, answer late, refuse or report nothing."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

Kind = Literal["outage", "frozen", "hung", "slow", "exception", "not_implemented"]
KINDS: tuple[str, ...] = ("outage", "frozen", "hung", "slow", "exception", "not_implemented")


class Fault(msgspec.Struct, frozen=True):
    """One fault. `device` is empty for an outage. Times are the site's seconds."""

    kind: Kind
    device: str = ""
    until_s: float = math.inf
    delay_s: float = 0.5  # of "slow": how late an answer leaves, machine seconds (I/O is never scaled)
    code: int = 4  # of "exception": the Modbus exception code


class FaultBook:
    """The faults in force. One per device; a new one replaces the old."""

    def __init__(self) -> None:
        self._faults: dict[str, Fault] = {}

    def put(self, fault: Fault) -> None:
        """Let it begin."""
        self._faults[fault.device] = fault

    def clear(self, device: str | None = None) -> None:
        """End the fault of one device ("" is the outage), or all of them."""
        if device is None:
            self._faults.clear()
        else:
            self._faults.pop(device, None)

    def of(self, device: str, now_s: float) -> Fault | None:
        """The fault of `device` ("" is the outage) in force at `now_s`."""
        if not self._faults:  # the usual case, many times a second
            return None
        fault = self._faults.get(device)
        if fault is not None and now_s >= fault.until_s:
            del self._faults[device]
            return None
        return fault

    def listed(self, now_s: float) -> list[Fault]:
        """All that are in force."""
        return [fault for device in tuple(self._faults) if (fault := self.of(device, now_s)) is not None]
