"""Builds a site's snapshot of the parts that its drivers last returned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dispatch.model.clock import Clock
from dispatch.model.contacts import Contact
from dispatch.model.equipment import Battery, DeviceHealth, Meter, Node, Part, Pcs, Pv, Switch, Ups
from dispatch.model.snapshot import Snapshot
from gateway.site.schema import Site


def snapshot_of(
    site: Site,
    seq: int,
    clock: Clock,
    grid_id: str,
    parts: Sequence[Part],
    devices: tuple[DeviceHealth, ...],
    observed: Mapping[str, Node] = {},
    grouped: Sequence[str] | None = None,
) -> Snapshot:
    """Every declared device of a kind, in the site file's order; one that never answered has only missing values.

    `observed`: nodes that are read outside the tick, by id. `grouped`: the nodes of the groups as they are now; None:
    those of the site file.
    """
    meters = {p.id: p for p in parts if isinstance(p, Meter)}
    load_id = next((meter.id for meter in site.meter if meter.role == "load"), None)

    def of(kind: type[Any], ids: Sequence[str]) -> tuple[Any, ...]:
        known = {p.id: p for p in parts if isinstance(p, kind)}
        return tuple(known.get(id_) or kind(id=id_) for id_ in ids)

    return Snapshot(
        seq=seq,
        utc_s=clock.utc_s(),
        mono_s=clock.mono_s(),
        grid=meters.get(grid_id) or Meter(id=grid_id),
        load=None if load_id is None else meters.get(load_id) or Meter(id=load_id),
        pcs=of(Pcs, [p.id for p in site.pcs]),
        batteries=of(Battery, [b.id for b in site.battery]),
        pv=of(Pv, [p.id for p in site.pv]),
        switches=of(Switch, [s.id for s in site.switch]),
        nodes=tuple(_nodes(site, {p.id: p for p in parts if isinstance(p, Node)}, observed, grouped)),
        devices=devices,
        ups=of(Ups, [u.id for u in site.ups]),
        contacts=of(Contact, [c.id for c in site.contact]),
    )


def _nodes(
    site: Site, known: Mapping[str, Node], observed: Mapping[str, Node], grouped: Sequence[str] | None
) -> Iterator[Node]:
    """Each `[[node]]`, then those of the groups."""
    for node in site.node:
        yield observed.get(node.id) or known.get(node.id) or Node(node.id)
    names = [name for group in site.nodes for name in group.names] if grouped is None else grouped
    for name in names:
        yield observed.get(name) or known.get(name) or Node(name)
