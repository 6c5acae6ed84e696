"""What the bill adds to the market price: fees, tax, VAT, export margin, and charges of any form.

The plain keys are a short way of writing charges: `TariffTerms.charges` has all charges, however they are written.
Everything that bills or plans reads that list.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated

import msgspec
from msgspec import Meta

from dispatch.config.charges import Charge, TariffWindow
from dispatch.config.demand_terms import DemandTerms

# What the charges are called that stand for plain keys; a charge of the site file cannot have these names.
MARKET, TAX, EXPORT, DEMAND = "energy", "tax", "export", "demand"


class TariffTerms(msgspec.Struct, frozen=True, kw_only=True, dict=True):  # dict: for the cached lists of charges
    """What is added to the market price to make a bill: fees, tax, VAT, export margin, charges."""

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
    window: tuple[TariffWindow, ...] = ()
    charge: tuple[Charge, ...] = ()
    holidays: Annotated[
        str,
        Meta(
            pattern=r"^([A-Z]{2}(-[A-Z0-9]{1,3})?)?$",
            description='Whose public holidays the windows know: country and subdivision by ISO 3166, "DE-BE" or "NL". '
            "Empty: none.",
        ),
    ] = ""
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$", description="Currency of charges and of the bill's total.")] = (
        "EUR"
    )
    eur_per: Annotated[
        dict[str, Annotated[float, Meta(gt=0)]],
        Meta(description="Rates of other currencies, EUR for one unit: `{ SEK = 0.0875 }`."),
    ] = {}
    full_load_h: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=8784,
                description="Full-load hours expected of a year (kWh / highest kW): which of two prices by full-load "
                "hours is planned with. Not given: that of many.",
            ),
        ]
        | None
    ) = None
    power_factor: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1,
                description="Stated power factor of the import, for charges per kVA or kvarh where no reactive energy "
                "is measured.",
            ),
        ]
        | None
    ) = None
    co2_g_per_kwh: (
        Annotated[
            float,
            Meta(ge=0, le=5000, description="CO2 of an imported kWh, for plan, jobs and report. Not given: not told."),
        ]
        | None
    ) = None
    co2_eur_per_tonne: Annotated[
        float,
        Meta(
            ge=0,
            le=10_000,
            description="Price of the CO2 of imported energy, at `co2_g_per_kwh`: plan, perfect foresight and Energy "
            "IQ add it to the import price. It is in no bill.",
        ),
    ] = 0.0

    @property
    def co2_eur_per_kwh(self) -> float:
        """What the CO2 of an imported kWh counts with beside its price, EUR; it is not billed."""
        return self.co2_eur_per_tonne * (self.co2_g_per_kwh or 0.0) / 1e6

    @property
    def demand_terms(self) -> DemandTerms:
        """The demand charge of the plain keys."""
        return self.demand or DemandTerms(eur_per_kw=self.demand_eur_per_kw_month)

    @cached_property
    def charges(self) -> tuple[Charge, ...]:
        """Every charge of the tariff: those that the plain keys stand for, then `charge`.

        The market price is billed by the plain keys only where no charge prices imported energy; fees, tax and demand
        stand beside the charges.
        """
        return (*self._energy(), *self._demand(), *self.charge)

    @cached_property
    def windows(self) -> tuple[TariffWindow, ...]:
        """The windows that `charges` name."""
        made = () if self.demand is None else tuple(map(_demand_window, self.demand.windows))
        return (*made, *self.window)

    def _energy(self) -> Iterator[Charge]:
        """Import, tax and export as the plain keys have them, EUR."""
        priced = {c.flow for c in self.charge if c.kind == "energy"}
        fee, tax, vat_pct = self.fee_eur_per_kwh, self.tax_eur_per_kwh, self.vat_pct
        factor = 0.0 if "import" in priced else 1.0
        if factor or fee:
            yield Charge(id=MARKET, kind="energy", price=fee, market_factor=factor, vat_pct=vat_pct, currency="EUR")
        if tax:
            yield Charge(id=TAX, kind="energy", price=tax, vat_pct=vat_pct, currency="EUR")
        market = factor or any(c.market_factor for c in self.charge)
        if "export" not in priced and (market or self.export_margin_eur_per_kwh):
            margin = self.export_margin_eur_per_kwh
            yield Charge(id=EXPORT, kind="energy", flow="export", price=-margin, market_factor=1.0, currency="EUR")

    def _demand(self) -> Iterator[Charge]:
        terms = self.demand_terms
        if terms.eur_per_kw <= 0:
            return
        yield Charge(
            id=DEMAND,
            kind="max",
            price=terms.eur_per_kw,
            period=terms.per,
            peaks_of="day" if terms.top_days > 1 else "period",
            top=terms.top_days,
            floor_kw=terms.floor_w / 1000,
            windows=tuple(map(_window_id, terms.windows)),
            currency="EUR",
        )


def _window_id(text: str) -> str:
    return f"{DEMAND} {text}"


def _demand_window(text: str) -> TariffWindow:
    """A window of `[tariff.demand]`, "mon-fri 08:00-20:00"."""
    *days, times = text.split()
    return TariffWindow(id=_window_id(text), days=tuple(day.lower() for day in days), times=(times,))
