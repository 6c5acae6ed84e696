"""Builds a snapshot of a moment of the record: the inverse of `storage.signals`, for the devices that the site has now.

What is not kept, such as the state words of a PCS, is missing in it, never zero. A node of which nothing is on record
then is left out: it was not there, or was beyond what is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dispatch.model.equipment import Battery, DeviceHealth, Gpu, Meter, Node, Pcs, Pv, Switch, Ups
from dispatch.model.readings import MISSING, UNKNOWN, Reading, Status
from dispatch.model.snapshot import Snapshot
from storage.context import LinkThen
from storage.moment import Moment, Value
from storage.signals import node_signal, own_name, soc_signal

PHASES = (1, 2, 3)

Values = Mapping[str, Value]


def snapshot_at(moment: Moment, devices: Snapshot, links: Sequence[LinkThen] = ()) -> Snapshot:
    """The site at a moment. `devices`: a snapshot that has the devices; none of its readings is taken over.

    `links`: how devices answered then.
    """
    values = moment.values
    return Snapshot(
        seq=0,
        utc_s=moment.utc_s,
        mono_s=0.0,
        grid=_grid(values, devices.grid),
        load=None if devices.load is None else Meter(devices.load.id, w=_reading(values, "load.w")),
        pcs=tuple(_pcs(values, pcs) for pcs in devices.pcs),
        batteries=tuple(_battery(values, battery) for battery in devices.batteries),
        pv=tuple(Pv(pv.id, w=_reading(values, f"{own_name(pv.id)}.w")) for pv in devices.pv),
        switches=tuple(
            Switch(s.id, source=_said(values, f"{own_name(s.id)}.on_genset", "genset")) for s in devices.switches
        ),
        nodes=tuple(_node(values, node) for node in devices.nodes if node_signal(node.id) in values),
        ups=tuple(_ups(values, ups) for ups in devices.ups),
        devices=_health(moment.utc_s, devices, links),
    )


def _health(utc_s: float, devices: Snapshot, links: Sequence[LinkThen]) -> tuple[DeviceHealth, ...]:
    """How devices answered, in the order of now; those that the site has no more come last.

    Counters are not kept: that a device had ever answered is one read. Of one that answers the age is not known.
    """
    order = {device.id: n for n, device in enumerate(devices.devices)}
    return tuple(
        DeviceHealth(
            id=link.id,
            kind=link.kind,
            online=link.online,
            age_s=None if link.answered_utc_s is None else utc_s - link.answered_utc_s,
            reads=int(link.online or link.answered_utc_s is not None),
            failures=0,
            writes=0,
            error=link.error,
            identity=link.identity,
            proof=link.proof,
            battery=link.battery,
            map=link.map,
        )
        for link in sorted(links, key=lambda link: order.get(link.id, len(order)))
    )


def _grid(values: Values, meter: Meter) -> Meter:
    def phases(letter: str) -> tuple[Reading, ...]:
        return tuple(_reading(values, f"grid.{letter}{n}") for n in PHASES if f"grid.{letter}{n}" in values)

    return Meter(
        meter.id,
        w=_reading(values, "grid.w"),
        hz=_reading(values, "grid.hz"),
        v=phases("v"),
        a=phases("a"),
        import_wh=_reading(values, "grid.import_wh"),
        export_wh=_reading(values, "grid.export_wh"),
    )


def _pcs(values: Values, pcs: Pcs) -> Pcs:
    own = own_name(pcs.id)
    return Pcs(pcs.id, w=_reading(values, f"{own}.w"), setpoint_w=_reading(values, f"{own}.setpoint_w"))


def _battery(values: Values, battery: Battery) -> Battery:
    own = own_name(battery.id)
    return Battery(
        battery.id,
        soc_pct=_reading(values, soc_signal(battery.id)),
        temp_c=_reading(values, f"{own}.temp_c"),
        cell_v_min=_reading(values, f"{own}.lowest_cell_v"),
        cell_v_max=_reading(values, f"{own}.highest_cell_v"),
        isolation_ohm=_reading(values, f"{own}.isolation_ohm"),
        contactor=_said(values, f"{own}.contactor_open", "open"),
        isolation=_said(values, f"{own}.isolation_fault", "fault"),
        cooling=_said(values, f"{own}.cooling_fault", "fault"),
    )


def _node(values: Values, node: Node) -> Node:
    """Its power and that of its GPUs. Whether it is critical, and how many GPUs it has, is as of now."""
    gpus = tuple(_gpu(values, node, gpu) for gpu in node.gpus)
    return Node(
        node.id,
        w=_reading(values, node_signal(node.id)),
        gpus=gpus,
        gpus_total=node.gpus_total,
        critical=node.critical,
        source=node.source,
    )


def _gpu(values: Values, node: Node, gpu: Gpu) -> Gpu:
    own = f"{own_name(node.id)}.{gpu.uuid or f'gpu{gpu.index}'}"
    return Gpu(
        gpu.index,
        gpu.name,
        w=_reading(values, f"{own}.w"),
        util_pct=_reading(values, f"{own}.util_pct"),
        temp_c=_reading(values, f"{own}.temp_c"),
        uuid=gpu.uuid,
    )


def _ups(values: Values, ups: Ups) -> Ups:
    own = own_name(ups.id)
    return Ups(
        ups.id,
        status=_said(values, f"{own}.on_battery", "OB"),
        w=_reading(values, f"{own}.w"),
        load_pct=_reading(values, f"{own}.load_pct"),
        charge_pct=_reading(values, f"{own}.charge_pct"),
        runtime_s=_reading(values, f"{own}.runtime_s"),
    )


def _reading(values: Values, name: str) -> Reading:
    """A signal as a reading; missing where it has no value or is not on record."""
    value = values.get(name)
    return MISSING if value is None or value.value is None else Reading(value.value, value.age_s, value.quality)


def _said(values: Values, name: str, word: str) -> Status:
    """The state word that a signal of 1 stands for. Of one that is 0 it is not on record which other word it was."""
    reading = _reading(values, name)
    return Status(word, reading.age_s, reading.quality) if reading.value == 1.0 else UNKNOWN
