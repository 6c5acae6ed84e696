"""One, two and three batteries on a gateway that ticks: everybody who asks for the site's SoC gets the same figure."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_gateway import LOAD_W, Devices, Result, Running, SmallDevice, as_words, running

from console.cli.status_text import lines
from console.display.viewmodel import Model, received, soc_gap, soc_reading
from dispatch.model.equipment import Battery, Meter, Pcs
from dispatch.model.orders import OrderKind, Wanted
from dispatch.model.readings import reading, status
from dispatch.model.reasons import RuleId
from dispatch.orders.validation import preview
from dispatch.planning.inputs import PlanInputs
from dispatch.wording.catalogue import words
from gateway.api import reservation_commands
from gateway.api.client import GatewayClient
from gateway.api.protocol import Published
from gateway.errors import RequestFailed

JOB = {"power_w": 1_000.0, "for_s": 600.0}


@dataclass(frozen=True)
class Pack:
    """A battery with its PCS: rated energy by the site file and by its BMS, SoC, state of the PCS."""

    kwh: float
    bms_kwh: float | None
    soc_pct: float | None
    pcs: str = "running"


class Packs(Devices):
    """The devices of the small site, with these batteries in place of its own."""

    def __init__(self, packs: tuple[Pack, ...]) -> None:
        super().__init__()
        self.packs = packs
        self.powers = {f"pcs{n}": 0.0 for n in range(1, len(packs) + 1)}

    def drivers(self) -> list[Any]:
        others = [driver for driver in super().drivers() if driver.kind not in ("meter", "pcs")]
        meter = SmallDevice("grid", "meter", self, self._grid)
        return [meter, *(PackPcs(n, pack, self) for n, pack in enumerate(self.packs, 1)), *others]

    def _grid(self) -> Meter:
        return Meter("grid", w=reading(LOAD_W - sum(self.powers.values())))


class PackPcs(SmallDevice):
    """The driver of one PCS and its battery."""

    def __init__(self, n: int, pack: Pack, site: Packs) -> None:
        super().__init__(f"pcs{n}", "pcs", site, self._read)
        self._pack, self._packs, self._battery_id = pack, site, f"bat{n}"

    def _read(self) -> tuple[Pcs, Battery]:
        pack, words = self._pack, {"connection": "connected", "mode": "grid_following", "control": "remote"}
        states = {name: status(word) for name, word in (words | {"state": pack.pcs}).items()}
        battery = Battery(
            self._battery_id,
            soc_pct=reading(pack.soc_pct),
            energy_wh=reading(None if pack.bms_kwh is None else 1000 * pack.bms_kwh),
            charge_limit_w=reading(50_000.0),
            discharge_limit_w=reading(50_000.0),
            temp_c=reading(20.0),
        )
        return Pcs(self.id, w=reading(self._packs.powers[self.id]), **states), battery

    async def command(self, w: float | None, now_s: float) -> Result:
        self.check()
        if w is None or w == self._packs.powers[self.id]:
            return Result(False, w)
        self._packs.powers[self.id] = w
        return Result(True, w, "changed")

    async def start(self) -> None:
        """Nothing stands still here."""


ONE = (Pack(100, None, 60.0),)
TWO_EQUAL = (Pack(100, 100, 80.0), Pack(100, None, 20.0))
TWO = (Pack(150, 150, 80.0), Pack(50, 50, 20.0))
THREE = (Pack(150, 150, 80.0), Pack(50, None, 20.0), Pack(200, 180, 50.0))
ONE_MISSING = (Pack(100, None, None),)
TWO_MISSING = (Pack(150, 150, 80.0), Pack(50, 50, None))
THREE_MISSING = (Pack(150, 150, 80.0), Pack(50, None, None), Pack(200, 200, 50.0))


def serving(place: Path, packs: tuple[Pack, ...]) -> Any:
    """A gateway of a site with these batteries."""
    numbered = list(enumerate(packs, 1))
    return running(
        place,
        place / "s.sock",
        devices=Packs(packs),
        battery=[{"id": f"bat{n}", "energy_kwh": pack.kwh} for n, pack in numbered],
        pcs=[
            {"id": f"pcs{n}", "battery": f"bat{n}", "charge_w": 60_000, "discharge_w": 60_000}
            | {"url": "tcp://127.0.0.1:1", "unit": 10 + n}
            for n, _ in numbered
        ],
        storage={"hot_period_s": 0.1},
    )


async def recorded(there: Running, client: GatewayClient) -> float | None:
    """The site's SoC on record, at its last tick."""
    await there.gateway.loop.next_tick()
    await asyncio.wrap_future(there.gateway.recorder.flush())
    now_s = there.clock.utc_s()
    found = await client.request("history", signals=["soc_pct"], start_utc_s=now_s - 60, end_utc_s=now_s, step_s=60.0)
    values: list[float | None] = found["signals"]["soc_pct"]
    return next((value for value in reversed(values) if value is not None), None)


def shown(there: Running, client: GatewayClient, published: Published) -> Model:
    """The console's model of it."""
    return received(Model(welcome=client.welcome), published)


async def energy_check(client: GatewayClient) -> str:
    """What a drill's pre-check says of the energy."""
    checks = (await client.request("drill.check", minutes=5, reason="monthly test"))["checks"]
    (figure,) = [check["figure"] for check in checks if as_words(check["name"]).startswith("energy")]
    return as_words(figure)


