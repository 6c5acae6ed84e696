"""`skerry iq`: from a gateway, from the record alone, as text and JSON; and what it says when there is little."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING

import msgspec
import pytest
from iq_days import CONFIG, record

from console.cli.iq import lines
from console.cli.recorded_site import site_prices
from dispatch.evaluation.energy_iq import VERSION, Cost, Iq, Loss
from dispatch.model.reasons import Reason
from gateway import exit_codes
from gateway.energy_iq_history import Report, local_day
from storage.config import DISPATCH

if TYPE_CHECKING:
    from tests.console.cli.conftest import Machine

DAY = date(2025, 9, 16)
BEGIN, END = local_day(DAY, "Europe/Berlin")


async def test_the_record_alone_is_enough(machine: Machine) -> None:
    """The site file is gone, no gateway runs: the record says what site it is of."""
    record(
        machine.state / "skerry" / "site-0",
        BEGIN,
        END,
        missing=range(BEGIN, BEGIN + 3 * 3600, 60),
        states={DISPATCH: msgspec.to_builtins(CONFIG)},
    )
    ran = await machine.skerry("iq", "--day", "2025-09-16")
    assert ran.code == exit_codes.OK, ran.err
    assert "no gateway is running; read from" in ran.err
    head, names, none, own, best, loss, causes, reserve = ran.out.splitlines()[:8]
    assert head.startswith("2025-09-16       Energy IQ ")
    assert head.endswith("; from 21 of 24 h")
    assert names.split() == ["EUR", "total", "energy", "peak", "wear"]
    figures = {row[:20].strip(): [float(x) for x in row[20:].split()] for row in (none, own, best, loss)}
    for total, *parts in figures.values():
        assert abs(total - sum(parts)) < 0.02
    assert abs(figures["as it was"][0] - figures["perfect foresight"][0] - figures["loss"][0]) < 0.02
    assert causes.strip() == f"by cause: forecast {figures['loss'][0]:.2f}, manual orders 0.00, outages 0.00"
    assert reserve.strip() == "keeping the reserve cost 0.00, not counted as loss"
    assert "2025-09 to date" in ran.out

    document = json.loads((await machine.skerry("iq", "--day", "2025-09-16", "--json")).out)
    assert document["iq"]["known_h"] == 21
    assert document["iq"]["of_h"] == 24
    assert abs(sum(document["iq"]["loss_by_part_eur"][k] for k in ("energy", "peak", "wear"))
               - document["iq"]["loss_by_part_eur"]["total"]) < 1e-9  # fmt: skip
    assert document["version"] == VERSION

    empty = await machine.skerry("iq", "--day", "2025-09-12")
    assert empty.code == exit_codes.OK
    assert "no Energy IQ: nothing of it is on record" in empty.out
    ahead = await machine.skerry("iq", "--day", "2030-01-01")
    assert (ahead.code, ahead.out) == (exit_codes.USAGE, "")
    assert "expected a day that has begun" in ahead.err
    odd = await machine.skerry("iq", "--day", "yesterday")
    assert odd.code == exit_codes.USAGE
    assert "'yesterday': expected a day such as 2025-09-16" in odd.err


def test_a_quarter_of_an_hour_has_no_figure_and_no_table() -> None:
    """The demand charge of a whole month stands against minutes: what it "lost" is no loss."""
    bare, own, best = (Cost(1.0, peak_eur, 0.0) for peak_eur in (300.0, 340.0, 150.0))
    loss = Loss(0.0, 0.0, 190.0, 0.0)
    why = Reason("iq.short_record", {"known_h": 0.25, "needed_h": 6.0})
    short = Iq(
        begin_utc_s=BEGIN, end_utc_s=END, known_h=0.25, why=why, none=bare, own=own, best=best, loss=loss
    )  # fmt: skip
    little = msgspec.structs.replace(
        short, known_h=24.0, why=Reason("iq.too_little", {"possible_eur": 0.0, "total_eur": 32.0})
    )
    report = Report(day="2025-09-16", iq=short, month=little, made_utc_s=float(END), inputs="")
    head, blank, month, names, *_ = lines(report)
    assert head == "2025-09-16       no Energy IQ: only 0.25 h of it are on record, 6 h are needed; from 0.25 of 24 h"
    assert blank == ""
    assert month.startswith("2025-09 to date  no Energy IQ: too little was to be had")
    assert names.startswith("EUR"), "of a day on record the bills stand, they show how little"


def test_prices_of_a_doubtful_unit_stand_in_for_no_quarter_hour(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"2025-09-18T{hour:02}:00:00Z,0.0{hour % 9 + 1}\n" for hour in range(24))
    (machine.directory / "prices.csv").write_text(f"start_utc,price_eur_per_mwh\n{rows}")
    site = machine.site(extra='[tariff]\nfile = "prices.csv"\n')
    assert site_prices(str(site)) is None
    assert "prices only as recorded: " in (said := capsys.readouterr().err)
    assert "are they EUR/kWh?" in said
    site.write_text(site.read_text().replace('file = "prices.csv"', 'file = "prices.csv"\nprices_as_declared = true'))
    assert site_prices(str(site)) is not None


async def test_with_nothing_there_it_says_so(machine: Machine) -> None:
    ran = await machine.skerry("iq", "--site", str(machine.site()))
    assert ran.code == exit_codes.NO_GATEWAY
