"""Reads a UPS from NUT's upsd.

Names of variables: NUT, docs/nut-names.txt; words of ups.status: docs/new-drivers.txt.
"""

from __future__ import annotations

import re

from dispatch.model.equipment import Ups
from dispatch.model.readings import Reading, Status, reading, status
from drivers.nut.config import UpsDevice, address_of
from drivers.nut.protocol import decimal
from drivers.nut.server import DEADLINE_S, NutServer

_WORDS = re.compile(r"[A-Z][A-Z0-9]{1,15}( [A-Z][A-Z0-9]{1,15}){0,15}")
MOST_W, MOST_RUNTIME_S, MOST_LOAD_PCT = 1e7, 1e7, 1000.0


class UpsDriver:
    """One UPS, one request a reading."""

    kind = "ups"

    def __init__(self, config: UpsDevice, server: NutServer) -> None:
        self.id, self._server, self._name = config.id, server, address_of(config.url).name
        self._deadline_s = config.deadline_s or DEADLINE_S
        server.join()

    async def read(self) -> Ups:
        """Read it now. Raises DeviceError. What it does not report, or cannot be true, is missing."""
        values = await self._server.variables(self.id, self._name, self._deadline_s)
        return Ups(
            self.id,
            status=_status(values.get("ups.status")),
            w=_within(values.get("ups.realpower"), MOST_W),
            load_pct=_within(values.get("ups.load"), MOST_LOAD_PCT),
            charge_pct=_within(values.get("battery.charge"), 100.0),
            runtime_s=_within(values.get("battery.runtime"), MOST_RUNTIME_S),
        )

    async def close(self) -> None:
        """Let go of the connection."""
        await self._server.leave()


def _within(text: str | None, most: float) -> Reading:
    value = decimal(text)
    return reading(value if value is not None and 0 <= value <= most else None)


def _status(text: str | None) -> Status:
    """The words of ups.status, one blank between two. WAIT: the driver has not heard of the UPS yet."""
    words = " ".join((text or "").split())
    return status(words if _WORDS.fullmatch(words) and "WAIT" not in words.split() else None)
