"""Devices that answer slowly: read less often, not lost for it, and nobody waits. What they tell goes into the log."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from small_gateway import SITE, Devices, SmallDevice

from dispatch.model.equipment import Pv
from dispatch.model.readings import Quality, reading
from drivers.clock import SystemClock
from drivers.nodes.known_gpus import KnownGpus
from drivers.notices import Notices
from gateway.device_io import DeviceIo
from gateway.site.loader import compose


class Events:
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def event(self, kind: str, severity: str, source: str, text: str) -> None:
        self.texts.append(f"{source} {text}")

    def note(self, event: Any) -> None:
        self.texts.append(str(event))


class SlowPv(SmallDevice):
    """An inverter whose answer comes when the test says so."""

    def __init__(self, site: Devices) -> None:
        self.notices = Notices()
        super().__init__("pv1", "pv", site, lambda: Pv("pv1", w=reading(4210.0)))
        self.answer = asyncio.Event()

    async def read(self) -> Any:
        await self.answer.wait()
        return await super().read()


def devices(**keys: Any) -> tuple[DeviceIo, SlowPv, Events]:
    """A small site with an inverter that has these keys."""
    raw = deepcopy(SITE) | {"pv": [{"id": "pv1", "url": "tcp://127.0.0.1:1", "peak_w": 10_000, **keys}]}
    small, events = Devices(), Events()
    pv = SlowPv(small)
    site = compose(Path("site.toml"), raw)
    return DeviceIo(site, SystemClock(), [*small.drivers(), pv], events, KnownGpus()), pv, events


async def test_the_tick_does_not_wait_for_it() -> None:
    io, pv, _ = devices(deadline_s=1.0)
    for _ in range(3):
        io.start_reads()
        await io.read_grid_meter()
        snapshot = io.snapshot(1)
        assert snapshot.grid.w.quality is Quality.GOOD
        assert snapshot.pv[0].w.quality is Quality.MISSING
    pv.answer.set()
    await io.close()


@pytest.mark.parametrize(
    ("keys", "period_s"),
    [({}, 0.0), ({"deadline_s": 0.6}, 2.4), ({"period_s": 5.0}, 5.0), ({"deadline_s": 0.6, "period_s": 1.0}, 1.0)],
)
async def test_its_readings_stay_good_for_its_period_longer(
    keys: dict[str, float], period_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    io, pv, events = devices(**keys)
    pv.answer.set()
    await io.first_contact()
    loop = asyncio.get_running_loop()
    real_s, ahead_s = loop.time, [0.0]
    monkeypatch.setattr(loop, "time", lambda: real_s() + ahead_s[0])
    ahead_s[0] = period_s + 1.4  # stale_after_s is 1.5
    assert io.snapshot(1).pv[0].w.quality is Quality.GOOD
    assert not any("lost" in text for text in events.texts if text.startswith("pv1"))
    ahead_s[0] = period_s + 60.0
    assert io.snapshot(2).pv[0].w.quality is Quality.STALE
    io.report_silent_pv(silent={"pv1"}, asleep=())
    assert any(text.startswith("pv1 lost") for text in events.texts)
    ahead_s[0] = 0.0
    await io.close()


async def test_what_a_device_has_to_tell_goes_into_the_event_log_once() -> None:
    io, pv, events = devices()
    pv.answer.set()
    for _ in range(3):
        pv.notices.add("warning", "its map holds 2 of the models of a PV inverter")
        await io.first_contact()
    assert events.texts.count("pv1 its map holds 2 of the models of a PV inverter") == 1
    await io.close()
