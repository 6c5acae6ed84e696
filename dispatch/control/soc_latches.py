"""Remembers whether the battery is recharging to its reserve, or to its rest SoC: both with hysteresis."""

from __future__ import annotations

from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.schema import DispatchConfig
from dispatch.model.orders import Order

SOC_HYSTERESIS_PCT = 1.0  # reserve and rest begin charging this far below and end at (rest) or above (reserve) the mark


class SocLatches:
    """Both latches; unchanged while the SoC is not known."""

    def __init__(self, config: DispatchConfig) -> None:
        self._config = config
        self.recharging = self.topping = False

    def update(self, soc_pct: float | None, available_pct: float | None, order: Order | None) -> None:
        """Take in the SoC, and that of it in service. `order`: a person's reserve, %."""
        if soc_pct is None or available_pct is None:
            return
        reserve_pct, rest_pct = reserve_soc_pct(self._config), self._config.rules.rest_soc_pct
        if order is not None:
            reserve_pct = order.value
        if self._config.reserve_kwh <= 0 and order is None:
            self.recharging = False
        else:
            if available_pct < reserve_pct - SOC_HYSTERESIS_PCT / 2:
                self.recharging = True
            elif available_pct >= reserve_pct + SOC_HYSTERESIS_PCT:
                self.recharging = False
        if soc_pct < rest_pct - SOC_HYSTERESIS_PCT:
            self.topping = True
        elif soc_pct >= rest_pct:
            self.topping = False
