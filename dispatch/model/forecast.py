"""Defines a load forecast with its 90 % band, in quarter hours."""

from __future__ import annotations

import msgspec

from dispatch.model.reasons import Reason

QUARTER_S = 900  # a step of forecast and plan, s; market prices and the record of Energy IQ have it, too


class Forecast(msgspec.Struct, frozen=True):
    """Mean load of each quarter hour from `start_utc_s` on, with its 90 % band. Watts at the AC terminals, >= 0."""

    start_utc_s: int
    load_w: tuple[float, ...]
    low_w: tuple[float, ...]
    high_w: tuple[float, ...]
    step_s: int = QUARTER_S
    notes: tuple[Reason, ...] = ()  # what must be said of it
