"""Defines the errors of a device, each as one line that says what, where and what to do."""

from __future__ import annotations

EXCEPTION_CODES = {  # MODBUS Application Protocol V1.1b3, section 7
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}


class DeviceError(Exception):
    """A device could not be read or written, or is not what the site file says. `str()` is a complete line."""

    advice = "check the device"

    def __init__(self, where: str, what: str, advice: str = "") -> None:
        self.where, self.what, self.advice = where, what, advice or self.advice
        super().__init__(f"{where}: {what}; {self.advice}")


class Timeout(DeviceError):
    """No complete answer before the deadline. The connection was dropped, so a late answer reaches nobody."""

    advice = "check the device's load, its unit id and the network, or raise its deadline_s"


class ConnectionLost(DeviceError):
    """There is no TCP connection: refused, reset, closed by the peer, or waiting before the next try."""

    advice = "check power, cabling, url and how many clients the device allows"


class BadReply(DeviceError):
    """An answer that does not fit the request: transaction, unit, function, length or content. It was not used."""

    advice = "check for a second device or gateway on this address and the device's firmware"


class NotModbus(BadReply):
    """Another protocol answers at the address."""

    advice = "give host and port of the device's Modbus server in the site file"


class DeviceException(DeviceError):
    """The device answered with a Modbus exception. `code` is its number."""

    advice = "check the register map and whether the device allows this"

    def __init__(self, where: str, code: int, advice: str = "", what: str = "") -> None:
        self.code = code
        super().__init__(where, what or f"exception {code}, {EXCEPTION_CODES.get(code, 'unknown code')}", advice)


class WrongDevice(DeviceError):
    """The device speaks, but is not what the site file says it is: no SunSpec, a model is missing, a foreign map."""

    advice = "check url, unit and the kind of device in the site file"


class MapChanged(DeviceError):
    """A SunSpec model is no longer where it was: its ID and length do not stand before its values. Nothing was used."""

    advice = "nothing to do: the device's models are looked for again at the next poll"


class ReadbackMismatch(DeviceError):
    """After a write the device holds something else."""

    advice = "check for another controller, local mode and the device's limits"
