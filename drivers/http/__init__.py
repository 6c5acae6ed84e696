"""Fetches pages over HTTP: metrics of exporters, answers of Prometheus.

Inputs: an address, deadlines, what its server's certificate is verified by.
Outputs: the bytes of a page, or a `DeviceError` that says what is wrong with it.
Units: s, bytes.
Must not import: `gateway`, `console`, `storage`, other drivers.

aiohttp is imported when the client is made, which is where a site has such nodes.
"""
