"""`skerry devices list`, `scan` and `read`: which devices there are, what answers at an address, their registers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from console.cli.failures import Failure
from console.cli.json_output import json_text
from console.display.device_text import identity_text, link_text, raw_text, register_value_text
from console.display.formats import age
from console.value_parsers import json_option
from dispatch.model.equipment import DeviceHealth
from drivers.device_keys import Polled
from drivers.maps.found_modes import FoundModes
from drivers.modbus.errors import DeviceError
from drivers.register_view import RegisterValue
from drivers.serial_numbers import serial_key
from gateway import exit_codes
from gateway.commissioning.device_access import DevicesInUse, gateway_of, gateway_using, opened, published_snapshot
from gateway.commissioning.scan import ScannedUnit, scan
from gateway.errors import CommandRefused, StartRefused
from gateway.register_access import RegisterAccess
from gateway.site.loader import load
from gateway.site.schema import Site

PORT = 502  # of Modbus TCP
WORDS_COLUMN = 24
READINGS = 2  # the first shows a driver what the device has; some read more of it from then on
Found = TypeVar("Found")


@click.command("list")
@click.argument("site", type=click.Path(path_type=Path))
@json_option
def list_devices(site: Path, as_json: bool) -> None:
    """List the devices of a site file; while its gateway runs, also how each answers and what it says it is."""
    loaded = load(site)
    health = _health(loaded)
    rows = [
        {
            "id": device.id,
            "section": section,
            "url": device.url,
            "map": getattr(device, "map", "") or "",
            "health": None if device.id not in health else msgspec.to_builtins(health[device.id]),
        }
        for section, devices in _sections(loaded)
        for device in devices
    ]
    if as_json:
        click.echo(json_text(rows))
        return
    for row in rows:
        found = health.get(str(row["id"]))
        click.echo(f"{row['id']:<14} {row['section']:<7} {row['url']:<28} {_state(found)}".rstrip())


def _sections(site: Site) -> Iterable[tuple[str, Sequence[Polled]]]:
    yield from (
        ("meter", site.meter),
        ("pcs", site.pcs),
        ("battery", site.bms),
        ("pv", site.pv),
        ("switch", site.switch),
    )
    yield from (("node", [n for n in site.node if n.source == "modbus"]), ("ups", site.ups))


def _state(device: DeviceHealth | None) -> str:
    if device is None:
        return ""
    if not device.online:
        return f"LOST {age(device.age_s)}: {device.error}"
    return "  ".join(text for text in (link_text(device), identity_text(device)) if text)


def _health(site: Site) -> dict[str, DeviceHealth]:
    """What the running gateway says of each device; nothing without one."""
    with gateway_of(site) as link:
        if link is None:
            return {}
        snapshot = published_snapshot(link)
        return {device.id: device for device in snapshot.devices}


@click.command("scan")
@click.argument("host", metavar="HOST[:PORT]")
@click.option("--units", default="1-10", show_default=True, metavar="LIST", help="Modbus units, such as 1-10,255.")
@click.option("--deadline", "deadline_s", type=float, default=0.5, show_default=True, help="Wait for one answer, s.")
@click.option("--limit", "limit_s", type=float, default=60.0, show_default=True, help="Longest time in all, s.")
@json_option
def scan_host(host: str, units: str, deadline_s: float, limit_s: float, as_json: bool) -> int:
    """Find out what answers at a Modbus TCP address: SunSpec devices, and those of the maps that come with Skerry.

    Where none answers it listens for the telegrams of a meter on P1, for 3 s. It only reads. It refuses an address that
    a gateway of this machine uses, as many devices take one connection.
    Exit code 0: something was found, 1: nothing.
    """
    name, port = _host_port(host)
    wanted = _units(units)
    if user := gateway_using(name, port):
        raise Failure(f"{name}:{port} is used by {user}; see skerry devices list", exit_codes.ALREADY_RUNNING)
    try:
        found = asyncio.run(scan(name, port, wanted, deadline_s, limit_s))
    except DeviceError as error:
        raise Failure(str(error)) from None
    if as_json:
        click.echo(json_text(found))
    else:
        for one in found:
            click.echo(_unit_line(one, name, port))
        if not found:
            click.echo(f"{name}:{port}: connects, and no unit of {units} answers; try --units 0,1-247,255", err=True)
    return exit_codes.OK if any(one.unit >= 0 for one in found) else exit_codes.FAILED


def _unit_line(one: ScannedUnit, host: str, port: int) -> str:
    if one.unit < 0:
        return one.found
    serial = f" {key}" if (key := serial_key(one.identity)) else ""
    if one.source:
        return f'{one.found}\n          [[{one.kind}]] source = "{one.source}" url = "tcp://{host}:{port}"{serial}'
    keys = (f' map = "{one.map}"' if one.map else "") + serial
    section = f'\n          [[{one.kind}]] url = "tcp://{host}:{port}" unit = {one.unit}{keys}' if one.kind else ""
    return f"unit {one.unit:>3}  {one.found}{section}"


def _host_port(text: str) -> tuple[str, int]:
    """ "host", "host:port", "[::1]:502", with or without tcp://. Raises click.BadParameter."""
    bare = text.removeprefix("tcp://").rstrip("/")
    host, colon, port = bare.rpartition(":")
    if not colon or bare.endswith("]"):
        host, port = bare, str(PORT)
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{text!r}: expected HOST or HOST:PORT")
    return host.strip("[]"), int(port)


