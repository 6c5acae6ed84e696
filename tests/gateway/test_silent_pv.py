"""A PV inverter that does not answer: at night it is asleep, by day the site goes on with its net load."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from small_gateway import LOAD_W, Devices, Running, SmallDevice, running

from console.cli.status_text import lines
from dispatch.alarms.states import AlarmState
from dispatch.model.equipment import Pv
from dispatch.model.readings import reading
from dispatch.wording.catalogue import words
from gateway.api.protocol import Published, Welcome
from gateway.bootstrap import site_limits

PLAN: dict[str, Any] = {"enabled": True, "period_s": 60}
PV = [{"id": "pv1", "peak_w": 10_000, "url": "tcp://127.0.0.1:1"}]


class SunnyDevices(Devices):
    """The small site with a PV inverter that gives `pv_w`, and an answer as long as it is not offline."""

    pv_w = 0.0

    def drivers(self) -> list[Any]:
        return [*super().drivers(), SmallDevice("pv1", "pv", self, lambda: Pv("pv1", w=reading(self.pv_w)))]


def site_at(solar_hour: float) -> dict[str, Any]:
    """`[site]` of a place at the equator where it is this hour now."""
    longitude_deg = 15 * (solar_hour - time.time() % 86400 / 3600)
    return {"name": "Small", "latitude_deg": 0.0, "longitude_deg": (longitude_deg + 180) % 360 - 180}


async def until_planned(there: Running) -> Published:
    for _ in range(100):
        published = await there.gateway.loop.next_tick()
        if there.gateway.planner.plan is not None:
            return published
    raise AssertionError(there.gateway.planner.error)


def raised(published: Published) -> list[str]:
    return [alarm.id for alarm in published.alarms if alarm.state is not AlarmState.NORMAL]


def status(there: Running, published: Published) -> dict[str, str]:
    """`skerry status` by the first word of each line."""
    said = ("Small", "Europe/Berlin", "root", 1, published.snapshot.utc_s, 1.0, True, 10.0)
    welcome = Welcome(1, *said, site_limits(there.gateway.site))
    return {line.split()[0]: line for line in lines(published, welcome) if line[:1].strip()}


async def test_at_night_a_silent_inverter_is_asleep_after_a_restart_too(place: Path) -> None:
    devices = SunnyDevices(offline={"pv1"})
    async with running(place, place / "s.sock", devices=devices, site=site_at(1.0), plan=PLAN, pv=PV) as there:
        published = await until_planned(there)
        assert published.snapshot.pv[0].asleep
        assert published.snapshot.load_w == LOAD_W
        told = status(there, published)
        assert "asleep" in told["PV"]
        assert told["Asleep"].endswith("pv1: no sun, taken as 0 W")
        assert "Lost" not in told
        for _ in range(60):  # longer than the alarm's delay
            published = await there.gateway.loop.next_tick()
        assert not any("pv1" in id for id in raised(published))
        devices.pv_w = 40.0
        devices.offline.clear()
        while (published := await there.gateway.loop.next_tick()).snapshot.pv[0].asleep:
            pass
        assert published.snapshot.pv_w == 40.0


def lost(there: Running) -> list[str]:
    return [e.text for e in there.events if e.subject == "pv1" and e.text.startswith("lost")]


async def test_an_inverter_that_falls_asleep_is_not_logged_as_lost_and_one_that_is_lost_by_day_is(place: Path) -> None:
    for hour, told in ((1.0, 0), (12.0, 1)):
        devices = SunnyDevices()
        at = place / str(hour)
        at.mkdir()
        async with running(at, at / "s.sock", devices=devices, site=site_at(hour), plan=PLAN, pv=PV) as there:
            while (published := await there.gateway.loop.next_tick()).snapshot.pv_w is None:
                pass
            devices.offline.add("pv1")
            while published.snapshot.pv_w is not None and not published.snapshot.pv[0].asleep:
                published = await there.gateway.loop.next_tick()
            for _ in range(10):
                await there.gateway.loop.next_tick()
            assert len(lost(there)) == told
            devices.offline.clear()
            while (published := await there.gateway.loop.next_tick()).snapshot.pv[0].asleep:
                pass


async def test_by_day_plan_and_load_go_on_with_the_net_load_and_the_alarm_names_the_inverter(place: Path) -> None:
    devices = SunnyDevices(offline={"pv1"})
    async with running(place, place / "s.sock", devices=devices, site=site_at(12.0), plan=PLAN, pv=PV) as there:
        published = await until_planned(there)
        assert published.snapshot.pv_w is None
        assert published.snapshot.load_w is None
        plan = there.gateway.planner.plan
        assert plan is not None
        assert plan.steps[0].load_w == LOAD_W
        assert "PV is not known" in words(plan.note)
        assert "net load" in status(there, published)["Load"]
        while "device-lost:pv1" not in raised(published):
            published = await there.gateway.loop.next_tick()
        assert not {"no-plan", "plan-late"} & set(raised(published))


async def test_without_a_plan_the_alarm_says_which_reading_is_not_known(place: Path) -> None:
    devices = SunnyDevices(offline={"pv1"})
    async with running(place, place / "s.sock", devices=devices, site=site_at(12.0), plan=PLAN, pv=PV) as there:
        await until_planned(there)
        devices.offline.add("grid")
        while there.gateway.planner._last is None or there.gateway.planner._last.snapshot.grid.w.good is not None:
            await there.gateway.loop.next_tick()
        assert there.gateway.planner.inputs() is None
        error = there.gateway.planner.error
        assert error is not None
        assert words(error) == "import not known"
