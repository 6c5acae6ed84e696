"""Contacts at GPIO lines. No machine of the tests has any: the library is replaced by one that keeps its levels here.

Its names and errors are those of gpiod 2.5.0. A kernel answers ENODEV for /dev/null and ENOTTY for a file: seen.
"""

from __future__ import annotations

import enum
import errno
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from drivers.config import IoConfig
from drivers.contacts.config import ContactDevice
from drivers.contacts.gpio_contact import missing, owning_group
from drivers.devices import make_drivers
from drivers.modbus.errors import DeviceError
from gateway.site.loader import SiteFileError, compose

CHIP = "/dev/gpiochip0"


class Value(enum.Enum):
    INACTIVE = 0
    ACTIVE = 1


class FakeGpio:
    """The levels of the lines of one chip, who holds which, and how they were asked for."""

    def __init__(self) -> None:
        self.levels: dict[int, int] = {}
        self.error: Exception | None = None
        self.asked: list[tuple[str, tuple[int, ...], str, str, str]] = []
        self.released = 0

    def request_lines(self, path: str, config: dict[tuple[int, ...], Any], consumer: str) -> Any:
        if self.error is not None:
            raise self.error
        ((lines, settings),) = config.items()
        self.asked.append((path, lines, settings.direction, settings.bias, consumer))
        return types.SimpleNamespace(get_values=lambda: self._values(lines), release=self._release)

    def _values(self, lines: tuple[int, ...]) -> list[Value]:
        if self.error is not None:
            raise self.error
        return [Value(self.levels[line]) for line in lines]

    def _release(self) -> None:
        self.released += 1


@pytest.fixture
def gpio(monkeypatch: pytest.MonkeyPatch) -> FakeGpio:
    fake = FakeGpio()
    gpiod, line = types.ModuleType("gpiod"), types.ModuleType("gpiod.line")
    vars(line).update(
        Direction=types.SimpleNamespace(INPUT="input"),
        Bias=types.SimpleNamespace(PULL_UP="up", PULL_DOWN="down", DISABLED="none"),
        Value=Value,
    )
    vars(gpiod).update(request_lines=fake.request_lines, LineSettings=types.SimpleNamespace, line=line)
    monkeypatch.setitem(sys.modules, "gpiod", gpiod)
    monkeypatch.setitem(sys.modules, "gpiod.line", line)
    return fake


def contact(**keys: Any) -> ContactDevice:
    given = {"id": "epo", "purpose": "epo", "url": f"gpio://{CHIP}", "input": "gpio", "address": 17} | keys
    return ContactDevice(**given)


def driver_of(**keys: Any) -> Any:
    def nowhere(*_: object) -> Any:
        raise AssertionError("a GPIO line is at no address")

    (driver,) = make_drivers([], [], [], [], [], IoConfig(), nowhere, contacts=[contact(**keys)])
    return driver


@pytest.mark.parametrize(
    ("keys", "levels", "said"),
    [
        ({}, {17: 0}, "inactive"),  # wired to ground, closed at rest: pulled low
        ({}, {17: 1}, "active"),  # opened, or its wire is broken
        ({"normally": "open"}, {17: 0}, "active"),
        ({"bias": "pull_down"}, {17: 1}, "inactive"),
        ({"bias": "pull_down"}, {17: 0}, "active"),
        ({"bias": "none", "closed_reads": "high"}, {17: 1}, "inactive"),
        ({"closed_reads": "high"}, {17: 0}, "active"),  # an inverting input stage
        ({"second_address": 27}, {17: 0, 27: 1}, "inactive"),
        ({"second_address": 27}, {17: 1, 27: 0}, "active"),
        ({"second_address": 27}, {17: 1, 27: 1}, "broken"),
        ({"second_address": 27}, {17: 0, 27: 0}, "broken"),
    ],
)
async def test_what_the_levels_mean(gpio: FakeGpio, keys: dict[str, Any], levels: dict[int, int], said: str) -> None:
    gpio.levels = levels
    driver = driver_of(**keys)
    assert (await driver.read()).state.good == said
    await driver.close()
    assert gpio.released == 1


