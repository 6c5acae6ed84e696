"""What `skerry serve` says on a terminal once it ticks: the site, its devices, what becomes of it, how to go on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from dispatch.control.fallback import revert_values
from dispatch.model.equipment import DeviceHealth
from dispatch.model.snapshot import Snapshot
from drivers.config import PcsDevice
from drivers.maps.loader import load
from gateway.log_output import printable, wrapped
from gateway.site.schema import Site

LABEL_COLUMNS = 12


class Place(msgspec.Struct, frozen=True):
    """Where a gateway runs."""

    pid: int
    socket: Path
    access_trouble: str  # why not everybody can connect who should
    state_dir: Path
    state_trouble: str  # why it cannot be used


def greeting(site: Site) -> str:
    """The first line, before it is known what answers."""
    try:
        number = f" {version('skerry')}"
    except PackageNotFoundError:  # a checkout that is not installed
        number = ""
    return f"Skerry{number} starts the gateway of {site.site.name} ..."


def terminal_summary(site: Site, snapshot: Snapshot, place: Place) -> str:
    """The text, within the terminal's width."""
    lines = [_row(label, text) for label, text in _rows(site, snapshot, place)]
    return "\n".join([*lines, ""])


def _rows(site: Site, snapshot: Snapshot, place: Place) -> Iterator[tuple[str, str]]:
    yield "site file", os.path.abspath(site.path)
    yield "mode", _mode(site)
    yield "devices", _count(snapshot.devices)
    for device in snapshot.devices:
        if not device.online:
            yield "", f"{device.id} ({device.kind}): {device.error or 'no answer yet'}"
    yield "socket", str(place.socket) + (f"; {place.access_trouble}" if place.access_trouble else "")
    yield "records", str(place.state_dir) + (f"; {place.state_trouble}" if place.state_trouble else "")
    if site.pcs:
        yield "at its end", _at_end(site)
        yield "if killed", _if_killed(site)
    name = shlex.quote(os.path.abspath(site.path))
    yield "console", f"skerry {name}"
    yield "stop", f"Ctrl-C here, or kill {place.pid}; not kill -9"
    yield "", "From here on one line for each important change."


def _row(label: str, text: str) -> str:
    return wrapped(f"  {label:<{LABEL_COLUMNS}}", printable(text))


def _mode(site: Site) -> str:
    """What it commands. Said of the site file: whether a setpoint is sent now is shown by the console."""
    simulated = "; all of it simulated" if site.uses_twin else ""
    if not site.pcs:
        return f"observes only: the site file has no [[pcs]]{simulated}"
    return f"controls {', '.join(pcs.id for pcs in site.pcs)}{simulated}"


def _count(devices: tuple[DeviceHealth, ...]) -> str:
    answering = sum(device.online for device in devices)
    return f"{answering} of {len(devices)} answer" + ("; silent:" if answering < len(devices) else "")


def _at_end(site: Site) -> str:
    """Of an orderly stop, and of an error of the program."""
    w, mapped = site.rules.meter_lost_w, [pcs.id for pcs in site.pcs if pcs.map]
    return (
        f"the battery is set to {w / 1000:.1f} kW as far as its limits allow, and that is read back. "
        "Off the grid nothing is written: the PCS that forms the grid is left alone."
        + (f" Then {', '.join(mapped)} returns to the mode in which it was found." if mapped else "")
    )


def _by_map(site: Site, pcs: PcsDevice) -> str:
    """What the documents that its map names say of a silence; `prove` shows whether it is so."""
    recipe = load(pcs.map, site.path).recipe
    if recipe is None or not (recipe.revert_s or recipe.asks_revert_s):
        return f"{pcs.id} never, by its map: it keeps its last setpoint"
    after_s = pcs.revert_s if recipe.asks_revert_s else recipe.revert_s
    return f"{pcs.id} after {after_s:g} s, by its map: {recipe.revert_to}"


def _if_killed(site: Site) -> str:
    """By kill -9, by a crash of the interpreter or of the machine: nothing can be written any more."""
    to_w = revert_values(site.dispatch)
    by_timer = [f"{p.id} {to_w.get(p.id, 0.0) / 1000:.1f} kW after {p.revert_s:g} s" for p in site.pcs if not p.map]
    asked = ", ".join([*by_timer, *(_by_map(site, p) for p in site.pcs if p.map)])
    return (
        "a PCS keeps its last setpoint until its own reversion timer ends, if it has one. Asked for: "
        f'{asked}. `skerry status` shows under "On crash" what each PCS says of its timer.'
    )
