"""Which twin a gateway has, how it goes on after a kill, and what it does without it; every process is real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import waiting
from harness import Site, a_site, site_text, until
from test_gateway_wire import FLAT, FLAT_TRACE
from waiting import LIMIT_S

from gateway import exit_codes, standalone_twin
from gateway.site import paths


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Site]:
    """A site whose twin nobody has started yet."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    text = site_text(twin=FLAT, extra="[storage]\nflush_s = 0.3\nhot_period_s = 0.2\n[plan]\nenabled = false")
    async with a_site(tmp_path, text) as site:
        site.environment["STATE_DIRECTORY"] = str(site.state_dir)
        yield site


async def own(site: Site, *options: str) -> asyncio.subprocess.Process:
    return await site.run("serve", str(site.path), *options)


async def said(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Exit code and stderr of a process that ends."""
    _, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode is not None
    return process.returncode, err.decode()


async def texts(site: Site) -> list[str]:
    client = await site.client()
    return [event["text"] for event in await client.request("events", limit=50)]


def recorded_until_s(site: Site) -> float:
    """Where the record on disk ends."""
    with contextlib.closing(sqlite3.connect(site.state_dir / "telemetry.db")) as con:
        (end_us,) = con.execute("SELECT max(ts) FROM hot").fetchone()
    return float(end_us or 0) / 1e6


def test_a_twin_writes_no_frames_to_the_terminal(tmp_path: Path) -> None:
    """Found: hundreds of columns of hexadecimal digits whenever a client was gone before the answer."""
    library = logging.getLogger("pymodbus")
    level = library.level
    try:
        assert standalone_twin.run(tmp_path / "none.toml") == exit_codes.USAGE
        assert not logging.getLogger("pymodbus.logging").isEnabledFor(logging.ERROR)
    finally:
        library.setLevel(level)


async def test_a_killed_gateway_on_its_own_twin_goes_on_where_its_record_ends(wire: Site) -> None:
    gateway = await own(wire)
    client = await wire.client()
    began = await until(client, lambda s: s.loop.ticks > 2)
    seen = await until(client, lambda s: s.snapshot.utc_s > began.snapshot.utc_s + 3)
    await waiting.until(lambda: recorded_until_s(wire) >= seen.snapshot.utc_s)
    gateway.kill()
    await gateway.wait()
    second = await own(wire)
    client = await wire.client()
    after = await until(client, lambda s: s.snapshot.batteries[0].soc_pct.good is not None)
    assert after.snapshot.utc_s > seen.snapshot.utc_s, "a twin does not go back behind what is on record"
    kept_pct, shown_pct = (s.snapshot.batteries[0].soc_pct.good for s in (seen, after))
    assert shown_pct == pytest.approx(kept_pct, abs=0.5)
    assert any(text.startswith("the twin goes on at 20") for text in await texts(wire))
    await until(client, lambda s: s.snapshot.utc_s > after.snapshot.utc_s + 1)

    twin = json.loads(paths.announce_path(wire.path).read_text())
    assert twin["child"]
    os.kill(twin["pid"], signal.SIGKILL)
    code, err = await said(second)
    assert code == exit_codes.FAILED
    assert "internal error" not in err
    with contextlib.closing(sqlite3.connect(wire.state_dir / "telemetry.db")) as con:
        runs = con.execute("SELECT min(ts), max(ts) FROM hot GROUP BY run ORDER BY run").fetchall()
        (stop,) = con.execute("SELECT text FROM event WHERE subject = 'stop' ORDER BY id DESC LIMIT 1").fetchone()
    assert len(runs) == 2
    assert runs[0][1] < runs[1][0], "the record holds one history"
    assert "its twin ended with exit code" in stop

    # a twin that knows nothing of the record would take it back in time
    fresh = await wire.run("twin", str(wire.path), "--announce", str(wire.announce), "--state-dir", "/nowhere")
    assert fresh.stdout is not None
    await asyncio.wait_for(fresh.stdout.readline(), LIMIT_S)
    code, err = await said(await wire.gateway())
    assert code == exit_codes.DEVICE
    assert "the twin's clock stands at" in err
    assert f"start the twin with --state-dir {wire.state_dir}" in err


async def test_a_gateway_uses_the_twin_that_runs_for_its_site_file(wire: Site) -> None:
    twin = await wire.run("twin", str(wire.path))
    assert twin.stdout is not None
    announced = json.loads(await asyncio.wait_for(twin.stdout.readline(), LIMIT_S))
    code, err = await said(await wire.run("twin", str(wire.path)))
    assert (code, f"pid {twin.pid}; end it first" in err) == (exit_codes.ALREADY_RUNNING, True)

    gateway = await own(wire)
    client = await wire.client()
    await until(client, lambda s: s.loop.ticks > 2 and s.snapshot.grid.w.good is not None)
    expected = f"uses the twin that runs for this site file, pid {twin.pid}, speed 1"
    assert expected in await texts(wire)
    gateway.terminate()
    assert await asyncio.wait_for(gateway.wait(), LIMIT_S) == exit_codes.OK
    assert twin.returncode is None, "a twin that is not ours outlives us"
    assert json.loads(paths.announce_path(wire.path).read_text())["control"] == announced["control"]

    twin.kill()  # its announcement stays behind, and is nobody's
    await twin.wait()
    assert paths.announce_path(wire.path).exists()
    await own(wire)
    await until(await wire.client(), lambda s: s.loop.ticks > 2 and s.snapshot.grid.w.good is not None)
    now = json.loads(paths.announce_path(wire.path).read_text())
    assert now["child"]
    code, err = await said(await wire.run("twin", str(wire.path)))
    assert (code, "runs a twin of its own" in err) == (exit_codes.ALREADY_RUNNING, True)
