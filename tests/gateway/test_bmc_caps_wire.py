"""A real gateway caps a node by its BMC: given back at the end, and by the next gateway after kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Callable
from pathlib import Path

from fake_bmc import PASSWORD, USER, FakeBmc
from harness import a_site, site_text, until
from test_gateway_wire import FLAT, FLAT_TRACE
from test_orders_wire import skerry
from test_redfish_limits import OWN, PATH, machine
from waiting import LIMIT_S

from gateway import exit_codes
from gateway.api.protocol import Published

NODE = """
[[bmc]]
id = "c"
user = "{user}"
password_file = "pw"
may_cap = true

[[node]]
id = "here"
source = "redfish"
bmc = "{url}"
cap_w = 800
cap_by = "redfish"
"""


async def come_to(bmc: FakeBmc, so: Callable[[dict[str, object]], bool]) -> None:
    """Wait until the limit in the BMC is so."""
    async with asyncio.timeout(LIMIT_S):
        while not so(bmc.tree[PATH]["PowerLimitWatts"]):  # noqa: ASYNC110  a BMC tells nobody
            await asyncio.sleep(0.02)


def held_w(published: Published) -> float | None:
    """The limit that the BMC follows, as it is shown."""
    return next((n.limit.w.good for n in published.snapshot.nodes if n.limit is not None), None)


async def test_a_cap_in_a_bmc_outlives_no_gateway(tmp_path: Path) -> None:
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    (tmp_path / "pw").write_text(PASSWORD)
    (tmp_path / "pw").chmod(0o600)
    async with FakeBmc(machine()) as bmc, contextlib.AsyncExitStack() as stack:
        text = site_text(twin=FLAT, extra=NODE.format(user=USER, url=bmc.url))
        site = await stack.enter_async_context(a_site(tmp_path, text))
        site.environment |= {"STATE_DIRECTORY": str(site.state_dir)}
        await site.twin()
        gateway = await site.gateway()
        client = await site.client()
        await until(client, lambda s: held_w(s) == 1_600)
        code, _, err = await skerry(site, "cap", "here", "900W", "--reason", "heat")
        assert code == exit_codes.OK, err
        await come_to(bmc, lambda limit: limit["SetPoint"] == 900)
        assert json.loads((site.state_dir / "bmc-limits.json").read_text())["here"]["own_w"] == 1_600
        gateway.kill()
        await gateway.wait()
        assert bmc.tree[PATH]["PowerLimitWatts"]["SetPoint"] == 900
        gateway = await site.gateway()
        await come_to(bmc, lambda limit: limit == OWN)
        code, _, err = await skerry(site, "cap", "here", "850W", "--reason", "heat")
        assert code == exit_codes.OK, err
        await come_to(bmc, lambda limit: limit["SetPoint"] == 850)
        gateway.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(gateway.wait(), LIMIT_S) == 0
        assert bmc.tree[PATH]["PowerLimitWatts"] == OWN
        assert bmc.most_at_once == 1
