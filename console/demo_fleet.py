"""`skerry demo --fleet`: three simulated sites on this machine and the fleet's screen, started and ended together.

The sites are variants of the demo's site file. Their load is the demo's record, each from another day on, so that they
differ; prices are the same. Each has a state directory and a gateway of its own, as on machines of their own.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

from console.demo_scenes import Order, Scene, order_beside
from console.launcher import START_LIMIT_S, GatewayChild, fleet, fresh_demo_dir, in_terminal
from drivers.text_file import text_of
from drivers.twin.trace import trace_path
from fleet.sites import FILE, SiteAddress
from gateway import exit_codes
from gateway.api.socket_file import listening

RATE_HZ = 2  # of the ticks: three gateways and three twins share this machine


class DemoSite(NamedTuple):
    """One of the sites: what differs from the demo's site file, by key, and from which day on its load is played."""

    name: str  # in the fleet
    tags: tuple[str, ...]
    keys: Mapping[str, str]
    more: str  # further keys of [twin]
    from_day: int
    orders: tuple[Order, ...] = ()


SITES = (
    DemoSite("berlin", ("render",), {"name": '"Render farm Berlin"', "soc_pct": "65"}, "", 0),
    DemoSite(
        "fjord",
        ("training", "hydro"),
        {
            "name": '"Training cluster Fjord"',
            "timezone": '"Europe/Oslo"',
            "fuse_a": "250",
            "contracted_peak_w": '"90 kW"',
            "critical_load_w": '"20 kW"',
            "energy_kwh": "250",
            "charge_w": '"150 kW"',
            "discharge_w": '"150 kW"',
            "peak_w": '"5 kW"',
            "cap_w": '"6 kW"',
            "load_scale": "3",
            "soc_pct": "48",
            "seed": "11",
        },
        "latitude_deg = 61.2\nlongitude_deg = 6.7\nambient_c = 9\n",
        3,
        (Order(60, ("fault", "outage", "--for", "120s")),),
    ),
    DemoSite(
        "office",
        ("pv",),
        {
            "name": '"Office with PV"',
            "fuse_a": "100",
            "contracted_peak_w": '"25 kW"',
            "critical_load_w": '"3 kW"',
            "energy_kwh": "60",
            "charge_w": '"30 kW"',
            "discharge_w": '"30 kW"',
            "peak_w": '"60 kW"',
            "cap_w": '"0.4 kW"',
            "load_scale": "0.25",
            "soc_pct": "82",
            "seed": "23",
        },
        "base_load_w = 2500\n",
        9,
    ),
)
SHOWS = "after a minute the grid fails at the fjord for two minutes: the site comes to the top"


def written(directory: Path, sites: Sequence[DemoSite] = SITES) -> list[SiteAddress]:
    """Write site files, traces and fleet.toml into the directory; the sites as the fleet has them."""
    with as_file(files("console") / "demo.toml") as packaged:
        text = packaged.read_text(encoding="utf-8")
    source = trace_path("bundled:helios")
    header, *rows = text_of(source.read_bytes(), packed=True).split()
    found, listed = [], []
    for site in sites:
        path = directory / f"{site.name}.toml"
        path.write_text(site_text(text, site), encoding="utf-8")
        (directory / f"{site.name}.csv").write_text("\n".join([header, *played_from(rows, site.from_day)]) + "\n")
        found.append(SiteAddress(site.name, "", str(path), site.tags))
        tags = ", ".join(f'"{tag}"' for tag in site.tags)
        listed.append(f'[[site]]\nname = "{site.name}"\nsite = "{path}"\ntags = [{tags}]\n')
    (directory / FILE).write_text("\n".join(listed), encoding="utf-8")
    return found


def site_text(demo: str, site: DemoSite) -> str:
    """The demo's site file with the keys of a site. Raises ValueError for a key that is not in it."""
    head, _, rest = demo.partition('\n[[node]]\nid = "this-machine"')
    text = f"{head}\n[twin]{rest.partition('[twin]')[2]}"
    for key, value in site.keys.items():
        text, count = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
        if not count:
            raise ValueError(f"{key}: is not in the demo's site file")
    return f'{text}load_trace = "{site.name}.csv"\n{site.more}'


def played_from(rows: Sequence[str], day: int) -> list[str]:
    """The rows of a trace of whole days, its loads from another day on; times stay."""
    shift = day * 1440 % len(rows)
    times, loads = zip(*(row.split(",") for row in rows), strict=True)
    return [f"{time},{load}" for time, load in zip(times, (*loads[shift:], *loads[:shift]), strict=True)]


def demo() -> int:
    """Start the sites, show the fleet until it is left, and stop the sites."""
    if not in_terminal():
        print("skerry: no terminal for the screen", file=sys.stderr)
        return exit_codes.USAGE
    directory = fresh_demo_dir()
    addresses = written(directory)
    children = [
        GatewayChild(Path(address.site), directory / address.name, [f"--rate={RATE_HZ}"]) for address in addresses
    ]
    failures: list[str] = []  # of orders; said when the screen is given back
    try:
        print(f"skerry: {len(children)} simulated sites start; {SHOWS}", file=sys.stderr, flush=True)
        if trouble := asyncio.run(started(children)):
            print(f"skerry: {trouble}", file=sys.stderr)
            return exit_codes.FAILED
        for site, address in zip(SITES, addresses, strict=True):
            if site.orders:
                order_beside(Scene(site.name, "", 0, "", site.orders), Path(address.site), 1.0, failures.append)
        code = fleet(addresses, ("ssh",))
    finally:
        asyncio.run(stopped(children))
    for failure in failures:
        print(f"skerry: {failure}", file=sys.stderr)
    print(f"The records of this demo: {directory} (one directory for each site)")
    return code


async def started(children: Sequence[GatewayChild]) -> str:
    """Start the gateways, all at a time, and wait until each listens; empty, or why one does not."""
    await asyncio.gather(*(child.start() for child in children))
    until = time.monotonic() + START_LIMIT_S * len(children)
    for child in children:
        while not listening(child.socket):
            if child.ended is not None:
                return f"a gateway ended with exit code {child.ended}: {child.last_words()}"
            if time.monotonic() > until:
                return f"a gateway did not open {child.socket}; see {child.log}"
            await asyncio.sleep(0.1)
    return ""


async def stopped(children: Sequence[GatewayChild]) -> None:
    """Stop them all."""
    await asyncio.gather(*(child.stop() for child in children))
