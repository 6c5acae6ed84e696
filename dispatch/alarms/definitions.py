"""Defines the alarms of a site as data: `catalogue.toml`, beside this module. `conditions` determines which hold.

Their texts are in `dispatch/wording/english/alarms/`. The file is part of the program, read once with this module.
"""

from __future__ import annotations

import pkgutil
import tomllib
from typing import Annotated

import msgspec

from dispatch.alarms.points import AlarmDefinition
from dispatch.alarms.priorities import Consequence, priority_of

FILE = "catalogue.toml"
BY_DEVICE = "devices"  # the group of an alarm that belongs to the group of its device
GROUPS = ("grid", "battery", "pv", "compute", "islanding", "contacts", "plan", "gateway", BY_DEVICE)

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Above = Annotated[float, msgspec.Meta(gt=0)]


class OfKind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What differs where the device is of a kind."""

    consequence: Consequence
    act_within_s: Above


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the catalogue."""

    group: str
    consequence: Consequence
    act_within_s: Above
    helps: tuple[str, ...]
    on_delay_s: Seconds = 0.0
    off_delay_s: Seconds = 5.0
    deadband_pct: Above | None = None
    deadband_w: Above | None = None
    deadband_c: Above | None = None
    by_name: bool = False
    may_shelve: bool = True
    of: dict[str, OfKind] = {}


def read(text: str) -> tuple[AlarmDefinition, ...]:
    """The definitions of a catalogue, in its order. Raises ValueError: which alarm, which key, what was expected."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{FILE}: {error}") from None
    return tuple(_definition(name, table) for name, table in tables.items())


def _definition(name: str, table: object) -> AlarmDefinition:
    try:
        row = msgspec.convert(table, Row)
    except msgspec.ValidationError as error:
        raise ValueError(f"{FILE}: [{name}]: {error}") from None
    bands = [band for band in (row.deadband_pct, row.deadband_w, row.deadband_c) if band is not None]
    for wrong, line in (
        (row.group not in GROUPS, f"group {row.group!r}: expected one of {', '.join(GROUPS)}"),
        (len(bands) > 1, "expected at most one of deadband_pct, deadband_w, deadband_c"),
        (not row.helps, "helps: expected a command of the console or of the command line"),
        (row.by_name and row.may_shelve, "may_shelve: expected false, as it is acknowledged by name only"),
    ):
        if wrong:
            raise ValueError(f"{FILE}: [{name}]: {line}")
    return AlarmDefinition(
        name,
        priority_of(row.consequence, row.act_within_s),
        on_delay_s=row.on_delay_s,
        off_delay_s=row.off_delay_s,
        by_name=row.by_name,
        group=row.group,
        consequence=row.consequence,
        act_within_s=row.act_within_s,
        deadband=bands[0] if bands else 0.0,
        may_shelve=row.may_shelve,
        helps=row.helps,
        of={kind: (one.consequence, one.act_within_s) for kind, one in row.of.items()},
    )


def _file() -> str:
    found = pkgutil.get_data(__name__, FILE)
    assert found is not None, "a package read from a directory or a zip file gives its data"
    return found.decode()


DEFINITIONS: tuple[AlarmDefinition, ...] = read(_file())
