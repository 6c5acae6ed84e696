"""What the bill adds to the market price: fees, tax, VAT, export margin, demand charge."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dispatch.config.demand_terms import DemandTerms


class TariffTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What is added to the market price to make a bill: fees, tax, VAT, export margin, demand charge."""

    fee_eur_per_kwh: Annotated[float, Meta(description="Fees per imported kWh.")] = 0.0
    tax_eur_per_kwh: Annotated[float, Meta(description="Tax per imported kWh.")] = 0.0
    vat_pct: Annotated[float, Meta(ge=0, le=100, description="VAT on price, fees and tax of imported energy.")] = 0.0
    export_margin_eur_per_kwh: Annotated[
        float, Meta(description="What the buyer of exported energy keeps of the market price.")
    ] = 0.0
    demand_eur_per_kw_month: Annotated[
        float, Meta(ge=0, description="Demand charge on the month's highest metering interval.")
    ] = 0.0
    demand: DemandTerms | None = None
    eur_per: Annotated[
        dict[str, Annotated[float, Meta(gt=0)]],
        Meta(description="Rates of other currencies, EUR for one unit: `{ SEK = 0.0875 }`."),
    ] = {}
    co2_g_per_kwh: (
        Annotated[
            float,
            Meta(ge=0, le=5000, description="CO2 of an imported kWh, for the account of jobs. Not given: not told."),
        ]
        | None
    ) = None

    @property
    def demand_terms(self) -> DemandTerms:
        """The demand charge, however it is written."""
        return self.demand or DemandTerms(eur_per_kw=self.demand_eur_per_kw_month)

    def import_eur_per_kwh(self, market_eur_per_mwh: float) -> float:
        """What an imported kWh costs, fees, tax and VAT included."""
        return (market_eur_per_mwh / 1000 + self.fee_eur_per_kwh + self.tax_eur_per_kwh) * (1 + self.vat_pct / 100)

    def export_eur_per_kwh(self, market_eur_per_mwh: float) -> float:
        """What an exported kWh earns."""
        return market_eur_per_mwh / 1000 - self.export_margin_eur_per_kwh
