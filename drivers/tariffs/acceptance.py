"""Decides whether prices may be used while nobody looks: not where their unit is doubtful, or a day of 0.00 is."""

from __future__ import annotations

import msgspec

from dispatch.billing.market_prices import NO_PRICES, PriceSeries
from drivers.tariffs.csv_file import PriceFile, TariffFileError
from drivers.tariffs.questions import factor_beside

# Published prices do not change. Two sources of them differ by less; units differ by 10 or more, and by less with fees.
SAME_UNIT = (0.5, 2.0)


def accepted(found: PriceFile, as_declared: bool, in_force: PriceSeries = NO_PRICES) -> PriceFile:
    """The same prices, for use by a gateway; raises TariffFileError with a question that nobody has answered.

    as_declared: a person says that the prices are as declared (`prices_as_declared` of [tariff]); questions are remarks
    then. in_force: prices that are in use. Where both series tell a price, they settle whether the unit is the same.
    """
    if as_declared:
        return msgspec.structs.replace(found, remarks=(*found.remarks, *found.questions))
    factor = factor_beside(found.prices, in_force)
    questions = [found.day] if found.day else []
    if factor is None:
        questions = list(found.questions)
    elif not SAME_UNIT[0] <= factor <= SAME_UNIT[1]:
        questions = [found.unit or _another_unit(factor)]
    if questions:
        raise TariffFileError("\n".join(f"{found.name}: {question}" for question in questions))
    return found


def _another_unit(factor: float) -> str:
    return (
        f"the prices are {factor:.3g} times those in force for the same hours: is the unit another? Name the column "
        "price_eur_per_mwh, price_eur_per_kwh or price_ct_per_kwh, whichever it is; if those in force are wrong, "
        "restart the gateway"
    )
