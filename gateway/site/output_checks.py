"""Checks of what the gateway tells others: where the page of metrics is served."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from dispatch.config.cross_checks import Finding
from gateway.site.schema import Site


def outputs(site: Site) -> Iterator[Finding]:
    """An address that is none, and one that others than this machine reach without the owner having said so."""
    metrics = site.metrics
    if metrics is None:
        return
    try:
        address, _ = metrics.place
    except ValueError as error:
        yield "metrics.listen", metrics.listen, f"an address and a port of 1 to 65535: {error}"
        return
    if not ipaddress.ip_address(address).is_loopback and not metrics.any_address:
        yield (
            "metrics.listen",
            metrics.listen,
            "an address of loopback, such as 127.0.0.1:9469 (a Prometheus elsewhere reaches it through a proxy with "
            "TLS and a password); or any_address = true beside it",
        )
