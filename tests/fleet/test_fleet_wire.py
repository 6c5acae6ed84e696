"""`skerry fleet` with real gateways: one on this machine, one by `skerry link --stdio` through a stand-in for ssh."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import warm_start
from small_gateway import running
from storage_samples import SOURCE, Site
from waiting import LIMIT_S

from fleet.pull import Pace, SitePull
from fleet.store import FILE, HubFile
from gateway import exit_codes
from gateway.api import fleet_queries
from gateway.api.client import GatewayClient
from storage.identity import Identity


async def fleet(*arguments: str) -> tuple[int, Any, str]:
    """Exit code, document and errors of `skerry fleet --json`."""
    pipe = asyncio.subprocess.PIPE
    process = await warm_start.start(["fleet", "--json", *arguments], os.environ, stdout=pipe, stderr=pipe)
    out, errors = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode is not None
    return process.returncode, json.loads(out) if out else None, errors.decode()


async def test_sites_here_and_by_ssh_and_one_whose_key_is_not_known(place: Path, ssh: Path) -> None:
    for name in ("a", "b"):
        (place / name).mkdir()
    (place / "fleet.toml").write_text(
        f'ssh = ["{ssh}"]\n'
        f'[[site]]\nname = "near"\nsite = "{place}/a.sock"\ntags = ["north"]\n'
        f'[[site]]\nname = "far"\nhost = "ops@far"\nsite = "{place}/b.sock"\n'
        '[[site]]\nname = "unknown"\nhost = "ops@unknown"\n'
    )
    async with running(place / "a", place / "a.sock"), running(place / "b", place / "b.sock"):
        code, said, errors = await fleet("--file", str(place / "fleet.toml"), "--wait", "30s")
    assert (code, errors) == (exit_codes.OK, "")
    sites = {site["name"]: site for site in said["sites"]}
    assert [sites[name]["link"] for name in ("near", "far", "unknown")] == ["live", "live", "silent"]
    assert sites["unknown"]["trouble"] == "unknown: Host key verification failed."
    assert sites["far"]["overview"]["site"] == "Small"
    assert sites["far"]["overview"]["load_w"] == 20_000.0
    assert said["sites"][0]["name"] == "unknown", "the worst first"
    assert said["sums"]["load_w"] == {"value": 40_000.0, "sites": 2}
    asked = (place / "ssh.log").read_text().splitlines()
    assert sum("ops@far" in line for line in asked) == 1, "one connection, kept; a refused one is tried again"
    for line in asked:
        assert "BatchMode=yes" in line
        assert "StrictHostKeyChecking=yes" in line
    assert f"ops@far skerry link --stdio --site {place}/b.sock" in "\n".join(asked)


async def test_a_record_is_pulled_from_a_gateway_that_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks larger than an answer come in pieces; each is the site's own, without the power of nodes."""
    monkeypatch.setattr(fleet_queries, "PAGE_BYTES", 1_000)
    (place / "a").mkdir()
    made = Site(place / "a")
    for _ in range(3):
        made.run(60, {"gpu-01.w": 7.0, "pcs1.w": 5.0})
        made.now_s += 840
    made.write(whole=True)
    made.pack(made.now_s + 1e5)
    made.file.abandon()
    with closing(sqlite3.connect(place / "a" / "telemetry.db")) as con:
        own = [(seq, hashlib.sha256(v).digest()) for seq, v in con.execute("SELECT seq, v FROM block ORDER BY seq")]
    store = HubFile(place / "hub")
    async with running(place / "a", place / "a.sock") as there:
        client = await GatewayClient.connect(there.socket, 0.0)
        client.welcome = msgspec.structs.replace(
            client.welcome,
            identity=Identity(*map(str, SOURCE), "", kept=True),  # a small gateway has none
        )
        found = await SitePull("a", client, store, Pace(None)).run({})
        await client.close()
    store.close()
    assert (found.trouble, found.blocks) == ("", 3)
    with closing(sqlite3.connect(place / "hub" / FILE)) as con:
        assert con.execute("SELECT seq, own_sha256 FROM block ORDER BY seq").fetchall() == own
        names = {name for (name,) in con.execute("SELECT name FROM signal")}
        assert con.execute("SELECT count(*) FROM head").fetchone() == (1,)
    assert {"grid.w", "pcs1.w", "gpu-01.w"} & names == {"grid.w", "pcs1.w"}


async def test_without_an_answer_and_without_sites(place: Path, ssh: Path) -> None:
    code, said, _ = await fleet("--ssh", str(ssh), "ops@unknown", "--wait", "30s")
    assert (code, said["sums"]["live"], said["sums"]["silent"]) == (exit_codes.NO_GATEWAY, 0, 1)
    code, said, errors = await fleet()
    assert (code, said) == (exit_codes.USAGE, None)
    assert "expected a SITE, or sites in" in errors
