"""Checks that span sections or keys of a site file, made in the same run as those of single keys.

A value that could not be read is `UNREAD`. A check that uses it ends there without a finding, as the value has an error
of its own; every other check is made, down to single devices and keys. So one run finds every error of a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from dispatch.billing.billed_peaks import findings
from dispatch.billing.charges.tariff_checks import tariff_checks
from dispatch.config.cross_checks import Check, Finding, checks
from drivers.modbus.address import Address, parse, place_of
from drivers.tariffs.feeds.kinds import looks_like_a_token, wrong
from gateway.site import contact_checks
from gateway.site.battery_checks import battery_device
from gateway.site.kubernetes_checks import clusters
from gateway.site.map_checks import hybrids, map_without_errors, maps, soc_source, written_twice
from gateway.site.node_checks import bmcs, cap_prices, commands, event_steps, lists, may_have_outlets, pages
from gateway.site.output_checks import outputs
from gateway.site.p1_checks import meters_on_p1
from gateway.site.pv_checks import planes, weather_services
from gateway.site.scheduler_checks import schedulers
from gateway.site.schema import WITH_IDS, Site
from gateway.site.signal_checks import signals
from gateway.site.unread import MISSING_KEY, Unreadable, text


def across(site: Site) -> list[Finding]:
    """What contradicts something elsewhere in the file, as far as the values involved could be read."""
    found: list[Finding] = []
    for check in (*checks(msgspec.structs.replace(site, node=(), meter=()).dispatch), *_own(site)):
        with suppress(Unreadable):
            found.extend(check())
    return found


def _own(site: Site) -> Iterator[Check]:
    """Checks of what `dispatch` does not know: meters, addresses, the twin."""
    for check in (
        _place,
        _grid_meter,
        _grid_meter_period,
        _load_meters,
        _ids,
        _urls,
        _addresses,
        _outlets,
        planes,
        weather_services,
        pages,
        bmcs,
        lists,
        commands,
        cap_prices,
        event_steps,
        schedulers,
        clusters,
        _deadline,
        _twin,
        _tls,
        _feeds,
        _p1,
        maps,
        written_twice,
        hybrids,
        _contacts,
        signals,
        _genset,
        _reserve,
        _tariff,
        _billed_peaks,
        outputs,
    ):
        yield partial(check, site)
    for n, battery in enumerate(site.battery):
        yield partial(_owners, site, battery.id)
        yield partial(battery_device, site, n, battery)
    for n, pcs in enumerate(site.pcs):
        yield partial(soc_source, site, n, pcs)


def _tariff(site: Site) -> Iterator[Finding]:
    """Charges and windows, as far as each could be read."""
    for check in tariff_checks(site.tariff, site.grid.metering_interval_s):
        with suppress(Unreadable):
            yield from check()


def _billed_peaks(site: Site) -> Iterator[Finding]:
    """Peaks of bills, by the period of the charge that they belong to."""
    return findings(msgspec.structs.replace(site, node=(), meter=()).dispatch)


def _reserve(site: Site) -> Iterator[Finding]:
    """What is kept for a fleet must leave room for the rest of the record."""
    cap_mb, unsent_mb = site.storage.disk_cap_mb, site.storage.unsent_max_mb
    if unsent_mb > cap_mb / 2:
        yield "storage.unsent_max_mb", unsent_mb, f"at most half of storage.disk_cap_mb, which is {cap_mb:g}"


def _place(site: Site) -> Iterator[Finding]:
    given = site.site.latitude_deg is not None, site.site.longitude_deg is not None
    if any(given) and not all(given):
        here, there = ("latitude_deg", "longitude_deg") if given[0] else ("longitude_deg", "latitude_deg")
        yield f"site.{here}", getattr(site.site, here), f"site.{there} as well, or neither: a place has both"


def _grid_meter(site: Site) -> Iterator[Finding]:
    count = sum(m.role == "grid" for m in site.meter)
    if count != 1:
        yield "meter", [m.id for m in site.meter], f'exactly one [[meter]] with role = "grid", found {count}'


def _load_meters(site: Site) -> Iterator[Finding]:
    if sum(m.role == "load" for m in site.meter) > 1:
        yield "meter", [m.id for m in site.meter], 'at most one [[meter]] with role = "load"'


def _ids(site: Site) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for section in WITH_IDS:
        for n, item in enumerate(getattr(site, section)):
            with suppress(Unreadable):
                if item.id in seen:
                    yield f"{section}[{n}].id", item.id, f"an id of its own; {seen[item.id]} has it already"
                seen.setdefault(item.id, f"{section}[{n}]")
    hosts = {id.casefold(): where for id, where in seen.items()}  # names of hosts are the same in capitals
    for n, group in enumerate(site.nodes):
        with suppress(Unreadable):
            for name in group.names:
                if (host := name.casefold()) in hosts:
                    yield f"nodes[{n}].names", name, f"an id of its own; {hosts[host]} has it already"
                hosts.setdefault(host, f"nodes[{n}]")


def _addresses(site: Site) -> Iterator[Finding]:
    """Two devices of a kind that are the same instance behind one unit id. Of the twin only nodes share a port."""
    for section in ("battery", "pcs", "meter", "pv", "switch", "node"):
        seen: dict[tuple[tuple[str, int], int, int], str] = {}
        for n, item in enumerate(getattr(site, section)):
            with suppress(Unreadable):
                apart = getattr(item, "source", "modbus") != "modbus"  # not reached over Modbus
                if apart or (section != "node" and item.url in ("", "twin")):
                    continue
                place = place_of(text(item.url)), item.unit, getattr(item, "instance", None) or 1
                if place in seen:
                    yield f"{section}[{n}].unit", item.unit, f"a unit of its own at {item.url}; {seen[place]} has it"
                seen.setdefault(place, f"{section}[{n}]")


def _outlets(site: Site) -> Iterator[Finding]:
    """Outlets of PDUs that exist, each feeding one node; only nodes that are read from them have any."""
    pdus = {pdu.id for pdu in site.pdu}
    fed: dict[str, str] = {}
    for n, node in enumerate(site.node):
        with suppress(Unreadable):
            key, outlets = f"node[{n}].outlets", node.outlets
            yield from may_have_outlets(key, node.source, outlets)
            for outlet in outlets:
                pdu = outlet.partition(":")[0]
                if pdu not in pdus:
                    yield key, outlet, f"the id of a [[pdu]]: {', '.join(sorted(pdus)) or 'there is none'}"
                if outlet in fed:
                    yield key, outlet, f"an outlet that feeds this node alone, once; {fed[outlet]} has it"
                fed.setdefault(outlet, f"node[{n}]")


def _urls(site: Site) -> Iterator[Finding]:
    """Two ways to speak on one port; unit 0 where it is every device at once."""
    seen: dict[tuple[str, int], tuple[Address, str]] = {}
    for key, device in _on_modbus(site):
        with suppress(Unreadable):
            address = parse(device.url)
            other, owner = seen.setdefault(address.place, (address, key))
            if other != address:
                yield f"{key}.url", device.url, f"the scheme and settings that {owner} has for this port"
            if address.rtu and device.unit == 0:
                yield f"{key}.unit", 0, "a unit, 1..255: on a serial line 0 is every device at once"


def _tls(site: Site) -> Iterator[Finding]:
    for key, device in _on_modbus(site):
        with suppress(Unreadable):
            if site.tls is None and device.url.startswith("tls://"):
                yield "[tls]", MISSING_KEY, f"this section with ca, cert and key, because {key} has a tls:// url"
                return


def _feeds(site: Site) -> Iterator[Finding]:
    if site.tariff.file and site.tariff.feed:
        yield "tariff.file", site.tariff.file, "no file where there is a [[tariff.feed]], or no feed"
    seen = set[tuple[str, str]]()
    for n, feed in enumerate(site.tariff.feed):
        with suppress(Unreadable):
            if (found := wrong(feed)) is not None:
                key, expected = found
                value = "(not shown)" if looks_like_a_token(getattr(feed, key)) else getattr(feed, key)
                yield f"tariff.feed[{n}].{key}", value, expected
            if (feed.kind, feed.zone) in seen:
                yield f"tariff.feed[{n}].zone", feed.zone, "each feed once"
            seen.add((feed.kind, feed.zone))


def _p1(site: Site) -> Iterator[Finding]:
    yield from meters_on_p1(site, _on_modbus(site))


def _on_modbus(site: Site) -> Iterator[tuple[str, Any]]:
    """Every device with a url of its own, and its key."""
    for section in ("pcs", "battery", "meter", "pv", "switch", "node", "contact"):
        for n, item in enumerate(getattr(site, section)):
            with suppress(Unreadable):
                elsewhere = not item.url or item.url == "twin" or item.url.startswith("gpio:")
                if not elsewhere and getattr(item, "source", "modbus") == "modbus":
                    yield f"{section}[{n}]", item


def _genset(site: Site) -> Iterator[Finding]:
    """A generator is measured by the grid meter, and its switch tells when it feeds the site."""
    if site.genset is None:
        return
    for n, meter in enumerate(site.meter):
        with suppress(Unreadable):
            if meter.role == "grid" and meter.terms.side != "site":
                given = MISSING_KEY if meter.side is None else meter.side
                expected = '"site" on a site with a [genset]: the meter below the switch, which measures both sources'
                yield f"meter[{n}].side", given, expected
    for n, switch in enumerate(site.switch):
        with suppress(Unreadable):
            if not _tells_source(switch.map, site.path):
                expected = "a map that tells the source of the site (source, or grid_contact and genset_contact)"
                yield f"switch[{n}].map", switch.map, f"{expected}, because there is a [genset]"


def _tells_source(name: str, path: Path) -> bool:
    device_map = map_without_errors(name, path)
    return device_map is None or device_map.needed in ("source", "grid_contact")


def _contacts(site: Site) -> Iterator[Finding]:
    """Contacts that can do what they are for, each on lines of its own."""
    yield from contact_checks.lines_of_their_own(site.contact)
    yield from contact_checks.charge_limits("contact", site.contact, site.grid)
    yield from contact_checks.charge_limits("contact_step", site.contact_step, site.grid)
    with suppress(Unreadable):
        yield from contact_checks.coded_steps(site.contact, site.contact_step)
    for n, contact in enumerate(site.contact):
        for check in contact_checks.CHECKS:
            with suppress(Unreadable):
                yield from ((f"contact[{n}].{key}", value, expected) for key, value, expected in check(contact))


def _owners(site: Site, battery: str) -> Iterator[Finding]:
    if any(p.battery not in {b.id for b in site.battery} for p in site.pcs):
        return  # reported already
    owners = [p.id for p in site.pcs if p.battery == battery]
    if not owners:
        yield "pcs", MISSING_KEY, f"a [[pcs]] with battery = {battery!r}; none names it"
    if len(owners) > 1:
        yield "pcs", owners, f"one [[pcs]] per [[battery]]; these share {battery}"


def _deadline(site: Site) -> Iterator[Finding]:
    most_s = 0.5 / site.gateway.rate_hz
    if site.io.deadline_s >= most_s:
        expected = f"below half the poll period, {most_s:g} s at {site.gateway.rate_hz:g} Hz"
        yield "io.deadline_s", site.io.deadline_s, expected


def _grid_meter_period(site: Site) -> Iterator[Finding]:
    for n, meter in enumerate(site.meter):
        with suppress(Unreadable):
            if meter.role == "grid" and meter.period_s is not None:
                yield f"meter[{n}].period_s", meter.period_s, "no such key: the grid meter is read at every tick"


def _twin(site: Site) -> Iterator[Finding]:
    if site.twin is None and any(_is_twins(d) for d in (*site.pcs, *site.meter, *site.pv, *site.switch, *site.node)):
        yield "[twin]", MISSING_KEY, 'this section, because a device has url = "twin"'


def _is_twins(device: Any) -> bool:
    """Whether the device is simulated by the twin; False if that could not be read."""
    with suppress(Unreadable):
        return bool(device.url == "twin" and getattr(device, "source", "modbus") == "modbus")
    return False
