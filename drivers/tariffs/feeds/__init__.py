"""Market prices from services on the network.

Inputs: an answer's bytes; which feed it is of, and which time was asked for.
Outputs: `dispatch.billing.market_prices.PriceSeries`, and what must be said of it; or a `FeedError` with what is wrong.
Units and signs: EUR/MWh, POSIX seconds of UTC.
Must not import: `gateway`, `console`, `storage`, other drivers than `drivers.http`.

An answer is parsed by a plain function of its bytes. Only `fetching` asks anything.
"""
