"""Defines the error of a compute node that cannot do what it is ordered."""

from __future__ import annotations

from drivers.modbus.errors import DeviceError


class CannotObey(DeviceError):
    """The node has no way to do what is ordered, or refuses it."""

    advice = "see the node's section in the site file"
