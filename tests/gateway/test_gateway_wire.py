"""The gateway as a process on a twin as a process: pulse, faults, kills, stops; real sockets, files, clocks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from harness import STALE_AFTER_S, Site, a_site, site_text, until
from waiting import LIMIT_S

from dispatch.model.decision import Mode
from dispatch.model.plan import Plan
from dispatch.model.readings import Quality, Reading
from gateway import exit_codes
from gateway.api.protocol import Published

STEERS = (Mode.RULES, Mode.PLAN)
FLAT = """
load_trace = "flat.csv"
pcs_lag_s = 0.2
meter_delay_s = 0.1
base_load_w = 20000
nodes = 1
cooling_fraction = 0
pv_peak_w = 0
soc_pct = 60
"""
FLAT_TRACE = "start_utc,power_w\n2025-09-16T00:00:00Z,1000\n2025-09-17T00:00:00Z,1000\n"


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Site]:
    """A flat 21 kW load behind a 30 kW contracted peak, on a twin that runs."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    async with a_site(tmp_path, site_text(twin=FLAT, revert_s=5)) as site:
        await site.twin()
        yield site


def battery_w(state: Published) -> float:
    """What the PCS does, 0 while it is not known."""
    return state.snapshot.pcs[0].w.good or 0.0


async def test_pulse_is_absorbed_explained_and_recorded(wire: Site) -> None:
    """A 30 kW step: the battery takes what exceeds the peak, `why` names the rule, the record holds it all."""
    gateway = await wire.gateway("--json")
    client = await wire.client()
    await until(client, lambda s: s.decision.mode in STEERS and s.snapshot.load_w is not None)
    await wire.twin_says({"load_step_w": 40_000})
    state = await until(
        client, lambda s: battery_w(s) > 25_000 and abs(battery_w(s) - (s.decision.battery_w or 0.0)) < 1_000
    )
    assert state.snapshot.grid.w.good is not None
    assert state.snapshot.grid.w.good < 36_000, "61 kW of load, 30 kW contracted: the battery has taken what exceeds"
    assert state.pulses_seen == 1
    why = await client.request("why")
    assert why["battery_w"] > 25_000
    assert why["chain"]
    assert why["reason"]["code"] in ("decision.setpoint", "decision.no_setpoint")
    plan = msgspec.convert(await client.request("plan"), Plan)
    step = plan.at(state.snapshot.utc_s)
    assert step is not None
    assert step.reason
    gateway.send_signal(signal.SIGTERM)
    out, err = await asyncio.wait_for(gateway.communicate(), LIMIT_S)
    assert gateway.returncode == exit_codes.OK, err.decode()
    figures = json.loads(out.decode().splitlines()[-1])
    assert figures["pulses_seen"] == 1
    assert figures["db_rows"] > 0
    assert figures["peak_import_w"] > 20_000
    truth = (await wire.twin_says({"state": {}}))["state"]
    assert truth["setpoint_w"]["pcs1"] == 0, "the safe value is set at stop"
    with sqlite3.connect(wire.state_dir / "telemetry.db") as records:
        kinds = {kind for (kind,) in records.execute("select distinct kind from event")}
        bindings = [binding for (binding,) in records.execute("select binding from decision")]
    records.close()
    assert {"gateway", "device"} <= kinds
    assert len(bindings) > 1


