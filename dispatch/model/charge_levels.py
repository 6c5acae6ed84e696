"""Defines what each charge on peaks leaves free at the moment, and which limits import now."""

from __future__ import annotations

import msgspec


class ChargeLevel(msgspec.Struct, frozen=True):
    """One charge on peaks, as it stands. W, means of a metering interval."""

    charge: str  # its id in the site file; "" is the demand charge of [tariff]
    counts: bool  # the running interval counts towards it
    free_w: float  # what such an interval may reach at no cost
    later_w: float  # the same for a later peak of the running period, where that is another, such as a day's
    billed_w: float  # what the running period is billed so far: at least; of what adds up, see `quantity_w`
    added: float = 0.0  # what its intervals have had above a contract, where that adds up: W, W^2 or h


class ChargesNow(msgspec.Struct, frozen=True):
    """The charges on peaks that a site file lists, as they stand."""

    charge: str  # id of the one that leaves least free now; "": none counts now
    free_w: float  # the mean of an interval that costs nothing now
    until_utc_s: float | None  # until then the same charges count; None: for a day at least
    eur: float  # what they bill so far for their running periods: at least
    count: int  # of how many that is
