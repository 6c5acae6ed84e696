"""A fleet: its file, and what a gateway on another machine answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from fleet_samples import LOST, OUTAGE, FakeClient, site
from fuzzing import Parser, simple

from console.display.fleet_text import document, table_lines
from dispatch.model.decoding import decoded
from fleet.sites import FleetFileError, SiteAddress, parse
from fleet.table import rows_of, sums_of
from fleet.watch import SiteState, ask_overview

FILES = (
    b'ssh = ["ssh"]\n[[site]]\nname = "a"\nhost = "ops@a"\nsite = "/etc/s.toml"\ntags = ["x"]\n',
    b'[[site]]\nname = "b"\n',
)


def overviews() -> list[bytes]:
    """What sites answer."""
    found = (site(1), site(2, alarms=(LOST, OUTAGE), load_w=None))
    return [msgspec.msgpack.encode(msgspec.to_builtins(each)) for each in found]


def shown(data: bytes, _: Path) -> None:
    """An answer up to what is printed of it."""
    answer = decoded(msgspec.msgpack.decode, data)
    found, _remark = asyncio.run(ask_overview(FakeClient("a", lambda method, params: answer)))
    rows = rows_of([SiteState(SiteAddress("a"), found, 0.0)], 1.0)
    sums = sums_of(rows)
    table_lines(rows, sums)
    document(rows, sums, 0.0)


PARSERS = (
    Parser(
        "fleet files",
        ("fleet.sites:parse",),
        lambda: FILES,
        simple(lambda data, _: parse(data, "fleet.toml")),
        (FleetFileError,),
    ),
    Parser(
        "overviews of sites", ("fleet.watch:ask_overview",), overviews, simple(shown), (msgspec.DecodeError,), "msgpack"
    ),
)
