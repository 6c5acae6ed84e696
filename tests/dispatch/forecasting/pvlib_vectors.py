"""Writes `pvlib_vectors.json`, by which `test_clear_sky.py` judges sun, clear sky and planes.

    pip install pvlib==0.16.1 && python tests/dispatch/forecasting/pvlib_vectors.py

Sun: pvlib's NREL SPA, without refraction. Clear sky: `clearsky.ineichen` with turbidity 3 at sea level, at that sun.
Planes: `irradiance.get_total_irradiance`, Hay and Davies. `vectors()` is also what the test compares where pvlib is
installed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("pvlib_vectors.json")
PLACES = {"Lyngby": (55.79, 12.52), "Seville": (37.39, -5.98), "Cape Town": (-33.92, 18.42), "Kampala": (0.35, 32.58)}
DAYS = ("2024-02-29", "2026-01-03", "2026-03-21", "2026-06-21", "2026-08-15", "2026-10-31", "2026-12-21")
PLANES = ((0.0, 180.0), (30.0, 180.0), (15.0, 90.0), (60.0, 300.0), (90.0, 0.0))  # tilt, azimuth


def vectors() -> dict[str, Any]:
    """The version of pvlib, and per place and three hours of each day what it says. Degrees, W/m2."""
    import pandas as pd
    import pvlib

    rows = []
    for name, (latitude_deg, longitude_deg) in PLACES.items():
        for day in DAYS:
            times = pd.date_range(f"{day} 01:00", periods=8, freq="3h", tz="UTC")
            sun = pvlib.solarposition.get_solarposition(times, latitude_deg, longitude_deg)
            outside = pvlib.irradiance.get_extra_radiation(times)
            mass = pvlib.atmosphere.get_relative_airmass(sun.zenith)
            sky = pvlib.clearsky.ineichen(sun.zenith, mass, 3.0, 0.0, outside).fillna(0.0)
            onto = [
                pvlib.irradiance.get_total_irradiance(
                    tilt_deg,
                    azimuth_deg,
                    sun.zenith,
                    sun.azimuth,
                    sky.dni,
                    sky.ghi,
                    sky.dhi,
                    dni_extra=outside,
                    model="haydavies",
                    albedo=0.2,
                ).poa_global.fillna(0.0)
                for tilt_deg, azimuth_deg in PLANES
            ]
            for k, moment in enumerate(times):
                if sun.zenith.iloc[k] < 88:
                    row = [name, moment.isoformat(), sun.zenith.iloc[k], outside.iloc[k]]
                    row += [sky.ghi.iloc[k], sky.dni.iloc[k], sky.dhi.iloc[k], *(each.iloc[k] for each in onto)]
                    rows.append([v if isinstance(v, str) else round(float(v), 3) for v in row])
    return {"pvlib": pvlib.__version__, "rows": rows}


if __name__ == "__main__":
    found = vectors()
    rows = ",\n".join(f"  {json.dumps(row)}" for row in found["rows"])
    FILE.write_text(f'{{"pvlib": "{found["pvlib"]}", "rows": [\n{rows}\n]}}\n', encoding="utf-8")
