"""Reads one contact from GPIO lines of this machine, through the Linux GPIO character device (libgpiod).

The library is the extra `gpio` (`gpiod`, the bindings of libgpiod 2), imported when the first contact needs it.
"""

from __future__ import annotations

import asyncio
import errno
import grp
import importlib
import importlib.util
import os
from contextlib import suppress
from typing import Any

from dispatch.model.contacts import Contact
from drivers.contacts.config import ContactDevice
from drivers.contacts.modbus_contact import contact_of
from drivers.modbus.errors import DeviceError
from drivers.notices import Notices

INSTALL = "pip install 'skerry[gpio]'"
BIAS = {"pull_up": "PULL_UP", "pull_down": "PULL_DOWN", "none": "DISABLED"}  # names in gpiod.line.Bias


class GpioError(DeviceError):
    """A line cannot be requested or read."""

    advice = "check chip and line with `gpioinfo`"


class GpioContact:
    """One contact on one or two lines of a chip. The lines are requested at the first reading and kept."""

    kind = "contact"

    def __init__(self, config: ContactDevice) -> None:
        self.id, self._config = config.id, config
        self.notices = Notices()
        self._lines = [config.address, *([] if config.second_address is None else [config.second_address])]
        self._request: Any = None  # gpiod.LineRequest

    async def read(self) -> Contact:
        """Read it now. Raises GpioError."""
        high = await asyncio.to_thread(self._levels)  # a chip behind I2C takes a millisecond
        closed = [level == self._config.closed_is_high for level in high]
        return contact_of(self._config, closed[0], closed[1] if len(closed) > 1 else None)

    async def close(self) -> None:
        """Give the lines back."""
        self._release()

    def _levels(self) -> list[bool]:
        """Whether each line is high, now."""
        try:
            if self._request is None:
                self._request = self._ask()
            return [bool(value.value) for value in self._request.get_values()]
        except (OSError, ValueError) as error:
            self._release()
            raise GpioError(self._where, *_told(error, self._config)) from None

    def _ask(self) -> Any:
        try:
            gpiod = importlib.import_module("gpiod")
            line = importlib.import_module("gpiod.line")
        except ImportError as error:
            raise GpioError(self._where, f"the Python package gpiod cannot be imported: {error}", INSTALL) from None
        settings = gpiod.LineSettings(direction=line.Direction.INPUT, bias=getattr(line.Bias, BIAS[self._config.bias]))
        return gpiod.request_lines(self._config.gpio_chip, {tuple(self._lines): settings}, consumer=f"skerry {self.id}")

    def _release(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            with suppress(OSError, ValueError):
                request.release()

    @property
    def _where(self) -> str:
        return f"{self.id} at {self._config.gpio_chip} line {', '.join(map(str, self._lines))}"


def missing(config: ContactDevice) -> str:
    """What this machine and user lack to read it: library, chip, or the right to open it; empty: nothing is seen."""
    chip = config.gpio_chip
    if importlib.util.find_spec("gpiod") is None:
        return f"the Python package gpiod is not installed: {INSTALL}"
    if not os.path.exists(chip):
        return f"there is no {chip} on this machine: `gpiodetect` lists its chips"
    if not os.access(chip, os.R_OK | os.W_OK):
        return f"this user may not open {chip}: the service's user must be in the group {owning_group(chip)}"
    return ""


def _told(error: OSError | ValueError, config: ContactDevice) -> tuple[str, str]:
    """What went wrong, and what to do."""
    if isinstance(error, FileNotFoundError):
        return f"there is no {config.gpio_chip}", "`gpiodetect` lists the chips of this machine"
    if isinstance(error, PermissionError):
        return "this user may not open it", f"add the service's user to the group {owning_group(config.gpio_chip)}"
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EBUSY:
        return "another program uses this line", "`gpioinfo` says which; end it or use another line"
    if code in (errno.ENODEV, errno.ENOTTY):
        return "it is no GPIO chip", "`gpiodetect` lists the chips of this machine"
    if code == errno.EINVAL or isinstance(error, ValueError):
        return (
            f"the chip does not take this: {error}",
            "check the number of the line; some chips have no pull resistors",
        )
    return str(error), ""


def owning_group(path: str) -> str:
    """The group that a device file belongs to."""
    try:
        number = os.stat(path).st_gid
    except OSError:
        return "gpio"
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