async def test_meter_hung_goes_stale_then_to_the_safe_value(wire: Site) -> None:
    """A hung grid meter: stale in time, held for 5 s, then the safe value; in charge again when it answers."""
    await wire.gateway()
    client = await wire.client()
    await until(client, lambda s: s.decision.mode in STEERS)
    await wire.twin_says({"load_step_w": 30_000})
    await until(client, lambda s: battery_w(s) > 15_000)
    await wire.twin_says({"fault": "hung", "device": "grid"})
    shown: list[Reading] = []

    def stale_now(state: Published) -> bool:
        shown.append(state.snapshot.grid.w)
        return shown[-1].quality is Quality.STALE

    stale = await until(client, stale_now)
    assert all((w.age_s or 0.0) < STALE_AFTER_S + 0.1 for w in shown[:-1]), "stale in time, whatever the machine does"
    assert stale.snapshot.grid.w.value is not None, "the last value is kept, marked"
    assert stale.decision.mode is Mode.SAFE
    safe = await until(client, lambda s: abs(battery_w(s)) < 500)
    assert safe.snapshot.mono_s - stale.snapshot.mono_s > 3.0, "it is held first"
    await wire.twin_says({"clear": "all"})
    back = await until(client, lambda s: battery_w(s) > 15_000)
    assert back.decision.mode is not Mode.SAFE
    assert any(a.id.startswith("device-lost") or "meter" in a.id for a in back.alarms)


async def test_second_gateway_is_refused(wire: Site) -> None:
    """Two gateways must never command one battery: the second ends at once and says who is there."""
    first = await wire.gateway()
    await wire.client()
    second = await wire.gateway()
    _, err = await asyncio.wait_for(second.communicate(), LIMIT_S)
    assert second.returncode == exit_codes.ALREADY_RUNNING
    assert str(first.pid) in err.decode()


async def test_killed_gateway_battery_reverts_and_the_next_takes_over(wire: Site) -> None:
    """kill -9: the PCS reverts by its own timer; a new gateway adopts the site without a gap in the record."""
    gateway = await wire.gateway()
    client = await wire.client()
    await wire.twin_says({"load_step_w": 30_000})
    await until(client, lambda s: battery_w(s) > 15_000)
    gateway.kill()
    await gateway.wait()
    async with asyncio.timeout(LIMIT_S):
        while abs((await wire.twin_says({"state": {}}))["state"]["pcs_w"]["pcs1"]) > 500:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    await wire.gateway()
    client = await wire.client()
    await until(client, lambda s: battery_w(s) > 15_000)
    events = await client.request("events", limit=50)
    assert sum(e["subject"] == "start" for e in events) == 2


async def test_end_of_stdin_stops_in_order(wire: Site) -> None:
    """The console is gone, even by kill -9: its pipe closes, the gateway sets the safe value and ends with 0."""
    gateway = await wire.gateway("--stop-on-stdin-eof")
    client = await wire.client()
    await wire.twin_says({"load_step_w": 30_000})
    await until(client, lambda s: battery_w(s) > 15_000)
    assert gateway.stdin is not None
    gateway.stdin.close()
    assert await asyncio.wait_for(gateway.wait(), LIMIT_S) == exit_codes.OK
    truth = (await wire.twin_says({"state": {}}))["state"]
    assert truth["setpoint_w"]["pcs1"] == 0
    with contextlib.closing(sqlite3.connect(wire.state_dir / "telemetry.db")) as db:
        modes = [mode for (mode,) in db.execute("SELECT mode FROM decision ORDER BY id")]
    assert modes[0] == "observe", "nothing is written before a second sample confirms the first"
    assert "safe" not in modes[:5], "every device was asked before the first tick"


async def test_stalled_console_does_not_delay_the_tick(wire: Site) -> None:
    """A console that stops reading: ticks go on at their pace, the other console sees them, the stalled is dropped."""
    await wire.gateway()
    stalled = await wire.client()
    stalled._writer.transport.pause_reading()  # nothing more is read from its socket
    client = await wire.client()
    first = await until(client, lambda s: s.decision.battery_w is not None and s.loop.consoles == 2)
    later = await until(client, lambda s: s.loop.consoles == 1)
    ticks, elapsed_s = later.loop.ticks - first.loop.ticks, later.snapshot.mono_s - first.snapshot.mono_s
    assert elapsed_s > 4, "it was waited for, but not by the tick"
    assert ticks > 0.5 * elapsed_s / first.loop.period_s


