"""Manual orders on the wire, by the command line: twin, gateway and console as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness import Site, a_site, site_text, until
from test_gateway_wire import FLAT, FLAT_TRACE
from waiting import LIMIT_S

from dispatch.model.decision import Mode
from dispatch.model.reasons import RuleId
from gateway import exit_codes
from gateway.api.peer import user_name

ME = user_name(os.getuid())


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Site]:
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    async with a_site(tmp_path, site_text(twin=FLAT, extra='[orders]\nmax_s = "1 h"\n')) as site:
        site.environment["STATE_DIRECTORY"] = str(site.state_dir)
        await site.twin()
        yield site


async def skerry(site: Site, *arguments: str) -> tuple[int | None, str, str]:
    """Exit code and both streams of `skerry ARGUMENTS --site SITE`."""
    process = await site.run(*arguments, "--site", str(site.path))
    out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    return process.returncode, out.decode(), err.decode()


async def truth(site: Site) -> dict[str, Any]:
    state: dict[str, Any] = (await site.twin_says({"state": {}}))["state"]
    return state


async def test_orders_by_the_command_line(wire: Site) -> None:
    await wire.gateway()
    client = await wire.client()
    before = await until(client, lambda s: s.decision.battery_w is not None and s.snapshot.load_w is not None)
    code, out, err = await skerry(wire, "setpoint", "20kW", "--for", "10m", "--reason", "feeder test")
    assert code == exit_codes.OK, err
    assert "→ discharge 20.0 kW, until" in out
    assert "now       discharge 20.0 kW — manual: order" in out
    obeyed = await until(client, lambda s: s.decision.mode is Mode.MANUAL)
    assert obeyed.orders[0].who == ME
    assert (await truth(wire))["setpoint_w"]["pcs1"] == 20_000
    ordered = await until(client, lambda s: abs((s.snapshot.pcs[0].w.good or 0) - 20_000) < 500)
    assert ordered.snapshot.seq > before.snapshot.seq

    code, out, err = await skerry(wire, "setpoint", "-5kW", "--reason", "second")
    assert (code, out) == (exit_codes.REFUSED, "")
    assert f"one order at a time: {ME} holds battery by order {ordered.orders[0].id}" in err
    for arguments, said in (
        (("setpoint", "70kW", "--reason", "too much"), "beyond ratings: discharge 70.0 kW against rated 60.0 kW"),
        (("setpoint", "5kW"), "reason: an order needs a reason"),
        (("setpoint", "5kW", "--for", "2h", "--reason", "abc"), "orders.max_s: 2 h is longer than the 1 h"),
        (("soc-target", "80%", "--by", "2025-01-01", "--reason", "abc"), "in the past: the time stated was"),
        (("cap", "gpu-77", "900W", "--reason", "abc"), "node: 'gpu-77': expected one of gpu-01"),
        (("end", "o999"), "no order 'o999' is in force"),
    ):
        code, out, err = await skerry(wire, *arguments)
        assert (code, out) == (exit_codes.REFUSED, ""), arguments
        assert said in err
    code, out, err = await skerry(wire, "setpoint", "5", "--reason", "abc")
    assert code == exit_codes.USAGE
    assert "expected a power with its unit, such as 20kW" in err

    code, out, _ = await skerry(wire, "cap", "gpu-01", "700W", "--reason", "heat")
    assert code == exit_codes.OK
    await until(client, lambda s: s.snapshot.nodes[0].note == "capped at 700 W")
    code, out, _ = await skerry(wire, "import-target", "10kW", "--reason", "export test", "--dry-run")
    assert "→ import 10.0 kW, for 15 min" in out
    assert "at most" in out
    assert "in force" in out
    code, out, _ = await skerry(wire, "hold")
    assert code == exit_codes.OK
    assert "replaces" in out
    await until(client, lambda s: s.decision.battery_w == 0 and s.decision.binding is RuleId.MANUAL)
    code, out, _ = await skerry(wire, "orders")
    assert len(out.splitlines()) == 2
    code, out, _ = await skerry(wire, "end", "all", "--reason", "done")
    assert code == exit_codes.OK
    await until(client, lambda s: not s.orders and s.snapshot.nodes[0].note == "")
    code, out, _ = await skerry(wire, "orders")
    assert out == "no manual order is in force\n"

    code, out, _ = await skerry(wire, "audit", "--json")
    rows = json.loads(out)
    intents = [row["seq"] for row in rows if row["kind"] == "intent"]
    assert [row["of"] for row in rows if row["kind"] == "result"] == intents, "every intent has its result"
    assert all(row["who"] == ME for row in rows if row["kind"] == "intent")
    assert len([row for row in rows if row["kind"] == "refused"]) >= 5
    export = wire.directory / "out"
    code, out, err = await skerry(wire, "export", str(export))
    assert code == exit_codes.OK, err
    head = json.loads((export / "manifest.json").read_text())["audit"]["head"]
    assert f"head of the audit {head}" in err
    process = await wire.run("verify", str(export), "--head", head)
    out_b, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == exit_codes.OK
    assert out_b.decode().splitlines()[-1] == "verified: as it was written"
    (export / "events.csv").write_text("t,severity\n")
    process = await wire.run("verify", str(export))
    out_b, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == exit_codes.FAILED
    assert "CHANGED   events.csv: its SHA-256 is not that of the manifest" in out_b.decode()


async def test_kill_9_drops_orders_with_an_event_and_keeps_the_record(wire: Site) -> None:
    gateway = await wire.gateway()
    client = await wire.client()
    await until(client, lambda s: s.decision.battery_w is not None and s.snapshot.load_w is not None)
    code, _, err = await skerry(wire, "setpoint", "20kW", "--reason", "feeder test")
    assert code == exit_codes.OK, err
    gateway.kill()
    await gateway.wait()
    again = await wire.gateway()
    client = await wire.client()
    state = await until(client, lambda s: s.decision.battery_w is not None)
    assert state.orders == ()
    assert state.decision.mode is not Mode.MANUAL
    events = await client.request("events", kind="command", limit=50)
    (dropped,) = [e["text"] for e in events if "is dropped, the gateway was restarted" in e["text"]]
    assert "; now " not in dropped  # what the battery did then
    rows = await client.request("audit")
    assert [row["outcome"] for row in rows if row["kind"] == "result"] == ["in force"]
    assert [row["kind"] for row in rows][-2:] == ["start", "end"]
    again.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(again.wait(), LIMIT_S) == exit_codes.OK
    process = await wire.run("verify", str(wire.state_dir))
    out, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == exit_codes.OK, out.decode()
    assert "not signed yet" not in out.decode(), "the last head is signed at stop"


async def test_a_disk_that_takes_no_more(wire: Site) -> None:
    """No file of the gateway may grow: raising risk is refused, hold and stop run; then the disk is back."""
    gateway = await wire.gateway()
    client = await wire.client()
    await until(client, lambda s: s.decision.battery_w is not None and s.snapshot.load_w is not None)
    code, _, err = await skerry(wire, "setpoint", "20kW", "--reason", "feeder test")
    assert code == exit_codes.OK, err
    await until(client, lambda s: (s.snapshot.pcs[0].w.good or 0) > 19_000)
    _, hard = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (0, hard))
    code, _, err = await skerry(wire, "cap", "gpu-01", "700W", "--reason", "heat")
    assert code == exit_codes.REFUSED
    assert "audit: not on record, so not done" in err
    code, out, err = await skerry(wire, "hold")
    assert code == exit_codes.OK, err
    assert "now       battery at 0 kW — manual: order n1" in out
    assert "skerry: done, but not durable:" in err
    await until(client, lambda s: abs(s.snapshot.pcs[0].w.good or 9e9) < 300)
    code, out, err = await skerry(wire, "stop")
    assert code == exit_codes.OK, err
    assert "not durable" in err
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (hard, hard))
    async with asyncio.timeout(LIMIT_S):
        while True:
            rows = await client.request("audit")
            if any(row.get("command") == "stop" and row.get("durable") for row in rows):
                break
            await asyncio.sleep(0.3)
    code, _, err = await skerry(wire, "end", "all")
    assert (code, err) == (exit_codes.OK, "")
