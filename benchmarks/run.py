"""Every benchmark, one after the other, and one table: figure, goal, got. Half an hour; `--quick` for a first look."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks import console, cpu, devices, export, forecast, prove, pv_forecast, records, response, stability, ticks
from benchmarks.figures import Figure, main


def measure(quick: bool = False) -> list[Figure]:
    """All figures; a quick run has too few samples for the tails to mean anything."""
    runs: dict[str, Callable[[], list[Figure]]] = {
        "stability": _stability,
        "forecast": forecast.measure,
        "PV forecast": pv_forecast.measure,
        "response": lambda: response.measure(steps=20 if quick else 120),
        "records": lambda: records.measure(hours=1 if quick else 4, days=3 if quick else 30),
        "export": lambda: export.measure(days=30 if quick else 365, rows=50_000 if quick else 1_000_000),
        "console": lambda: console.measure(seconds=10 if quick else 30),
        "prove": lambda: prove.measure(cases=20 if quick else 200),
        "cpu": lambda: cpu.measure(seconds=15 if quick else 60),
        "devices": lambda: devices.measure(seconds=5 if quick else 30),
        "ticks": lambda: ticks.measure(ticks=300 if quick else 10_000),
    }
    figures: list[Figure] = []
    for name, run in runs.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        figures += run()
    return figures


def _stability() -> list[Figure]:
    """The worst cell of the table that `benchmarks/stability.py` prints."""
    cells = [
        stability.judge(stability.play(delay_s, lag_s)) for delay_s in stability.DELAYS_S for lag_s in stability.LAGS_S
    ]
    what = f"60 kW step, meter delay {stability.DELAYS_S[0]:g}-{stability.DELAYS_S[-1]:g} s x PCS lag "
    what += f"{stability.LAGS_S[0]:g}-{stability.LAGS_S[-1]:g} s, worst"
    return [
        Figure(f"overshoot, {what}", max(cell.overshoot_pct for cell in cells), "%", goal=10),
        Figure("settling, worst", max(cell.settling_s for cell in cells), "s"),
        Figure("ripple of import afterwards, worst", max(cell.ripple_w for cell in cells), "W"),
    ]


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    parser.add_argument("--quick", action="store_true", help="a few minutes, and no figures to quote")


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
