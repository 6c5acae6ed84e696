"""Checks of nodes that are read over HTTP: their pages, their Prometheus, how it is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from dispatch.config.cross_checks import Finding
from gateway.site.schema import Site
from gateway.site.unread import MISSING_KEY, Unreadable


def may_have_outlets(key: str, source: str, outlets: tuple[str, ...]) -> Iterator[Finding]:
    """Outlets go with the sources that can use them."""
    if source == "nut" and not outlets:
        yield key, [], 'at least one, such as "pdu-a:3"'
    if outlets and source not in ("nut", "exporters", "prometheus"):
        yield key, list(outlets), 'no such key, or source = "nut"'


def pages(site: Site) -> Iterator[Finding]:
    """Nodes that are read over HTTP: from pages of their own, or from a Prometheus that is there."""
    read_by: dict[str, str] = {}
    listed: list[tuple[str, Any]] = [(f"node[{n}]", node) for n, node in enumerate(site.node)]
    for key, item in (*listed, *((f"nodes[{n}]", group) for n, group in enumerate(site.nodes))):
        with suppress(Unreadable):
            yield from _source_keys(key, item, {server.id for server in site.prometheus})
            for url in item.exporters:
                if key.startswith("nodes") and "{name}" not in url:
                    yield f"{key}.exporters", url, "{name} in it, which stands for the node's name"
                if url in read_by:
                    yield f"{key}.exporters", url, f"a page of its own; {read_by[url]} reads it"
                read_by.setdefault(url, key)
    for n, server in enumerate(site.prometheus):
        with suppress(Unreadable):
            yield from _trust(f"prometheus[{n}]", server)


def _source_keys(key: str, item: Any, servers: set[str]) -> Iterator[Finding]:
    for source, value in (("exporters", item.exporters), ("prometheus", item.prometheus)):
        if bool(value) != (item.source == source):
            wanted = "this key" if item.source == source else f'no such key, or source = "{source}"'
            yield f"{key}.{source}", value or MISSING_KEY, wanted
    if item.source == "prometheus" and item.prometheus and item.prometheus not in servers:
        known = ", ".join(sorted(servers)) or "there is none"
        yield f"{key}.prometheus", item.prometheus, f"the id of a [[prometheus]]: {known}"
    if hasattr(item, "fingerprint"):
        yield from _trust(key, item)


def _trust(key: str, item: Any) -> Iterator[Finding]:
    if item.ca and item.fingerprint:
        yield f"{key}.fingerprint", item.fingerprint, "ca or fingerprint, not both"