def _units(text: str) -> list[int]:
    """ "1-10,255" as numbers, each once. Raises click.BadParameter."""
    found: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise click.BadParameter(f"--units {text!r}: expected numbers and ranges such as 1-10,255")
        found |= dict.fromkeys(range(int(first), int(last or first) + 1))
    if not found or max(found) > 255:
        raise click.BadParameter(f"--units {text!r}: expected Modbus units of 0..255")
    return list(found)


@click.command("read")
@click.argument("site", type=click.Path(path_type=Path))
@click.argument("device")
@click.argument("what", required=False, metavar="[VALUE|REGISTER]")
@click.argument("count", required=False, type=click.IntRange(1, 125), default=1)
@click.option("--unit", type=click.IntRange(0, 255), help="Another Modbus unit behind the same address.")
@click.option("--input", "input_registers", is_flag=True, help="Read input registers (function 4).")
@json_option
def read_device(
    site: Path, device: str, what: str | None, count: int, unit: int | None, input_registers: bool, as_json: bool
) -> None:
    """Show registers of a device: raw words and what they mean.

    Without VALUE all that the driver reads; with a part of a name, such as 701.W, those values; with the number of a
    REGISTER and a COUNT these registers, read once. While the gateway runs it answers from what it read last; other
    registers are read by it, for engineers.
    """
    loaded = load(site)
    number = int(what, 0) if what is not None and _is_number(what) else None
    function = 4 if input_registers else 3
    if number is None:
        rows = _last(loaded, device)
        rows = rows if what is None else [row for row in rows if what.lower() in row.name.lower()]
    else:
        rows = _read_once(loaded, device, number, count, unit, function)
    if as_json:
        click.echo(json_text(rows))
        return
    if not rows:
        raise Failure(f"{device} has no value with {what!r} in its name; see skerry devices read {site} {device}")
    for row in rows:
        click.echo(register_line(row))


def register_line(row: RegisterValue) -> str:
    """Unit, register, words, name, value."""
    kind = "i" if row.function == 4 else " "
    words = raw_text(row.raw, WORDS_COLUMN)
    value = register_value_text(row) if row.name else str(row.raw[0])
    return f"{row.unit:>3} {kind} {row.address:>5}  {words:<{WORDS_COLUMN}}  {row.name:<22} {value}".rstrip()


def _is_number(text: str) -> bool:
    try:
        int(text, 0)
    except ValueError:
        return False
    return True


def _last(site: Site, device: str) -> list[RegisterValue]:
    """What was read last: by the gateway, else by one reading of the device now."""
    with gateway_of(site) as link:
        if link is not None:
            return msgspec.convert(link.request("device.registers", id=device), list[RegisterValue])

    async def ask(access: RegisterAccess, drivers: dict[str, Any]) -> list[RegisterValue]:
        access.last(device)  # is there such a device?
        for _ in range(READINGS):
            await drivers[device].read()
        return access.last(device)

    return with_devices(site, ask)


def _read_once(
    site: Site, device: str, address: int, count: int, unit: int | None, function: int
) -> list[RegisterValue]:
    asked = {"address": address, "count": count, "unit": unit, "function": function}
    with gateway_of(site) as link:
        if link is not None:
            return msgspec.convert(link.request("device.read", id=device, **asked), list[RegisterValue])
    return with_devices(site, lambda access, _: access.read(device, address, count, unit, function))


def with_devices(
    site: Site,
    ask: Callable[[RegisterAccess, dict[str, Any]], Awaitable[Found]],
    found_modes: FoundModes | None = None,
) -> Found:
    """What `ask(access, drivers by id)` gives, with the devices open and no gateway. Raises Failure."""

    async def run() -> Found:
        async with opened(site, found_modes) as (drivers, _):
            return await ask(RegisterAccess(drivers), {driver.id: driver for driver in drivers})

    try:
        return asyncio.run(run())
    except DevicesInUse as error:
        raise Failure(str(error), exit_codes.ALREADY_RUNNING) from None
    except StartRefused as error:
        raise Failure(str(error), error.code) from None
    except (CommandRefused, DeviceError, ValueError) as error:
        raise Failure(str(error)) from None
