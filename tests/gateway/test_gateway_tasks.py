"""What fails outside the tick must not end it, and nothing is sent at stop to a site that is not grid-tied."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from harness import Site, a_site, site_text, until
from test_gateway_wire import FLAT, FLAT_TRACE, battery_w
from waiting import LIMIT_S

from gateway import exit_codes

# Runs `skerry` with one method broken, as a mistake of ours would.
BROKEN = """
import sys
from dispatch.planning.planner import Planner
from drivers.pcs import PcsDriver
def broken(self, *_): raise KeyError("a mistake")
async def odd(self, *_): raise RuntimeError("another mistake")
what = sys.argv.pop(1)
if what == "planner": Planner.solve = broken
if what == "setpoints": PcsDriver.command = odd
if what == "reading": PcsDriver.read = odd
from console.cli.main import main
main()
"""


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Site]:
    """A flat 21 kW load behind a 30 kW contracted peak, on a twin that runs."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    async with a_site(tmp_path, site_text(twin=FLAT, revert_s=5)) as site:
        await site.twin()
        yield site


@pytest.mark.parametrize("what", ["planner", "setpoints", "reading"])
async def test_a_mistake_beside_the_tick(wire: Site, what: str) -> None:
    """Planner, actuator or driver raise what nobody expected: it is said, the tick goes on, the stop is orderly."""
    command = [sys.executable, "-P", "-c", BROKEN, what, "serve", str(wire.path), "--twin", str(wire.announce)]
    gateway = await asyncio.create_subprocess_exec(
        *command, "--state-dir", str(wire.state_dir), env=wire.environment, stderr=asyncio.subprocess.DEVNULL
    )
    wire.processes.append(gateway)
    client = await wire.client()
    async with asyncio.timeout(LIMIT_S):
        while not any("mistake" in event["text"] for event in await client.request("events", limit=50)):
            await until(client, lambda s: True)
    said = await until(client, lambda s: True)
    await until(client, lambda s: s.loop.ticks > said.loop.ticks + 5)
    gateway.terminate()
    code = await asyncio.wait_for(gateway.wait(), LIMIT_S)
    assert code == (exit_codes.FAILED if what == "setpoints" else exit_codes.OK)


# Runs `skerry` with everything outside the tick hanging once it has ticked, and short steps of the end.
HANGING = """
import sys, threading, time
from gateway import service, composition
from gateway.price_watch import PriceWatch
from gateway.systemd import Liveness
from dispatch.planning.planner import Planner
from storage.audit_file import AuditFile
from storage.file import TelemetryFile
from storage.reader import Archive
for step in ("TICKS", "PLANS", "AUDIT", "RECORD", "DEVICES", "LINK"):
    setattr(service, step + "_END_S", 0.3)
hung = threading.Event()
def hangs(*_, **__): hung.wait()
later = Liveness.after_tick
def after_tick(self, ticks):
    later(self, ticks)
    if ticks == 10:
        Planner.solve = AuditFile.append = TelemetryFile.write = Archive.events = PriceWatch._read = hangs
Liveness.after_tick = after_tick
from console.cli.main import main
main()
"""


async def test_a_stop_is_bounded_while_everything_hangs_and_the_safe_value_comes_first(wire: Site) -> None:
    command = [sys.executable, "-P", "-c", HANGING, "serve", str(wire.path), "--twin", str(wire.announce)]
    gateway = await asyncio.create_subprocess_exec(
        *command, "--state-dir", str(wire.state_dir), env=wire.environment, stderr=asyncio.subprocess.PIPE
    )
    wire.processes.append(gateway)
    client = await wire.client()
    await wire.twin_says({"load_step_w": 30_000})
    await until(client, lambda s: s.loop.ticks > 12 and battery_w(s) > 15_000)
    asked = asyncio.create_task(client.request("events", limit=50))
    said = await until(client, lambda s: True)
    await until(client, lambda s: s.loop.ticks > said.loop.ticks + 5)
    gateway.terminate()
    _, err = await asyncio.wait_for(gateway.communicate(), LIMIT_S)
    assert gateway.returncode == exit_codes.FAILED, err.decode()
    assert "ends without waiting for" in err.decode()
    assert "the audit did not end within 0.3 s" in err.decode()
    assert (await wire.twin_says({"state": {}}))["state"]["setpoint_w"]["pcs1"] == 0
    await asyncio.wait([asked])
    assert asked.exception() is not None or asked.result() is not None


async def test_islanded_at_stop_sends_nothing(wire: Site) -> None:
    """During an outage the PCS forms the island: the stop leaves it alone and says so."""
    gateway = await wire.gateway()
    client = await wire.client()
    await until(client, lambda s: s.decision.battery_w is not None and abs(battery_w(s)) < 30_000)
    await wire.twin_says({"fault": "outage"})
    await until(client, lambda s: s.decision.island.value != "grid-tied")
    before = (await wire.twin_says({"state": {}}))["state"]["written_mono_s"]
    gateway.terminate()
    assert await asyncio.wait_for(gateway.wait(), LIMIT_S) == exit_codes.OK
    after = (await wire.twin_says({"state": {}}))["state"]["written_mono_s"]
    setpoint = {key: at for key, at in after.items() if "704" in key}
    assert setpoint == {key: at for key, at in before.items() if "704" in key}


async def test_memory_that_cannot_be_read(wire: Site) -> None:
    """A broken row of the controller's memory: it starts anew and says so."""
    import sqlite3

    first = await wire.gateway("--for", "2s")
    assert await asyncio.wait_for(first.wait(), LIMIT_S) == exit_codes.OK
    records = sqlite3.connect(wire.state_dir / "telemetry.db")
    (table,) = records.execute("select name from sqlite_master where name = 'state'").fetchone()
    records.execute(f"update {table} set value = '{{\"billing\": 7}}' where key = 'controller'")
    records.commit()
    records.close()
    await wire.gateway()
    client = await wire.client()
    await until(client, lambda s: s.loop.ticks > 5)
    events = [event["text"] for event in await client.request("events", limit=50)]
    assert any("cannot be read" in text for text in events)
