"""kill -9 of the gateway in every islanding state, on the wire: the site stays as it is, the next gateway adopts it.

On the way fault reset and black start are done for real. Most states are reached only by `make soak`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from harness import Site, a_site, site_text, until
from test_island_wire import FLAT, FLAT_TRACE, truth
from waiting import LIMIT_S

from dispatch.islanding.observation import BLACK_START_DEAD_S
from dispatch.model.islanding import IslandState
from gateway import exit_codes
from gateway.api.client import GatewayClient
from storage.reader import Archive

S = IslandState
QUICK = """
[island]
wait_s = 3
ramp_w_per_s = "100 kW/s"
drill_floor_pct = 10
open_timeout_s = 3
close_timeout_s = 4
attempts = 1
"""
WHY = ("--reason", "test")


@pytest.fixture
async def wire(tmp_path: Path, state: str) -> AsyncIterator[Site]:
    """A flat 21 kW load, a switch that waits for permission, a gateway that gives up after one closing in vain."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    speed = "speed = 4\n" if state in OFTEN else ""  # states that last: there is no need to watch in real time
    async with a_site(tmp_path, site_text(twin=FLAT + speed, extra=QUICK, revert_s=5)) as site:
        await site.twin()
        yield site


async def skerry(site: Site, *arguments: str) -> None:
    """`skerry ARGUMENTS --site SITE` must succeed."""
    process = await site.run(*arguments, "--site", str(site.path))
    out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == exit_codes.OK, (out + err).decode()


async def reached(client: GatewayClient, *states: IslandState) -> IslandState:
    return (await until(client, lambda s: s.decision.island in states)).decision.island


async def ready(client: GatewayClient) -> None:
    """Grid-tied, and every device read."""
    await until(
        client,
        lambda s: (
            s.decision.island is S.GRID_TIED
            and s.snapshot.load_w is not None
            and s.snapshot.batteries[0].discharge_limit_w.good is not None
        ),
    )


