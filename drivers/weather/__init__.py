"""Forecasts of the sun from services on the network.

Inputs: where the panels are and how they look; an answer's bytes.
Outputs: expected PV power, W at the AC terminals, by quarter hour; or a `WeatherError` that names what is wrong.
Must not import: `gateway`, `console`, `storage`, other drivers than `drivers.http`.

An answer is parsed by a plain function of its bytes. Only `fetching` asks anything.
"""