async def test_lines_are_asked_for_once_with_their_resistor_and_kept(gpio: FakeGpio) -> None:
    gpio.levels = {17: 0, 27: 1}
    driver = driver_of(second_address=27)
    for _ in range(3):
        await driver.read()
    assert gpio.asked == [(CHIP, (17, 27), "input", "up", "skerry epo")]
    gpio.levels[17], gpio.levels[27] = 1, 0
    assert (await driver.read()).state.good == "active"


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), f"there is no {CHIP}; `gpiodetect` lists the chips"),
        (PermissionError(errno.EACCES, "Permission denied"), "add the service's user to the group gpio"),
        (OSError(errno.EBUSY, "Device or resource busy"), "another program uses this line; `gpioinfo` says which"),
        (OSError(errno.ENODEV, "No such device"), "it is no GPIO chip"),
        (OSError(errno.ENOTTY, "Inappropriate ioctl"), "it is no GPIO chip"),
        (OSError(errno.EINVAL, "Invalid argument"), "check the number of the line"),
        (ValueError("line offset out of range"), "line offset out of range"),
        (OSError(errno.EIO, "Input/output error"), "check chip and line with `gpioinfo`"),
    ],
)
async def test_what_fails_is_told_and_tried_again(gpio: FakeGpio, error: Exception, part: str) -> None:
    driver = driver_of()
    gpio.error = error
    with pytest.raises(DeviceError) as told:
        await driver.read()
    assert str(told.value).startswith(f"epo at {CHIP} line 17: ")
    assert part in str(told.value)
    gpio.error, gpio.levels = None, {17: 0}
    assert (await driver.read()).state.good == "inactive"
    gpio.error = error  # a chip that is pulled out: its lines are asked for anew
    with pytest.raises(DeviceError):
        await driver.read()
    gpio.error = None
    await driver.read()
    assert (len(gpio.asked), gpio.released) == (2, 1)


async def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpiod", None)
    with pytest.raises(DeviceError, match=r"gpiod cannot be imported.*pip install 'skerry\[gpio\]'"):
        await driver_of().read()


def test_what_a_machine_lacks(gpio: FakeGpio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'skerry[gpio]'" in missing(contact())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: sys.modules[name])
    assert missing(contact(url="gpio:///dev/gpiochip99")) == (
        "there is no /dev/gpiochip99 on this machine: `gpiodetect` lists its chips"
    )
    monkeypatch.setattr("os.path.exists", lambda path: True)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert "must be in the group gpio" in missing(contact())
    monkeypatch.setattr("os.access", lambda path, mode: True)
    assert missing(contact()) == ""
    assert owning_group(str(tmp_path)) == __import__("grp").getgrgid(os.stat(tmp_path).st_gid).gr_name


@pytest.mark.parametrize(
    ("changes", "key", "part"),
    [
        ({"input": "discrete"}, "input", '"gpio", because url is a GPIO chip'),
        ({"url": "tcp://127.0.0.1:502"}, "input", "gpio:///dev/gpiochip0 or another chip"),
        ({"url": "gpio:///dev/sda"}, "url", "gpio:///dev/gpiochip0"),
        ({"bias": "none"}, "bias", "closed_reads as well"),
        ({"url": "tcp://127.0.0.1:502", "input": "discrete", "bias": "pull_down"}, "bias", "these are of GPIO lines"),
        ({"bit": 3}, "bit", "no bit of a gpio input"),
        ({"second_address": 17}, "second_address", "another input than the first"),
        ({"normally": "open"}, "normally", "a broken wire"),
    ],
)
def test_what_a_site_file_must_say(changes: dict[str, Any], key: str, part: str) -> None:
    document = {
        "version": 1,
        "site": {"name": "s"},
        "grid": {"fuse_a": 63, "contracted_peak_w": 20e3},
        "meter": [{"id": "grid", "url": "tcp://127.0.0.1:1503"}],
        "contact": [{"id": "epo", "purpose": "epo", "url": f"gpio://{CHIP}", "input": "gpio", "address": 17} | changes],
    }
    with pytest.raises(SiteFileError) as error:
        compose(Path("site.toml"), document)
    found = [f"{e.key}: {e.expected}" for e in error.value.errors]
    assert any(line.startswith(f"contact[0].{key}: ") and part in line for line in found), found


def test_a_line_is_given_out_once() -> None:
    one = {"id": "epo", "purpose": "epo", "url": f"gpio://{CHIP}", "input": "gpio", "address": 17}
    document = {
        "version": 1,
        "site": {"name": "s"},
        "grid": {"fuse_a": 63, "contracted_peak_w": 20e3},
        "meter": [{"id": "grid", "url": "tcp://127.0.0.1:1503"}],
        "contact": [one, one | {"id": "fire", "purpose": "fire", "address": 4, "second_address": 17}],
    }
    with pytest.raises(SiteFileError) as error:
        compose(Path("site.toml"), document)
    assert [(e.key, e.expected) for e in error.value.errors] == [
        ("contact[1].second_address", "a line of its own; contact[0].address has it")
    ]
