"""How good the PV forecast is: mean absolute error 1 h, 6 h and 24 h ahead, by the sun and by recent days alone.

    python -m benchmarks.pv_forecast                  a year of each trace in $SKERRY_PV_TRACES
    python -m benchmarks.pv_forecast --traces DIR     the traces of DIR: CSV start_utc,w_per_kwp, 15 min
    python -m benchmarks.pv_forecast --days 60        only the first days of each

Causal: each quarter hour is forecast from what ended before it; the first 15 days are only learnt from. The planes of
DTU Lyngby are known (30 degrees, south). Of SimBench's roofs neither place nor planes are; 51.3 N 9.5 E and 30 degrees
south are a guess, so their figures have no goal: where a site file names no planes, recent days are what is used.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Figure, main
from console.replay.traces import Trace, read_trace
from dispatch.forecasting.clear_sky import Plane, PvSite
from dispatch.forecasting.pv import PvForecaster
from dispatch.forecasting.pv_by_sun import SunPvForecaster
from dispatch.forecasting.sun import Place
from dispatch.model.forecast import QUARTER_S

AHEAD = {1: 4, 6: 24, 24: 96}  # hours -> quarters
LEARN_QUARTERS = 15 * 96
SOUTH = (Plane(30, 180, 1000),)
GUESSED = "simbench_de"
ORIGINS = {  # by the beginning of the file's name
    "dtu_lyngby": PvSite(Place(55.79, 12.52), SOUTH),
    GUESSED: PvSite(Place(51.3, 9.5), SOUTH),
}


def errors_w(means_w: Sequence[float], start_s: int, site: PvSite) -> dict[str, dict[int, float]]:
    """Mean absolute error by method and hours ahead, W, of all quarter hours after those learnt from."""
    methods: dict[str, PvForecaster | SunPvForecaster] = {
        "recent days": PvForecaster("UTC"),
        "by the sun": SunPvForecaster(site),
    }
    far = max(AHEAD.values())
    sums = {name: dict.fromkeys(AHEAD, 0.0) for name in methods}
    for k, mean_w in enumerate(means_w[:-far]):
        end_s = start_s + (k + 1) * QUARTER_S
        for name, forecaster in methods.items():
            forecaster.observe(end_s - QUARTER_S, mean_w)
            if k < LEARN_QUARTERS:
                continue
            for hours, ahead in AHEAD.items():
                (expected_w,) = forecaster.predict(end_s + (ahead - 1) * QUARTER_S, 1)
                sums[name][hours] += abs(expected_w - means_w[k + ahead])
    asked = max(1, len(means_w) - far - LEARN_QUARTERS)
    return {name: {hours: total / asked for hours, total in by.items()} for name, by in sums.items()}


def _quarters(trace: Trace) -> tuple[list[float], int]:
    first = -(-trace.start_s // QUARTER_S) * QUARTER_S
    starts = range(first, trace.end_s - QUARTER_S + 1, QUARTER_S)
    return [trace.mean_w(s, s + QUARTER_S) for s in starts], first


def measure(traces: Path | None = None, days: int | None = None) -> list[Figure]:
    """Figures of each trace; none where there are no traces."""
    figures = []
    for path in sorted(traces.glob("*_15min*.csv*")) if traces is not None else ():
        site = next((site for name, site in ORIGINS.items() if path.name.startswith(name)), None)
        if site is None:
            continue
        means_w, start_s = _quarters(read_trace(path, ("w_per_kwp",)))
        found = errors_w(means_w[: days and days * 96], start_s, site)
        for hours in AHEAD:
            usual_w = found["recent days"][hours]
            what = f"{path.name.split('_15min')[0]}: mean absolute error {hours} h ahead, W per kWp"
            figures.append(Figure(f"{what}, recent days", usual_w, "W"))
            guessed = path.name.startswith(GUESSED)
            how, goal = ("by the sun, guessed planes", None) if guessed else ("by the sun", usual_w)
            figures.append(Figure(f"{what}, {how}", found["by the sun"][hours], "W", goal=goal))
    return figures


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of this benchmark."""
    there = os.environ.get("SKERRY_PV_TRACES")
    parser.add_argument("--traces", type=Path, default=Path(there) if there else None, help="directory of traces")
    parser.add_argument("--days", type=int, help="of each trace, from its beginning")


if __name__ == "__main__":
    main(__doc__ or "", options, measure)
