"""`skerry plan`: hours, steps, JSON, and what is said when there is none."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from console.cli.plan import lines, rows
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import words
from gateway import exit_codes
from gateway.api.server import LinkServer

if TYPE_CHECKING:
    from tests.console.cli.conftest import Machine


async def test_an_hour_is_a_row_with_the_reason_of_its_busiest_step(machine: Machine, gateway: LinkServer) -> None:
    ran = await machine.skerry("plan")
    assert (ran.code, ran.err) == (exit_codes.OK, "")
    head, sums, note, _, names, noon, one = ran.out.splitlines()
    assert head.startswith("Plan of 12:10 CEST: import to be kept below 26.0 kW, cost 4.20 EUR")
    assert sums.startswith("Sums      import ")
    assert note == "Note      load band: from the load's range"
    # made at 12:10, the first quarter counts for 5 min
    battery_kw = (-4 * 15 + 12 * 15) / (5 + 3 * 15)
    means = f"8.0 {battery_kw:.1f} {22 - battery_kw:.1f}"
    assert " ".join(noon.split()) == f"Tue 12:00 20.0 30.0 20.0 – 41.0 {means} 57.0 12:45 12.0 kW: dear"
    assert " ".join(one.split()) == "Tue 13:00 20.0 30.0 20.0 – 41.0 8.0 2.0 20.0 56.0 dear still"
    for name in ("ct/kWh", "load kW", "PV kW", "battery kW", "grid kW", "SoC %"):
        end = names.index(name) + len(name)
        assert noon[end - 1].isdigit(), name
        assert noon[end] == " "


async def test_every_step_is_a_row_if_wanted(machine: Machine, gateway: LinkServer) -> None:
    ran = await machine.skerry("plan", "--by", "quarter")
    table = ran.out.splitlines()[5:]
    assert [line[4:9] for line in table] == ["12:00", "12:15", "12:30", "12:45", "13:00"]
    assert " -4.0 " in table[1]
    assert table[1].endswith("cheap")


async def test_json_holds_every_step_as_planned(machine: Machine, gateway: LinkServer) -> None:
    document = json.loads((await machine.skerry("plan", "--json")).out)
    assert [step["battery_w"] for step in document["steps"]] == [0.0, -4000.0, 0.0, 12000.0, 2000.0]
    assert document["peak_target_w"] == 26000.0


async def test_without_a_plan_the_gateways_line_is_shown(machine: Machine, gateway: LinkServer) -> None:
    machine.planned = False
    ran = await machine.skerry("plan")
    assert (ran.code, ran.out) == (exit_codes.REFUSED, "")
    assert "no plan is in force, the rules steer alone: SoC unknown" in ran.err


async def test_without_a_gateway_there_is_no_plan(machine: Machine) -> None:
    ran = await machine.skerry("plan", "--site", str(machine.site()))
    assert ran.code == exit_codes.NO_GATEWAY
    assert "skerry serve" in ran.err


async def test_it_is_in_the_help_and_loads_nothing_heavy(machine: Machine, gateway: LinkServer) -> None:
    assert "\n  plan " in (await machine.skerry("--help")).out
    assert "skerry plan" in (await machine.skerry("plan", "--help")).out
    code = (
        "import sys; from console.cli.main import run; code = run(['plan']); "
        "print(code, {'numpy', 'highspy', 'textual', 'asyncio', 'sqlite3'} & set(sys.modules), file=sys.stderr)"
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", code, stdout=pipe, stderr=pipe, env=machine.environment
    )
    _, err = await process.communicate()
    assert err.decode().strip() == "0 set()"


def test_the_hour_that_a_change_of_clocks_repeats_is_two_rows() -> None:
    start = 1_761_436_800  # 2025-10-26T00:00:00Z, 02:00 CEST in Oslo; at 01:00Z it is 02:00 again
    steps = tuple(PlanStep(start + 900 * n, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 50.0) for n in range(12))
    plan = Plan(float(start), 900, steps, 0.0, 0.0, 0.0)
    assert [len(row) for row in rows(plan, ZoneInfo("Europe/Oslo"), "hour")] == [4, 4, 4]


def test_a_price_of_co2_has_its_line() -> None:
    steps = (PlanStep(1_758_024_000, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 50.0),)
    priced = Plan(1_758_024_000.0, 900, steps, 0.0, 0.0, 0.0, co2_eur_per_tonne=80.0, co2_eur=12.4)
    found = [list(lines(plan, ZoneInfo("Europe/Oslo"), "hour")) for plan in (priced, Plan(0.0, 900, steps, 0, 0, 0))]
    assert found[0][2] == "CO2 at 80 EUR/t: 12.40 EUR, not billed"
    assert len(found[1]) == len(found[0]) - 1


def test_a_price_that_is_assumed_is_marked() -> None:
    steps = tuple(
        PlanStep(1_758_024_000 + 900 * n, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 50.0, assumed=n >= 4) for n in range(8)
    )
    plan = Plan(float(steps[0].start_utc_s), 900, steps, 0.0, 0.0, 0.0)
    shown = list(lines(plan, ZoneInfo("Europe/Berlin"), "hour"))
    assert [line.split()[2] for line in shown[-2:]] == ["10.0", "~10.0"]
    assert "~         price not published: assumed" in shown
    sure = msgspec.structs.replace(plan, steps=steps[:4])
    assert not [line for line in lines(sure, ZoneInfo("Europe/Berlin"), "hour") if "~" in line]


async def test_where_the_month_ends_is_said_with_the_plan_and_with_a_decision(
    machine: Machine, gateway: LinkServer
) -> None:
    expected = Reason("month_end.at", {"period": Reason("month_end.month"), "of": None, "high_w": 52e3, "evidence": []})
    machine.month_end = expected
    for command in (["plan"], ["why"]):
        assert f"Peak      {words(expected)}" in (await machine.skerry(*command)).out.splitlines()
    machine.planned = False
    assert "Peak " not in (await machine.skerry("why")).out
