"""Finds the time in which PV gives next to nothing although the sun is up: snow, shade or a fault."""

from __future__ import annotations

import msgspec

from dispatch.model.forecast import QUARTER_S

# Of what a clear sky would give. The darkest two hours of a year of measured irradiance gave 3.1 % (DTU Lyngby 2016,
# 15 min, sun high enough for 5 % of peak power): clouds alone do not go so low.
NOTHING = 0.02
LONG_ENOUGH = 8  # quarters
SUN_UP = 0.1  # of peak power: what a clear sky must give for a quarter to count
BACK = 0.05  # of what a clear sky would give: it works again
EXPECTED = 0.1  # of what a weather service expects, where it expects sun: such a quarter counts twice


class NoYield(msgspec.Struct, frozen=True):
    """PV that gives next to nothing, since when (UTC), and which share of what a clear sky would give, 0..1."""

    since_utc_s: int
    share: float


class YieldWatch:
    """Follows the quarter hours of one inverter, or of all, in their order."""

    def __init__(self, peak_w: float) -> None:
        self._sun_up_w = SUN_UP * peak_w
        self.trouble: NoYield | None = None
        self._doubtful: list[tuple[int, float, float]] = []  # quarter, W, W under a clear sky
        self._doubt = 0  # quarters, those with sun by a service twice

    def take(
        self, quarter: int, mean_w: float, clear_w: float, expected_w: float | None = None
    ) -> list[tuple[int, float, float]]:
        """The quarters (number, W, W under a clear sky) that the forecast may now learn from; none of a fault.

        A quarter with next to nothing is held back until the next ones show whether it was a dark cloud. `expected_w`:
        what a weather service expected; None: there is none.
        """
        if clear_w < self._sun_up_w:
            return [(quarter, mean_w, clear_w)]
        sunny = expected_w is not None and expected_w >= self._sun_up_w
        nothing = mean_w < (EXPECTED * expected_w if sunny and expected_w is not None else NOTHING * clear_w)
        if self.trouble is not None:
            if mean_w >= BACK * clear_w and not nothing:
                self.trouble = None
                return [(quarter, mean_w, clear_w)]
            return []
        if not nothing:
            held, self._doubtful, self._doubt = self._doubtful, [], 0
            return [*held, (quarter, mean_w, clear_w)]
        self._doubtful.append((quarter, mean_w, clear_w))
        self._doubt += 2 if sunny else 1
        if self._doubt >= LONG_ENOUGH:
            self._judge()
        return []

    def _judge(self) -> None:
        first = self._doubtful[0][0]
        given_w, clear_w = (sum(each[k] for each in self._doubtful) for k in (1, 2))
        self.trouble = NoYield(first * QUARTER_S, given_w / clear_w)
        self._doubtful, self._doubt = [], 0