async def test_devices_absent_at_start(tmp_path: Path) -> None:
    """No device answers: the gateway runs, sends nothing, and says for which device it waits, and where."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    async with a_site(tmp_path, site_text(twin=FLAT)) as site:
        announced = await site.twin()
        site.processes[0].kill()
        await site.processes[0].wait()
        await site.gateway()
        client = await site.client()
        state = await until(client, lambda s: len(s.alarms) > 0)
        assert state.decision.battery_w is None or state.decision.mode in (Mode.OBSERVE, Mode.SAFE)
        assert all(not d.online for d in state.snapshot.devices)
        assert any("127.0.0.1" in d.error for d in state.snapshot.devices)
        assert announced["endpoints"]


async def test_state_directory_that_cannot_be_made(wire: Site) -> None:
    """A file where the state directory should be: control runs, one line says so, and the end is no success."""
    (wire.directory / "in-the-way").write_text("a file")
    directory = wire.directory / "in-the-way" / "state"
    gateway = await wire.run(
        "serve", str(wire.path), "--twin", str(wire.announce), "--state-dir", str(directory), "--for", "4s", "--json"
    )
    out, err = await asyncio.wait_for(gateway.communicate(), LIMIT_S)
    assert gateway.returncode == exit_codes.FAILED, "the record is not complete"
    assert json.loads(out.decode().splitlines()[-1])["writes"] > 0
    assert "the state directory cannot be used, control runs without it: " in err.decode()
    assert "Traceback" not in err.decode()


async def test_prices_that_ended(tmp_path: Path) -> None:
    """A price file that ended yesterday, in EUR/kWh by its figures: planning goes on without, says so, and asks."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    (tmp_path / "prices.csv").write_text(
        "start_utc,price_eur_per_mwh\n2025-09-14T22:00:00Z,0.08\n2025-09-14T23:00:00Z,0.09\n"
    )
    text = site_text(twin=FLAT, extra='[tariff]\nfile = "prices.csv"\n')
    async with a_site(tmp_path, text) as site:
        await site.twin()
        await site.gateway()
        client = await site.client()
        state = await until(client, lambda s: {"price-file", "prices-ended"} <= {a.id for a in s.alarms})
        assert state.tariff.now_eur_per_kwh is None
        assert state.decision.battery_w is not None
        asked = [e["text"] for e in await client.request("events", limit=50) if e["subject"] == "tariff"]
        assert any("prices.csv: the highest price is 0.09 EUR/MWh" in text and "EUR/kWh?" in text for text in asked)


async def test_sighup_reads_the_prices_again_and_never_ends_the_gateway(tmp_path: Path) -> None:
    """Also that of a terminal that hangs up."""
    hours = [(f"2025-09-{16 + n // 24}T{n % 24:02}:00:00Z", 40 + n) for n in range(48)]
    rows = [f"{start},{price}\n" for start, price in hours]
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    (tmp_path / "prices.csv").write_text("start_utc,price_eur_per_mwh\n" + "".join(rows[:24]))
    text = site_text(twin=FLAT, extra='[tariff]\nfile = "prices.csv"\n')
    async with a_site(tmp_path, text) as site:
        await site.twin()
        gateway = await site.gateway()
        client = await site.client()
        before = await until(client, lambda s: s.tariff.ends_utc_s is not None)
        (tmp_path / "prices.csv").write_text("start_utc,price_eur_per_mwh\n" + "".join(rows))
        os.kill(gateway.pid, signal.SIGHUP)
        state = await until(client, lambda s: s.tariff.ends_utc_s != before.tariff.ends_utc_s)
        assert state.tariff.ends_utc_s == before.tariff.ends_utc_s + 24 * 3600
        os.kill(gateway.pid, signal.SIGTERM)
        assert await asyncio.wait_for(gateway.wait(), LIMIT_S) == exit_codes.OK
