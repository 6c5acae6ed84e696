"""Checks of clusters whose API server is read: that a token goes to nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from dispatch.config.cross_checks import Finding
from gateway.site.schema import Site
from gateway.site.unread import MISSING_KEY, Unreadable


def clusters(site: Site) -> Iterator[Finding]:
    """Each is reached over https, and its certificate is verified by what the file names."""
    for n, cluster in enumerate(site.kubernetes):
        with suppress(Unreadable):
            key, given = f"kubernetes[{n}]", [name for name in ("ca", "fingerprint") if getattr(cluster, name)]
            if not cluster.url.startswith("https:"):
                if not _here(cluster.url):
                    yield f"{key}.url", cluster.url, "https; http only to this machine, such as http://127.0.0.1:8001"
                for name in given:
                    yield f"{key}.{name}", getattr(cluster, name), "no such key, or https: else nothing is verified"
            elif not given:
                yield f"{key}.ca", MISSING_KEY, "ca or fingerprint: a cluster signs its certificates itself"
            elif len(given) > 1:
                yield f"{key}.fingerprint", cluster.fingerprint, "ca or fingerprint, not both"


def _here(url: str) -> bool:
    """Whether an address is on this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
