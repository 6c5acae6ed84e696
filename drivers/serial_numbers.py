"""Compares the serial number that a device tells with the key `serial` of the site file, and words that key."""

from __future__ import annotations

import json

from dispatch.model.equipment import DeviceIdentity
from drivers.modbus.errors import WrongDevice


def check_serial(where: str, expected: str, told: str) -> None:
    """Raises WrongDevice for another serial number than `expected`, or none; with "" expected, any will do."""
    if expected and told != expected:
        said = f"serial number {told}" if told else "no serial number"
        what = f"tells {said}, expected serial number {expected}: not read, not written"
        raise WrongDevice(where, what, "check url and unit; after an exchange set serial in the site file")


def serial_key(identity: DeviceIdentity | None) -> str:
    """The key of the site file by which no other device than this one is accepted; "": it tells no serial number."""
    if identity is None or not identity.serial:
        return ""
    return f"serial = {json.dumps(identity.serial, ensure_ascii=False)}"
