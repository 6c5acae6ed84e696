"""Checks of the planes of PV panels: that they belong to an inverter, and add up; and of weather services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from dispatch.config.cross_checks import Finding
from gateway.site.schema import Site
from gateway.site.unread import MISSING_KEY, Unreadable

NEAR = 0.01  # share by which the planes of an inverter may miss its peak power: it is a rounded figure


def planes(site: Site) -> Iterator[Finding]:
    """Every plane has its inverter, every inverter its planes, and the site a place."""
    if not site.plane:
        return
    if site.site.place is None:
        yield "site.latitude_deg", MISSING_KEY, "latitude_deg and longitude_deg: with a [[plane]] the sun counts"
    ids = [pv.id for pv in site.pv]
    for n, plane in enumerate(site.plane):
        with suppress(Unreadable):
            if plane.pv not in ids:
                yield f"plane[{n}].pv", plane.pv, f"the id of a [[pv]]: {', '.join(map(str, ids)) or 'there is none'}"
    yield from _sums(site)


def _sums(site: Site) -> Iterator[Finding]:
    for n, pv in enumerate(site.pv):
        with suppress(Unreadable):
            own_w = sum(plane.peak_w for plane in site.plane if plane.pv == pv.id)
            if abs(own_w - pv.peak_w) > NEAR * pv.peak_w:
                yield f"pv[{n}].peak_w", pv.peak_w, f"the sum of its [[plane]] sections, {own_w:g}; 0: it has none"


def weather_services(site: Site) -> Iterator[Finding]:
    """Each service once, and of planes that are known."""
    kinds = [service.kind for service in site.weather]
    if kinds and not site.plane:
        yield "weather", kinds, "[[plane]] sections as well: it is of them"
    for n, kind in enumerate(kinds):
        with suppress(Unreadable):
            if kind in kinds[:n]:
                yield f"weather[{n}].kind", kind, "each service once"
