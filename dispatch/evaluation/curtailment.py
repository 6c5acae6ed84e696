"""What PV is limited by beside a battery power that is given: the cheapest way within export limit and prices."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.billing.charges.energy_prices import energy_prices
from dispatch.config.schema import DispatchConfig
from dispatch.planning.lp_model import TIE_EUR_PER_KWH


def curtailed_w(
    config: DispatchConfig,
    starts_utc_s: Sequence[int],
    eur_per_mwh: Sequence[float],
    net_w: Sequence[float],
    battery_w: Sequence[float],
    most_w: Sequence[float],
) -> list[float]:
    """W in each step, at most `most_w`: what is exported at a loss or above the limit; all of it where import pays.

    `net_w` is load less what PV could give; prices are the market's.
    """
    paid, sells = energy_prices(config.tariff, config.timezone, starts_utc_s, eur_per_mwh)
    limit_w = max(config.grid.export_limit_w - config.grid.export_margin_w, 0.0)
    found = []
    for net, battery, most, buy, sell in zip(net_w, battery_w, most_w, paid, sells, strict=True):
        allowed_w = 0.0 if sell < -TIE_EUR_PER_KWH else limit_w
        wanted_w = most if buy + config.tariff.co2_eur_per_kwh < 0 else battery - net - allowed_w
        found.append(min(max(wanted_w, 0.0), most))
    return found


def most_curtailed_w(config: DispatchConfig, load_w: Sequence[float], pv_w: Sequence[float]) -> list[float]:
    """The most that PV may be limited by in each step, W: what those that can be limited give beyond the load."""
    share = config.curtailable_share
    return [min(share * pv, max(0.0, pv - load)) for load, pv in zip(load_w, pv_w, strict=True)]
