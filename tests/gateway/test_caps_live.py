"""Caps for the month's peak in a gateway: asked of the node, announced, visible, undone; a node that fails."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import a_site, site_text, until
from small_gateway import SITE, Running, running
from test_gateway_wire import FLAT, FLAT_TRACE
from waiting import LIMIT_S

from console.cli import why
from console.cli.status_text import caps_words
from dispatch.model.readings import Quality
from dispatch.power_caps import cap_controller
from dispatch.power_caps.priced_caps import for_event
from gateway.api.client import GatewayClient
from gateway.api.protocol import Published
from storage.reader import Archive

SECTIONS: dict[str, Any] = {
    "grid": SITE["grid"] | {"contracted_peak_w": 15_000},
    "tariff": {"demand_eur_per_kw_month": 10.0},
    "caps": {"value_eur_per_kwh": 0.3, "max_share": 0.5},
    "node": [{"id": "gpu-01", "source": "modbus", "unit": 1, "cap_w": 1_000}, {"id": "here", "source": "psutil"}],
}


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(cap_controller, "PERIOD_S", 0.3)
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        yield Path(name)


async def when(there: Running, true: Callable[[Published], bool]) -> Published:
    async with asyncio.timeout(LIMIT_S):
        while not true(published := await there.gateway.loop.next_tick()):
            pass
    return published


def capped(published: Published) -> tuple[tuple[str, float], ...]:
    return published.decision.caps.nodes if published.decision.caps is not None else ()


def not_counted(published: Published) -> tuple[str, ...]:
    return published.decision.caps.not_counted if published.decision.caps is not None else ()


async def test_caps_reach_the_node_are_announced_and_undone(place: Path) -> None:
    async with running(place, place / "s.sock", **SECTIONS) as there:
        there.devices.soc_pct = 12.0  # below the reserve: the battery gives nothing, 20 kW stand against 15
        published = await when(there, lambda p: bool(capped(p)))
        assert capped(published) == (("gpu-01", 2_000.0),)
        await when(there, lambda p: there.devices.caps[-1:] == [2_000.0])
        text = next(event.text for event in there.events if event.subject == "caps")
        assert text.startswith("gpu-01 capped by 2.0 kW: cap GPUs by")
        client = await GatewayClient.connect(there.socket, 0)
        answer = await client.request("why")
        assert [tuple(node) for node in answer["caps"]["nodes"]] == [("gpu-01", 2_000.0)]
        assert published.decision.caps is not None
        assert caps_words(published.decision.caps).startswith("gpu-01 to 2.0 kW: ")
        lines = list(why.lines(published.decision, None))
        assert any(line.startswith("Caps      gpu-01 to 2.0 kW") for line in lines)
        there.devices.soc_pct = 60.0
        await when(there, lambda p: not capped(p))
        await when(there, lambda p: there.devices.caps[-1:] == [None])
        assert any("are lifted after" in event.text for event in there.events)
        await client.close()


async def test_a_node_is_capped_for_a_grid_event_that_the_battery_cannot_hold(place: Path) -> None:
    sections = {"caps": {"max_share": 0.5}, "node": SECTIONS["node"]}  # no demand charge: no cap for a peak
    async with running(place, place / "s.sock", **sections) as there:
        there.devices.soc_pct = 12.0
        client, now_s = await GatewayClient.connect(there.socket, 0), there.clock.utc_s()
        asked = {"limit_w": 18_000.0, "end_utc_s": now_s + 600, "reason": "test"}
        await client.request("event.start", **asked, seen_utc_s=now_s)
        published = await when(there, lambda p: bool(capped(p)))
        assert capped(published) == (("gpu-01", 2_000.0),)
        assert published.decision.caps is not None
        caps = published.decision.caps
        assert caps_words(caps).startswith("gpu-01 to 2.0 kW: 0.0 kW of 2.0 kW taken; 2.4 kW to be taken ")
        assert for_event(caps.reason)
        await when(there, lambda p: there.devices.caps[-1:] == [2_000.0])
        for _ in range(2):  # in steps, then at once
            await client.request("event.abort", id="e1", reason="test")
        await when(there, lambda p: there.devices.caps[-1:] == [None])
        await client.close()


async def test_a_node_that_fails_is_not_counted_on_and_what_is_capped_is_free_at_the_end(place: Path) -> None:
    async with running(place, place / "s.sock", **SECTIONS) as there:
        there.devices.refusing.add("gpu-01")
        there.devices.soc_pct = 12.0
        await when(there, lambda p: not_counted(p) == ("gpu-01",) and not capped(p))
        there.devices.refusing.clear()
        await when(there, lambda p: there.devices.caps[-1:] == [2_000.0])
    assert there.devices.caps[-1] is None, "a gateway that is gone lifts nothing any more"


async def test_a_person_who_caps_deeper_holds_it(place: Path) -> None:
    async with running(place, place / "s.sock", **SECTIONS) as there:
        there.devices.soc_pct = 12.0
        await when(there, lambda p: there.devices.caps[-1:] == [2_000.0])
        client = await GatewayClient.connect(there.socket, 0)
        params = {"kind": "node-cap", "value": 900.0, "target": "gpu-01", "reason": "heat"}
        await client.request("order.set", **params, seen_utc_s=there.clock.utc_s())
        await when(there, lambda p: there.devices.caps[-1:] == [900.0])
        await client.request("order.end", id="*")
        await when(there, lambda p: there.devices.caps[-1:] == [2_000.0])
        await client.close()


async def test_a_gateway_killed_while_nodes_are_capped_leaves_an_heir_that_frees_them(tmp_path: Path) -> None:
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    terms = "[tariff]\ndemand_eur_per_kw_month = 10\n[caps]\nvalue_eur_per_kwh = 0.3\nmax_share = 0.5\n"

    def text(peak_w: float) -> str:
        twin = FLAT.replace("soc_pct = 60", "soc_pct = 5")  # nothing to give
        return site_text(peak_w, terms, twin=twin).replace("unit = 1\n[twin]", "unit = 1\ncap_w = 300\n[twin]")

    async with a_site(tmp_path, text(15_000)) as site:
        await site.twin()
        gateway = await site.gateway()
        client = await site.client()
        state = await until(client, lambda s: s.snapshot.nodes[0].note.startswith("capped at"))
        assert state.decision.caps is not None
        (before,) = state.decision.caps.nodes
        assert before[0] == "gpu-01"
        await _on_record(site.state_dir, ("gpu-01",))
        gateway.kill()
        await gateway.wait()
        site.path.write_text(text(60_000))
        await site.gateway()
        await until(await site.client(), _freed)


def _freed(state: Any) -> bool:
    """The first node answers, is not capped, and is not to be. Until it has answered its note is empty, too."""
    node, caps = state.snapshot.nodes[0], state.decision.caps
    return node.w.quality is Quality.GOOD and node.note == "" and caps is not None and caps.nodes == ()


async def _on_record(state_dir: Path, nodes: tuple[str, ...]) -> None:
    """Until a gateway that comes after can know who is capped."""
    archive, known = Archive(state_dir), None
    async with asyncio.timeout(LIMIT_S):
        while known is None or tuple(known["caps"]["nodes"]) != nodes:
            await asyncio.sleep(0.1)  # another process writes the file
            known = archive.last_state("controller")
    archive.close()
