"""Defines what a site says to a power that somebody would like to use there for a time. It promises nothing."""

from __future__ import annotations

import msgspec

from dispatch.model.reasons import Reason


class JobOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What the site says to a power. `start_utc_s` None: it cannot carry it, and `why` has the rule and the figure."""

    utc_s: float  # of the site's clock
    within_s: float  # for how long a start was looked for: the plan goes no further
    start_utc_s: float | None = None
    level_w: float | None = None  # the import that it takes, as far as the forecast goes
    rise_w: float = 0.0  # of it above what is kept anyway
    rise_eur: float = 0.0  # of that rise, in the charges on peaks
    energy_eur: float | None = None  # None: the plan does not reach its end, or there is none
    assumed: bool = False  # a price of these hours is not published yet
    why: Reason | None = None  # why not at once, or what it costs

    @property
    def cost_eur(self) -> float | None:
        """Energy and rise; None: not known."""
        return None if self.energy_eur is None else self.energy_eur + self.rise_eur