async def fault(site: Site, client: GatewayClient) -> None:
    """In fault, and the record knows it: that is asked for at once, but a disk takes its moment."""
    await reached(client, S.FAULT)
    archive = Archive(site.state_dir)
    async with asyncio.timeout(LIMIT_S):
        while not (archive.last_state("controller") or {}).get("island", {}).get("fault"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    archive.close()


# ── the roads: from grid-tied to a state, with a gateway that runs ──────────────────────────────────────────────────


async def to_preparing(site: Site, client: GatewayClient) -> None:
    await skerry(site, "drill", "start", "--minutes", "5", *WHY)
    await reached(client, S.PREPARING)


async def to_opening(site: Site, client: GatewayClient) -> None:
    await site.twin_says({"jam": "pcc"})
    await to_preparing(site, client)
    await reached(client, S.OPENING)


async def to_opening_fault(site: Site, client: GatewayClient) -> None:
    await to_opening(site, client)
    await fault(site, client)


async def to_islanded(site: Site, client: GatewayClient) -> None:
    await site.twin_says({"fault": "outage"})
    await reached(client, S.ISLANDED)


async def to_synchronising(site: Site, client: GatewayClient) -> None:
    await to_islanded(site, client)
    await site.twin_says({"clear": "outage"})
    await reached(client, S.SYNCHRONISING)


async def to_closing(site: Site, client: GatewayClient) -> None:
    await to_synchronising(site, client)
    await reached(client, S.CLOSING)


async def to_fault(site: Site, client: GatewayClient) -> None:
    """The switch does not close when it is permitted to."""
    await to_islanded(site, client)
    await site.twin_says({"jam": "pcc"})
    await site.twin_says({"clear": "outage"})
    await fault(site, client)


async def to_blackout(site: Site, client: GatewayClient) -> None:
    """More is switched on than the PCS can carry."""
    await to_islanded(site, client)
    await site.twin_says({"load_step_w": 80_000})
    await reached(client, S.BLACKOUT)
    await site.twin_says({"load_step_w": -80_000})


async def black_start(site: Site, client: GatewayClient) -> None:
    """As soon as the bus has read dead for long enough."""
    now_s = (await until(client, lambda s: True)).snapshot.mono_s
    await until(client, lambda s: s.snapshot.mono_s > now_s + 2 * BLACK_START_DEAD_S)
    await skerry(site, "island", "black-start", *WHY, "--confirm-nobody-on-the-bus")


async def to_black_start(site: Site, client: GatewayClient) -> None:
    await to_blackout(site, client)
    await black_start(site, client)
    await reached(client, S.BLACK_START, S.ISLANDED)


Road = Callable[[Site, GatewayClient], Awaitable[None]]
# state -> the road there, and what the next gateway may find: devices go on while nobody watches. A look at the grid's
# window takes a tick more than one at the contacts.
STATES: dict[str, tuple[Road, tuple[IslandState, ...]]] = {
    "preparing": (to_preparing, (S.GRID_TIED,)),
    "opening": (to_opening, (S.UNKNOWN,)),
    "opening fault": (to_opening_fault, (S.FAULT,)),
    "islanded": (to_islanded, (S.ISLANDED,)),
    "synchronising": (to_synchronising, (S.SYNCHRONISING,)),
    "closing": (to_closing, (S.GRID_TIED, S.SYNCHRONISING, S.CLOSING)),
    "fault": (to_fault, (S.FAULT,)),
    "blackout": (to_blackout, (S.BLACKOUT,)),
    "black start": (to_black_start, (S.ISLANDED, S.BLACKOUT)),
}
OFTEN = ("fault", "black start")  # in `make test` too
soak = pytest.mark.skipif(not os.environ.get("SKERRY_SOAK"), reason="make soak; fault and black start run always")


@pytest.mark.soak
@pytest.mark.parametrize("state", [s if s in OFTEN else pytest.param(s, marks=soak) for s in STATES])
async def test_a_killed_gateway_leaves_the_site_as_it_is(wire: Site, state: str) -> None:
    gateway, client = await wire.gateway(), await wire.client()
    await ready(client)
    road, found = STATES[state]
    await road(wire, client)
    before = await truth(wire)
    gateway.kill()
    await gateway.wait()
    await asyncio.sleep(0.5)
    alone = await truth(wire)
    await wire.gateway()
    client = await wire.client()
    seen: list[IslandState] = []
    await until(client, lambda s: seen.append(s.decision.island) or s.decision.island in found)  # type: ignore[func-returns-value]
    on_the_way = {S.ISLANDED} if S.SYNCHRONISING in found else set()
    assert set(seen) <= {S.UNKNOWN, *found, *on_the_way}, seen
    if before["islanded"] and state != "closing":
        assert alone["islanded"], "the PCS went on forming"
    await back_to_the_grid(wire, client, state)
    after = await truth(wire)
    assert after["switch"] == {"pcc": "closed"}
    if state in ("blackout", "black start"):
        assert alone["unserved_wh"] >= before["unserved_wh"] > 0
    else:
        assert after["unserved_wh"] == before["unserved_wh"], "the load has noticed something"


async def back_to_the_grid(site: Site, client: GatewayClient, state: str) -> None:
    """What people do then, by the command line."""
    if "fault" in state:
        await site.twin_says({"free": "pcc"})
        await skerry(site, "island", "reset", *WHY)
    elif state == "opening":
        await site.twin_says({"free": "pcc"})
    elif state == "blackout":
        assert (await truth(site))["blackout"], "nothing starts by itself"
        await black_start(site, client)
        await reached(client, S.ISLANDED)
    elif state == "black start":
        await reached(client, S.ISLANDED)
    if state in ("islanded", "blackout", "black start"):
        await site.twin_says({"clear": "outage"})
    await reached(client, S.GRID_TIED)