def reserve_rule(published: Published) -> str:
    """What rule 4 says."""
    return words(next(trace.reason for trace in published.decision.chain if trace.rule is RuleId.RESERVE))


@pytest.mark.parametrize(
    ("packs", "soc_pct"), [(ONE, 60.0), (TWO_EQUAL, 50.0), (TWO, 65.0), (THREE, 57.5)], ids=["1", "2 equal", "2", "3"]
)
async def test_one_figure_everywhere(
    place: Path, packs: tuple[Pack, ...], soc_pct: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control, plan, record, console, drill, orders, reservation, ride-through, the run's summary."""
    admitted: list[PlanInputs] = []
    grant = reservation_commands.grant

    def watched(asked: Any, inputs: PlanInputs, *more: Any) -> Any:
        admitted.append(inputs)
        return grant(asked, inputs, *more)

    monkeypatch.setattr(reservation_commands, "grant", watched)
    async with serving(place, packs) as there:
        client = await GatewayClient.connect(there.socket, 0)
        gateway, text = there.gateway, f"SoC {soc_pct:.1f} %"
        published = await gateway.loop.next_tick()
        assert reserve_rule(published).startswith(f"{text}, reserve ")
        assert gateway.controller.ride.energy.soc_pct == soc_pct
        inputs = gateway.planner.inputs()
        assert inputs is not None
        assert inputs.soc_pct == soc_pct
        assert await recorded(there, client) == pytest.approx(soc_pct, abs=0.005)
        assert gateway.loop.balance.soc_end_pct == soc_pct
        model = shown(there, client, published)
        assert (soc_reading(model).good, model.trend[-1].soc_pct, soc_gap(model)) == (soc_pct, soc_pct, "")
        told = next(line for line in lines(published, client.welcome) if line.startswith("Battery"))
        assert (f"site {text}" in told) is (len(packs) > 1), told
        assert (await energy_check(client)).startswith(f"{text}, ")
        assert (await client.request("drill.status"))["soc_pct"] == soc_pct
        wanted = Wanted(OrderKind.SOC_TARGET, 70.0, reason="test", by_utc_s=published.snapshot.utc_s + 3600)
        config = gateway.site.dispatch
        found = preview(wanted, config, published.snapshot, published.decision, (), frozenset())
        assert words(found.old) == text
        await client.request("reservation.ask", seen_utc_s=there.clock.utc_s(), **JOB)
        assert [one.soc_pct for one in admitted] == [soc_pct]
        await client.close()


@pytest.mark.parametrize(
    ("packs", "known"), [(ONE_MISSING, ""), (TWO_MISSING, "1 of 2 known"), (THREE_MISSING, "2 of 3 known")]
)
async def test_one_that_is_missing_is_missing_everywhere(place: Path, packs: tuple[Pack, ...], known: str) -> None:
    async with serving(place, packs) as there:
        client = await GatewayClient.connect(there.socket, 0)
        gateway = there.gateway
        published = await gateway.loop.next_tick()
        assert reserve_rule(published).startswith("SoC is not known, reserve ")
        assert gateway.controller.ride.energy.soc_pct is None
        assert gateway.planner.inputs() is None
        assert await recorded(there, client) is None
        assert gateway.loop.balance.soc_end_pct is None
        model = shown(there, client, published)
        assert (soc_reading(model).value, model.trend[-1].soc_pct, soc_gap(model)) == (None, None, known)
        told = next(line for line in lines(published, client.welcome) if line.startswith("Battery"))
        assert (f"site SoC — % ({known})" in told) is (len(packs) > 1), told
        assert await energy_check(client) == "SoC not known"
        assert (await client.request("drill.status"))["soc_pct"] is None
        with pytest.raises(RequestFailed, match="SoC, load or PV is not known now"):
            await client.request("reservation.ask", seen_utc_s=there.clock.utc_s(), **JOB)
        await client.close()


async def test_energy_behind_a_pcs_in_fault_is_shown_but_not_relied_on(place: Path) -> None:
    """200 kWh at 60 % and 50 kWh at 20 %: 52 %. With the large one's PCS in fault 10 kWh are left, 4 points of the
    site's SoC; the reserve of 10 kWh needs 9.3, so that the other battery is not discharged on the strength of it.
    """
    packs = (Pack(200, 200, 60.0, pcs="fault"), Pack(50, 50, 20.0))
    async with serving(place, packs) as there:
        client = await GatewayClient.connect(there.socket, 0)
        published = await there.gateway.loop.next_tick()
        assert soc_reading(shown(there, client, published)).good == 52
        assert await recorded(there, client) == pytest.approx(52, abs=0.005)
        assert reserve_rule(published).startswith("SoC 52.0 %, 4.0 % in service, reserve 9.3 % ")
        trace = next(trace for trace in published.decision.chain if trace.rule is RuleId.RESERVE)
        assert trace.high_w == 0
        whole = there.gateway.controller.ride.energy.wh_per_pct * (52 - 2)  # down to the cut-off of 2 %
        assert there.gateway.controller.ride.energy.usable_wh() == pytest.approx(whole * 10 / 130)
        await client.close()
