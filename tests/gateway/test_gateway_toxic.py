"""Six ways in which a grid meter's answers go wrong: no wrong value used, stale in time, battery to its safe value."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from harness import STALE_AFTER_S, a_site, site_text, until
from test_gateway_wire import FLAT, FLAT_TRACE, battery_w

from dispatch.model.decision import Mode
from dispatch.model.readings import Quality
from gateway.api.protocol import Published
from tests.drivers.toxic import ToxicServer, Upstream

SIX = ("hang", "late", "short", "wrong_tid", "wrong_function", "exception")
MODELS, METER = 40_002, 203  # where a SunSpec device's chain of models begins; the model of a three-phase meter
W, W_SF = 18, 22  # its power and scale factor (SunSpec model 203), registers from the model's id on


class MeterAsItIs(Upstream):
    """The twin's meter; keeps the powers that it has truly answered with, whatever becomes of the answers, W."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.powers_w: set[float] = set()
        self._registers: dict[int, int] = {}

    async def exchange(self, frame: bytes) -> bytes:
        reply = await super().exchange(frame)
        if reply[7] == 3:
            (first,) = struct.unpack(">H", frame[8:10])
            self._registers |= enumerate(struct.unpack(f">{reply[8] // 2}H", reply[9:]), first)
            self._keep()
        return reply

    def _keep(self) -> None:
        at, held = MODELS, self._registers
        while held.get(at) not in (METER, None):
            at += 2 + held[at + 1]
        if at + W in held and at + W_SF in held:
            w, exponent = struct.unpack(">hh", struct.pack(">HH", held[at + W], held[at + W_SF]))
            self.powers_w.add(round(w * 10.0**exponent, 1))

    def said(self, state: Published) -> bool:
        """Whether the power shown is one of them, or none is shown."""
        w = state.snapshot.grid.w.value
        return w is None or round(w, 1) in self.powers_w


async def test_six_faults_of_the_meter(tmp_path: Path) -> None:
    """Each: stale in time, no wrong value, battery to the safe value after the hold; then all is well again."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    text = site_text(twin=FLAT, extra="[rules]\nmeter_lost_hold_s = 1\n")
    async with a_site(tmp_path, text) as site:
        host, port, _ = (await site.twin())["endpoints"]["grid"]
        await site.twin_says({"load_step_w": 20_000})
        upstream = MeterAsItIs(host, port)
        async with ToxicServer(upstream) as meter:
            meter.late_s = 0.3
            through_proxy = text.replace(
                'id = "grid"\nurl = "twin"', f'id = "grid"\nurl = "tcp://127.0.0.1:{meter.port}"'
            )
            assert through_proxy != text
            site.path.write_text(through_proxy)
            await site.gateway()
            client = await site.client()
            await until(client, lambda s: battery_w(s) > 8_000)
            for toxic in SIX:
                meter.toxic = toxic
                seen: list[Published] = []

                def gone_stale(state: Published, seen: list[Published] = seen) -> bool:
                    seen.append(state)
                    return state.snapshot.grid.w.quality is Quality.STALE

                await until(client, gone_stale)
                assert all((s.snapshot.grid.w.age_s or 0) < STALE_AFTER_S + 0.1 for s in seen[:-1]), toxic
                safe = await until(client, lambda s: s.decision.mode is Mode.SAFE and abs(battery_w(s)) < 500)
                seen.append(safe)
                assert all(upstream.said(state) for state in seen), toxic
                meter.toxic = ""
                await until(client, lambda s: battery_w(s) > 8_000 and s.decision.mode is not Mode.SAFE)
            events = [e["text"] for e in await client.request("events", limit=100)]
            assert sum("lost" in text for text in events) >= len(SIX)
        await upstream.close()


@pytest.mark.parametrize("device", ["pcs1", "load", "pv1", "pcc"])
async def test_another_device_hung_leaves_the_tick_alone(tmp_path: Path, device: str) -> None:
    """A hung device makes its own values stale; the tick goes on, the alarm names it, nothing else is stale."""
    (tmp_path / "flat.csv").write_text(FLAT_TRACE)
    async with a_site(tmp_path, site_text(twin=FLAT)) as site:
        await site.twin()
        await site.gateway()
        client = await site.client()
        await until(client, lambda s: s.decision.battery_w is not None)
        await site.twin_says({"fault": "hung", "device": device})
        state = await until(client, lambda s: any(a.id == f"device-lost:{device}" for a in s.alarms))

        def only_it(s: Published) -> bool:
            lost = [d.id for d in s.snapshot.devices if not d.online]
            return lost == [device] and s.snapshot.grid.w.quality is Quality.GOOD

        await until(client, lambda s: only_it(s) and s.loop.ticks >= state.loop.ticks + 10)
        await site.twin_says({"clear": "all"})
        await until(client, lambda s: all(d.online for d in s.snapshot.devices))
