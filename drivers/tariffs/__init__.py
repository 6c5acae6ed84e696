"""Market prices from files.

Inputs: a CSV with `start_utc,price_eur_per_mwh`, or a bundled one.
Outputs: a `dispatch.billing.market_prices.PriceSeries`; or an error with file and line.
Units and signs: EUR/MWh, UTC.
Must not import: `gateway`, `console`, `storage`, the other drivers.
"""
