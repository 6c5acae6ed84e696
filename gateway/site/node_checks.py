"""Checks of nodes: pages and Prometheus of those read over HTTP, how these are trusted; commands that need others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from dispatch.config.cross_checks import Finding
from dispatch.power_caps.throughput import fault
from drivers.node_config import OBSERVED
from drivers.node_lists.dns import place_of
from drivers.nodes.group import CHANGING
from gateway.site.schema import Site
from gateway.site.unread import MISSING_KEY, Unreadable, text

MOST_NODES = 1024
# What a command of a [[node]] needs beside it, and why.
NEEDS = (
    ("on_stop_starts", "on_allow_starts", "what keeps jobs from starting is undone by it"),
    ("on_allow_starts", "on_stop_starts", "it undoes that"),
    ("on_requeue", "on_stop_starts", "requeued jobs would start here again at once"),
    ("on_checkpoint", "on_requeue", "jobs save to be requeued"),
    ("checkpoint_s", "on_checkpoint", "it is the time that jobs have after it"),
    ("on_power_off", "on_power_on", "the node is powered on again by it"),
    ("on_power_on", "on_power_off", "it undoes that"),
    ("on_power_off", "on_stop_starts", "the scheduler would power it on again for the next job"),
)


def may_have_outlets(key: str, source: str, outlets: tuple[str, ...]) -> Iterator[Finding]:
    """Outlets go with the sources that can use them."""
    if source == "nut" and not outlets:
        yield key, [], 'at least one, such as "pdu-a:3"'
    if outlets and source not in ("nut", *OBSERVED):
        yield key, list(outlets), 'no such key, or source = "nut"'


def pages(site: Site) -> Iterator[Finding]:
    """Nodes that are read over HTTP: from pages of their own, or from a Prometheus that is there."""
    read_by: dict[str, str] = {}
    with suppress(Unreadable):
        count = len(site.every_node)
        if count > MOST_NODES:
            yield "nodes", count, f"at most {MOST_NODES} nodes on a site: more do not fit into a message to a console"
    listed: list[tuple[str, Any]] = [(f"node[{n}]", node) for n, node in enumerate(site.node)]
    for key, item in (*listed, *((f"nodes[{n}]", group) for n, group in enumerate(site.nodes))):
        with suppress(Unreadable):
            yield from _source_keys(key, item, {server.id for server in site.prometheus})
            if key.startswith("nodes"):
                missing = (url for url in item.exporters if "{name}" not in url)
                yield from ((f"{key}.exporters", url, "{name} in it, for the node's name") for url in missing)
            for url in _own_pages(item):
                if read_by.setdefault(url, key) != key:
                    yield f"{key}.exporters", url, f"a page of its own; {read_by[url]} reads it"
    for n, server in enumerate(site.prometheus):
        with suppress(Unreadable):
            yield from _trust(f"prometheus[{n}]", server, (server.url,))


def event_steps(site: Site) -> Iterator[Finding]:
    """What a grid event may ask of a node: what there is a command for, and nothing of critical ones."""
    for n, node in enumerate(site.node):
        with suppress(Unreadable):
            needed = {"power-off": "on_power_off", "requeue": "on_requeue"}.get(node.event_step)
            if needed and not getattr(node, needed):
                yield f"node[{n}].event_step", node.event_step, f'"caps", or {needed} beside it'
            elif needed and node.critical:
                yield f"node[{n}].event_step", node.event_step, '"caps": the node is critical'


def bmcs(site: Site) -> Iterator[Finding]:
    """The BMCs of nodes: an account for each, and no system as two nodes."""
    read_by: dict[tuple[str, str], str] = {}
    listed: list[tuple[str, Any]] = [(f"node[{n}]", node) for n, node in enumerate(site.node)]
    for key, item in (*listed, *((f"nodes[{n}]", group) for n, group in enumerate(site.nodes))):
        with suppress(Unreadable):
            yield from _bmc_keys(key, item, [defaults.id for defaults in site.bmc])
            yield from _cap_keys(key, item, site)
            for url, system in _own_bmcs(item):
                if read_by.setdefault((url, system), key) != key:
                    what = f"a BMC of its own, or a bmc_system; {read_by[url, system]} reads it"
                    yield f"{key}.bmc", url, what


def lists(site: Site) -> Iterator[Finding]:
    """Where groups have their names from: from one place that changes at most, with the keys of that place."""
    for n, group in enumerate(site.nodes):
        with suppress(Unreadable):
            yield from _list_keys(f"nodes[{n}]", group)
            ids = sorted(cluster.id for cluster in site.kubernetes)
            if group.kubernetes and group.kubernetes not in ids:
                expected = f"the id of a [[kubernetes]]: {', '.join(ids) or 'there is none'}"
                yield f"nodes[{n}].kubernetes", group.kubernetes, expected


def _list_keys(key: str, group: Any) -> Iterator[Finding]:
    given = [name for name in CHANGING if getattr(group, name)]
    if len(given) > 1:
        yield f"{key}.{given[1]}", getattr(group, given[1]), f"one of {' and '.join(given)}: use a [[nodes]] for each"
    for name, needed in (("dns_server", "names_dns"), ("partition", "sinfo"), ("kubernetes_selector", "kubernetes")):
        if getattr(group, name) and not getattr(group, needed):
            yield f"{key}.{name}", getattr(group, name), f"no such key, or {needed}"
    if group.dns_server:
        try:
            ip_address(place_of(text(group.dns_server))[0])
        except ValueError:
            yield f"{key}.dns_server", group.dns_server, "an address such as 192.0.2.1 or [2001:db8::1]:5353"


def _own_bmcs(item: Any) -> Iterator[tuple[str, str]]:
    for name in getattr(item, "names", ("",)) if item.bmc else ():
        yield item.bmc.replace("{name}", name).rstrip("/"), item.bmc_system.replace("{name}", name)


def _bmc_keys(key: str, item: Any, accounts: list[str]) -> Iterator[Finding]:
    if item.source == "redfish" and not item.bmc:
        yield f"{key}.bmc", MISSING_KEY, "the address of its BMC, such as https://gpu01-bmc"
    if not item.bmc:
        for name in ("bmc_account", "bmc_system", "bmc_chassis", "bmc_serial", "bmc_fingerprint"):
            if getattr(item, name, ""):
                yield f"{key}.{name}", getattr(item, name), "no such key, or bmc"
        return
    if item.source not in OBSERVED:
        yield f"{key}.bmc", item.bmc, f"no such key, or a source among {', '.join(OBSERVED)}"
    if key.startswith("nodes") and "{name}" not in item.bmc + item.bmc_system:
        yield f"{key}.bmc", item.bmc, "{name} in it, for the node's name"
    if item.bmc_account not in accounts if item.bmc_account else len(accounts) != 1:
        known = ", ".join(accounts) or "there is none"
        yield f"{key}.bmc_account", item.bmc_account or MISSING_KEY, f"the id of a [[bmc]] with its account: {known}"


def _cap_keys(key: str, item: Any, site: Site) -> Iterator[Finding]:
    """A node that is capped by its BMC: by an account that may, and that is the only one of that BMC."""
    if not getattr(item, "cap_by", ""):
        return
    for name in ("bmc", "cap_w"):
        if not getattr(item, name):
            yield f"{key}.{name}", MISSING_KEY, "this key beside cap_by"
    if item.on_cap:
        yield f"{key}.on_cap", list(item.on_cap), "on_cap or cap_by, not both"
    account = next((a for a in site.bmc if item.bmc_account in ("", a.id)), None)
    if account is not None and not account.may_cap:
        yield f"{key}.bmc_account", item.bmc_account, f"a [[bmc]] with may_cap = true: {account.id} is only for reading"
    for other in site.every_node:
        same = other.bmc and other.bmc.rstrip("/") == item.bmc.rstrip("/")
        if same and other.bmc_account != item.bmc_account:
            yield f"{key}.bmc_account", item.bmc_account, f"the one of {other.id}, which is behind the same BMC"


def _own_pages(item: Any) -> list[str]:
    """Every page that a node or a group reads."""
    names = getattr(item, "names", ("",))
    return [
        url.replace("{name}", name) for url in item.exporters if "{name}" in url or len(names) == 1 for name in names
    ]


def _source_keys(key: str, item: Any, servers: set[str]) -> Iterator[Finding]:
    for source, value in (("exporters", item.exporters), ("prometheus", item.prometheus)):
        if bool(value) != (item.source == source):
            wanted = "this key" if item.source == source else f'no such key, or source = "{source}"'
            yield f"{key}.{source}", value or MISSING_KEY, wanted
    if item.source == "prometheus" and item.prometheus and item.prometheus not in servers:
        known = ", ".join(sorted(servers)) or "there is none"
        yield f"{key}.prometheus", item.prometheus, f"the id of a [[prometheus]]: {known}"
    yield from _trust(key, item, item.exporters)


def _trust(key: str, item: Any, urls: Sequence[str]) -> Iterator[Finding]:
    """What a certificate is verified by: one of them, and none where there is no certificate."""
    given = {name: value for name in ("ca", "fingerprint") if (value := getattr(item, name, ""))}
    if len(given) > 1:
        yield f"{key}.fingerprint", item.fingerprint, "ca or fingerprint, not both"
    elif not any(url.startswith("https:") for url in urls):
        for name, value in given.items():
            yield f"{key}.{name}", value, "no such key, or https: without it nothing is verified"


def commands(site: Site) -> Iterator[Finding]:
    """Commands of nodes that are of no use, or do harm, without another."""
    for n, node in enumerate(site.node):
        for key, needed, why in NEEDS:
            with suppress(Unreadable):
                if getattr(node, key) and not getattr(node, needed):
                    yield f"node[{n}].{needed}", MISSING_KEY, f"this key beside {key}: {why}"


def cap_prices(site: Site) -> Iterator[Finding]:
    """Tiers and curves of caps: of use only where GPU-hours have a price; curves that GPUs can have."""
    places: list[tuple[str, Any]] = [("caps", site.caps), *((f"node[{n}]", node) for n, node in enumerate(site.node))]
    for key, item in places:
        with suppress(Unreadable):
            if item.throughput and (wrong := fault(item.throughput)):
                yield f"{key}.throughput", [list(point) for point in item.throughput], wrong
        with suppress(Unreadable):
            priced = site.caps.price_eur_per_gpu_hour is not None
            for name in ("slowdown_pct", "partition_slowdown_pct"):
                value = getattr(item, name, None)
                if not priced and value is not None and value != {}:
                    yield (
                        f"{key}.{name}",
                        value,
                        "caps.price_eur_per_gpu_hour beside it: tiers bound caps by that price",
                    )
