"""What `skerry serve` says on a terminal: true, within 80 columns, and nothing that steers the terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import warm_start
from small_gateway import ROOT, small_site
from waiting import LIMIT_S

from dispatch.model.equipment import DeviceHealth, Meter
from dispatch.model.snapshot import Snapshot
from gateway.site.schema import Site
from gateway.terminal_summary import Place, terminal_summary

PLACE = Place(4711, Path("/run/skerry/small.sock"), "", Path("/var/lib/skerry"), "")


def device(id: str, kind: str, error: str = "") -> DeviceHealth:
    return DeviceHealth(id, kind, not error, None if error else 0.1, 1, 0, 0, error)


def summary(site: Site, *devices: DeviceHealth, place: Place = PLACE) -> str:
    return terminal_summary(site, Snapshot(1, 0.0, 0.0, Meter("grid"), devices=devices), place)


def longest(text: str, *paths: Path) -> int:
    """The longest line in columns; a path that is too long for a line is not broken."""
    return max(len(line) for line in text.splitlines() if not any(str(path) in line for path in paths))


def plain(text: str) -> str:
    """Without the line breaks of the terminal's width."""
    return re.sub(r"\s+", " ", text)


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_it_says_what_runs_and_how_to_go_on(tmp_path: Path) -> None:
    site = small_site(tmp_path, rules={"meter_lost_w": -2000})
    text = summary(site, device("grid", "meter"), device("pcs1", "pcs", "127.0.0.1:1 unit 1: connection refused"))
    assert longest(text, tmp_path) < 80
    said = plain(text)
    assert f"site file {site.path}" in said
    assert "mode controls pcs1" in said
    assert "1 of 2 answer; silent: pcs1 (pcs): 127.0.0.1:1 unit 1: connection refused" in said
    assert "socket /run/skerry/small.sock records /var/lib/skerry" in said
    assert "the battery is set to -2.0 kW" in said
    assert "until its own reversion timer ends, if it has one. Asked for: pcs1 -2.0 kW after 60 s." in said
    assert f"console skerry {site.path}" in said
    assert "kill 4711; not kill -9" in said


def test_a_site_without_pcs_observes_and_promises_no_safe_value(tmp_path: Path) -> None:
    said = plain(summary(small_site(tmp_path, pcs=[], battery=[], reserve={}), device("grid", "meter")))
    assert "observes only: the site file has no [[pcs]]" in said
    assert "1 of 1 answer" in said
    assert "reversion" not in said
    assert "battery" not in said


def test_what_is_missing_is_said_where_it_belongs(tmp_path: Path) -> None:
    place = msgspec.structs.replace(PLACE, access_trouble="no console can connect", state_trouble="disk full")
    said = plain(summary(small_site(tmp_path), place=place))
    assert "small.sock; no console can connect" in said
    assert "/var/lib/skerry; disk full" in said


def test_names_steer_no_terminal(tmp_path: Path) -> None:
    text = summary(small_site(tmp_path), device("grid", "meter", "\x1b[2J\nforged\u202e"))
    assert "".join(text.splitlines()).isprintable()
    assert "\nforged" not in text


async def serve(tmp_path: Path, stderr: int) -> asyncio.subprocess.Process:
    site = tmp_path / "demo.toml"
    site.write_text((ROOT / "sites" / "demo.toml").read_text())
    command = ["serve", str(site), "--state-dir", str(tmp_path / "state")]
    environment = {**os.environ, "COLUMNS": "80"}
    return await warm_start.start(command, environment, stdin=asyncio.subprocess.DEVNULL, stderr=stderr)


async def test_on_a_terminal_the_text_is_followed_by_one_line_for_each_change(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    gateway = await serve(tmp_path, theirs)
    os.close(theirs)
    said = ""
    read: Any = asyncio.get_running_loop().run_in_executor

    async def until(text: str) -> None:
        nonlocal said
        while text not in said:
            said += (await read(None, os.read, ours, 65536)).decode()

    async with asyncio.timeout(LIMIT_S):
        await until("From here on one line")
        gateway.send_signal(signal.SIGINT)
        await until("gateway stops: SIGINT")
        assert await gateway.wait() == 0
    os.close(ours)
    assert re.search(r"\r\n\d\d:\d\d:\d\d  stop: gateway stops: SIGINT\r\n", said)
    assert "gateway started" not in said  # nor what else every start says: it is in the text
    assert "skerry.gateway" not in said
    assert longest(said, tmp_path) < 80
