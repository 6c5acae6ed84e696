"""How long the bill of a year takes from a record of minutes: reading, energy by interval, prices, invoice.

    python -m benchmarks.year_bill

The record has the power at the PCC by the minute and the paid and market price by the quarter hour, made up of sines.
The tariff is the market's price with fees, a demand charge and a price by windows. Times are CPU time.
"""

from __future__ import annotations

import math
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import click
import msgspec

from console.cli.bill import PATIENCE_S
from console.cli.bill_inputs import PRICE, priced, read_inputs
from dispatch.config.charges import Charge, TariffWindow
from dispatch.config.tariff_terms import TariffTerms
from dispatch.model.equipment import Meter
from dispatch.model.readings import reading
from dispatch.model.snapshot import Snapshot
from gateway.site.loader import load
from storage.config import StorageConfig
from storage.reader import Archive
from storage.recorder import Recorder
from storage.schema import FILE
from storage.signals import MARKET_PRICE, definition

SITE = Path(__file__).resolve().parent.parent / "sites" / "demo.toml"
BEGIN, DAYS = 1_735_686_000, 365  # 2025 in Berlin
MINUTE_S, QUARTER_S = 60, 900
TARIFF = TariffTerms(
    fee_eur_per_kwh=0.08,
    vat_pct=19,
    window=(TariffWindow(id="day", times=("06:00-22:00",)),),
    charge=(
        Charge(id="day", kind="energy", price=0.02, windows=("day",)),
        Charge(id="demand", kind="max", price=6.0),
    ),
)


def record(directory: Path) -> None:
    """A year in the tables of roll-ups."""
    recorder = Recorder(directory, StorageConfig(), "boot")
    grid = Meter("grid", w=reading(1000.0))
    recorder.put(Snapshot(seq=0, utc_s=float(BEGIN), mono_s=0.0, grid=grid), None, {PRICE: 0.2, MARKET_PRICE: 80.0})
    if not recorder.close():
        raise click.ClickException(recorder.error)
    with closing(sqlite3.connect(directory / FILE)) as con, con:
        sids = dict(con.execute("SELECT name, id FROM signal"))
        minutes = (
            (BEGIN + MINUTE_S * n, sids["grid.w"], *[round(20_000 + 9_000 * math.sin(n / 200))] * 4, 60)
            for n in range(DAYS * 1440)
        )
        con.executemany("INSERT OR REPLACE INTO r1m VALUES (?, ?, ?, ?, ?, ?, ?)", minutes)
        for name, middle in ((PRICE, 0.2), (MARKET_PRICE, 80.0)):
            scale = definition(name).scale
            quarters = (
                (BEGIN + QUARTER_S * n, sids[name], *[round(middle * (1 + math.sin(n / 15) / 2) / scale)] * 4, 15)
                for n in range(DAYS * 96)
            )
            con.executemany("INSERT OR REPLACE INTO r15 VALUES (?, ?, ?, ?, ?, ?, ?)", quarters)


@click.command(help=__doc__)
def main() -> None:
    """Make the record and price it."""
    config = msgspec.structs.replace(load(SITE).dispatch, tariff=TARIFF)
    with TemporaryDirectory() as directory:
        record(Path(directory))
        with closing(Archive(Path(directory), PATIENCE_S)) as archive:
            began = time.process_time()
            inputs = read_inputs(archive, config, BEGIN, BEGIN + DAYS * 86_400, None, ZoneInfo(config.timezone))
            read = time.process_time()
            found = priced(config, inputs, inputs.measured.import_kwh)
            ended = time.process_time()
    click.echo(f"read {read - began:.2f} s, priced {ended - read:.2f} s of CPU; {found.total.gross} {found.currency}")


if __name__ == "__main__":
    main()
