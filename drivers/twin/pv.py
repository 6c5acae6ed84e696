"""Simulates a PV generator: clear sky by the sun's position, clouds from a seed; marked as synthetic (`SOURCE`).

Sun: `dispatch.forecasting.sun`.
Clear sky: Haurwitz (1945), GHI = 1098 cos(z) exp(-0.059 / cos(z)) W/m2; 15 % of it taken as diffuse.
Plane: 30 degrees to the equator, beam by the angle of incidence, diffuse isotropic; 14 % system loss.
Clouds: alternating gaps and clouds of exponential lengths, each cloud with its own transmittance, edges of 20 s.
"""

from __future__ import annotations

import math
import random

from dispatch.forecasting.sun import sun_angles

SOURCE = "synthetic: Haurwitz clear sky with seeded clouds"

TILT = math.radians(30)
DIFFUSE = 0.15
SYSTEM = 0.86
GAP_S, CLOUD_S = 900.0, 240.0  # mean lengths
EDGE_S = 20.0
LIMIT_DELAY_S = 0.5  # until a changed limit shows in the power


def clear_sky(utc_s: float, latitude_deg: float, longitude_deg: float) -> float:
    """AC output under a clear sky as a fraction of peak power, 0 at night."""
    declination, hour_angle, cos_zenith = sun_angles(utc_s, latitude_deg, longitude_deg)
    if cos_zenith <= 0.01:
        return 0.0
    ghi = 1098 * cos_zenith * math.exp(-0.059 / cos_zenith)
    # A plane tilted to the equator sees the sun as a horizontal one does, nearer to the equator by the tilt.
    latitude = math.radians(latitude_deg)
    flat = latitude - math.copysign(TILT, latitude)
    cos_incidence = max(
        0.0, math.sin(flat) * math.sin(declination) + math.cos(flat) * math.cos(declination) * math.cos(hour_angle)
    )
    beam = (1 - DIFFUSE) * ghi * cos_incidence / max(cos_zenith, 0.1)
    diffuse = DIFFUSE * ghi * (1 + math.cos(TILT)) / 2
    return min(1.0, SYSTEM * (beam + diffuse) / 1000)


class Clouds:
    """Share of the clear-sky irradiance that clouds let through, 0 to 1, over time. Repeatable by seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._cloudy = self._random.random() < 0.3
        self._from = self._to = 1.0
        self._start_s, self._end_s = 0.0, 0.0

    def transmittance(self, t_s: float) -> float:
        """At `t_s` >= 0, which must not go backwards."""
        while t_s >= self._end_s:
            self._next()
        edge = min(1.0, (t_s - self._start_s) / EDGE_S)
        return self._from + (self._to - self._from) * edge

    def _next(self) -> None:
        self._cloudy = not self._cloudy
        self._from, self._start_s = self._to, self._end_s
        self._to = self._random.uniform(0.25, 0.75) if self._cloudy else self._random.uniform(0.95, 1.0)
        self._end_s += EDGE_S + self._random.expovariate(1 / (CLOUD_S if self._cloudy else GAP_S))


class LimitControl:
    """The limit of an inverter, SunSpec 123: in percent of its rated power, with a timer that ends it.

    The timer starts when the limit is written, with the time-out that stands there then. A change shows in the power
    LIMIT_DELAY_S later.
    """

    def __init__(self) -> None:
        self.pct, self.enabled, self.revert_s = 100.0, False, 0.0
        self.reversions = 0
        self._now_s = 0.0
        self._deadline_s: float | None = None
        self._held_pct = 100.0
        self._next: tuple[float, float] | None = None  # when, %

    def set_pct(self, pct: float) -> None:
        """Write WMaxLimPct."""
        self.pct = pct
        self._deadline_s = self._now_s + self.revert_s if self.revert_s > 0 else None

    def enable(self, enabled: bool) -> None:
        """Write WMaxLim_Ena."""
        self.enabled = enabled

    @property
    def remaining_s(self) -> float:
        """What is left of the timer, s; 0 when it does not run."""
        return 0.0 if self._deadline_s is None else max(0.0, self._deadline_s - self._now_s)

    def at(self, t_s: float) -> float:
        """The limit that shows in the power at `t_s`, %."""
        self._now_s = t_s
        if self.enabled and self._deadline_s is not None and t_s >= self._deadline_s:
            self.enabled, self._deadline_s = False, None
            self.reversions += 1
        wanted = self.pct if self.enabled else 100.0
        if self._next is None and wanted != self._held_pct:
            self._next = t_s + LIMIT_DELAY_S, wanted
        if self._next is not None and t_s >= self._next[0]:
            self._held_pct, self._next = self._next[1], None
        return self._held_pct


class TwinPv:
    """One PV inverter. `sun_w` is what the sun gives, `available_w` what a limit leaves of it, `w` what flows."""

    def __init__(self, id: str, peak_w: float, seed: int, start_utc_s: float, place: tuple[float, float]) -> None:
        self.id, self.peak_w = id, peak_w
        self._clouds = Clouds(f"{seed}/{id}")
        self._start_utc_s, self._place = start_utc_s, place  # latitude and longitude, degrees
        self._sky_due_s, self._sky = 0.0, 0.0
        self.limit = LimitControl()
        self.sun_w = self.available_w = self.w = 0.0
        self.energy_wh = 0.0

    def update(self, t_s: float) -> None:
        """Set `sun_w` and `available_w` for `t_s`. The sun is looked at every 10 s, the clouds always."""
        if t_s >= self._sky_due_s:
            self._sky = clear_sky(self._start_utc_s + t_s, *self._place)
            self._sky_due_s = t_s + 10
        self.sun_w = self.peak_w * self._sky * self._clouds.transmittance(t_s)
        self.available_w = min(self.sun_w, self.peak_w * self.limit.at(t_s) / 100)

    def settle(self, w: float, dt_s: float) -> None:
        """`w` <= `available_w` flowed for `dt_s`."""
        self.w = w
        self.energy_wh += w * dt_s / 3600
