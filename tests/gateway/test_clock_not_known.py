"""A gateway on a machine that has no time yet: it controls, and bills nothing."""

from __future__ import annotations

from pathlib import Path

from small_gateway import running

from console.cli.status_text import lines
from dispatch.model.clock import ClockState
from gateway.api.protocol import Published, TariffNow, Welcome

LOST, KNOWN = ClockState(False, False, machine_utc_s=0.0), ClockState(True, True, 0.02, machine_utc_s=1.8e9)


async def test_it_controls_and_bills_nothing_until_the_time_is_known(place: Path) -> None:
    state = [LOST]
    async with running(place, place / "s.sock", clock_state=lambda: state[0]) as small:
        loop = small.gateway.loop
        before = await loop.next_tick()
        assert before.decision.battery_w is not None
        assert not before.snapshot.utc_known
        assert before.tariff == TariffNow()
        assert before.interval.guard_w == 30_000
        assert "clock-not-known" in {alarm.id for alarm in before.alarms}
        assert small.gateway.controller.memory().billing.month == ""
        assert "TIME NOT KNOWN" in text(before)
        state[0] = KNOWN
        after = await loop.next_tick()
        assert after.snapshot.utc_known
        assert small.gateway.controller.memory().billing.month != ""
        said = [event.text for event in small.events]
        assert any("the time is known now" in line for line in said)
        assert any("the clock is known now" in line for line in said)
        assert "Clock     synchronised" in text(after)


def text(published: Published) -> str:
    welcome = Welcome(1, "Small", "Europe/Berlin", "u", 1, 0.0, 1.0, False, 10.0, {})
    return "\n".join(lines(published, welcome))
