"""Carries out orders to the twin, one JSON object per line: faults, load steps, local control, the true state.

    {"fault": "hung", "device": "grid", "for_s": 10}     also: outage frozen slow exception not_implemented
    {"fault": "slow", "device": "grid", "delay_s": 0.3}  delay_s is machine seconds, for_s site seconds
    {"fault": "exception", "device": "pcs1", "code": 4}
    {"clear": "grid"}, {"clear": "outage"}, {"clear": "all"}
    {"sag": 0.8, "hz": 49.5}                             the grid at this share of its voltage; {"sag": 1} ends it
    {"grid_record": "/path/blackout.csv"}                play it (see grid_record); {"grid_record": ""} ends it
    {"grid_record": "r.csv", "nominal_v": 11000, "nominal_hz": 60}   the record's own, where they cannot be seen
    {"jam": "pcc"}, {"free": "pcc"}                      the switch's mechanism moves no more, and again
    {"load_step_w": 60000}                               adds to the site's load; a negative step takes it away
    {"local": "pcs1"}, {"remote": "pcs1"}                the key on the device
    {"state": {}}                                        what is really there, undelayed

Without for_s a fault stays until it is cleared. Answers are {"ok": true, "mono_s": ...}, CLOCK_MONOTONIC when it was
carried out, or {"ok": false, "error": "..."}: what was expected, where, and what was found instead.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from dispatch.model.decoding import decoded
from drivers.twin.faults import KINDS, Fault
from drivers.twin.grid import PccSwitch
from drivers.twin.grid_record import RecordError, player, read_record
from drivers.twin.pcs import TwinPcs
from drivers.twin.physics import TwinSite

Order = dict[str, Any]
Reply = dict[str, Any]


class BadOrder(Exception):
    """An order that cannot be carried out; the text says what was expected."""


def answer(site: TwinSite, line: bytes) -> bytes:
    """Carry out one line; the answer is one line too."""
    try:
        order = decoded(msgspec.json.decode, line)
        if not isinstance(order, dict):
            raise BadOrder(f"a JSON object with one of {', '.join(ORDERS)}, not {order!r}")
        reply = {"ok": True, "mono_s": time.monotonic(), **_execute(site, order)}
    except msgspec.DecodeError as error:
        reply = {"ok": False, "error": f"expected one JSON object a line; {error}"}
    except BadOrder as error:
        reply = {"ok": False, "error": f"expected {error}"}
    return msgspec.json.encode(reply) + b"\n"


def device_ids(site: TwinSite) -> list[str]:
    """Every device that can have a fault."""
    ids = [m.id for m in site.meters] + [p.id for p in site.pcs] + [p.id for p in site.pv]
    return ids + [s.id for s in site.switches] + [n.id for n in site.node_devices]


def _execute(site: TwinSite, order: Order) -> Reply:
    found = [name for name in ORDERS if name in order]
    if len(found) != 1:
        raise BadOrder(f"exactly one of {', '.join(ORDERS)}, found {', '.join(found) or 'none'}")
    return ORDERS[found[0]](site, order)


def _clear(site: TwinSite, order: Order) -> Reply:
    what = order["clear"]
    if what == "all":
        site.grid.sag, site.grid.record = None, lambda t_s: None
        site.faults.clear()
    else:
        site.faults.clear("" if what == "outage" else _device(site, what))
    return {}


def _load_step(site: TwinSite, order: Order) -> Reply:
    site.load.step_w += _number(order, "load_step_w", -math.inf, 0.0)
    return {"t_s": site.t_s, "load_step_w": site.load.step_w}


def _sag(site: TwinSite, order: Order) -> Reply:
    share, hz = _number(order, "sag", 0, 1.0), _number(order, "hz", 0, 50.0)
    site.grid.sag = None if share == 1.0 and hz == 50.0 else (share, hz)
    return {}


def _state(site: TwinSite, order: Order) -> Reply:
    listed = [{"fault": f.kind, "device": f.device} for f in site.faults.listed(site.t_s)]
    return {"state": {**site.true_state(), "faults": listed}}


def _mechanism(name: str, site: TwinSite, order: Order) -> Reply:
    """Jam or free a switch."""
    switches = {s.id: s for s in site.switches}
    if order[name] not in [*switches]:  # it may be anything, also what no set can hold
        raise BadOrder(f"{name} to name a switch: {', '.join(switches) or 'there is none'}; found {order[name]!r}")
    switches[order[name]].jammed = name == "jam"
    return {}


def _key(name: str, site: TwinSite, order: Order) -> Reply:
    """Turn a device's key to local or remote."""
    units: dict[str, TwinPcs | PccSwitch] = {p.id: p for p in site.pcs}
    units |= {s.id: s for s in site.switches}
    if order[name] not in [*units]:
        raise BadOrder(f"{name} to name a PCS or a switch: {', '.join(units)}; found {order[name]!r}")
    units[order[name]].local = name == "local"
    return {}


def _play(site: TwinSite, order: Order) -> Reply:
    if order["grid_record"] == "":
        site.grid.record = lambda t_s: None
        return {}
    nominal = {key: _number(order, key, 1e-6, 0.0) for key in ("nominal_v", "nominal_hz") if key in order}
    try:
        record = read_record(Path(str(order["grid_record"])), site.grid.nominal_v, **nominal)
    except RecordError as error:
        raise BadOrder(f"a record that can be played; {error}") from None
    site.grid.record = player(record.rows, site.t_s)
    return {"t_s": site.t_s, "length_s": record.length_s, "note": record.note}


def _put_fault(site: TwinSite, order: Order) -> Reply:
    site.faults.put(_fault(site, order))
    return {}


def _fault(site: TwinSite, order: Order) -> Fault:
    kind = order["fault"]
    if kind not in KINDS:
        raise BadOrder(f"fault to be one of {', '.join(KINDS)}; found {kind!r}")
    device = "" if kind == "outage" else _device(site, order.get("device"))
    code = _number(order, "code", 1, 4)
    if code not in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11):
        raise BadOrder(f"code to be a Modbus exception code, 1..8, 10 or 11; found {code:g}")
    until_s = site.t_s + _number(order, "for_s", 0, math.inf)
    return Fault(kind, device, until_s, _number(order, "delay_s", 0, 0.5), int(code))


def _device(site: TwinSite, device: object) -> str:
    known = device_ids(site)
    if device not in known:
        raise BadOrder(f"device to be one of {', '.join(known)}; found {device!r}")
    return str(device)


def _number(order: Order, key: str, low: float, default: float) -> float:
    value = order.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < low:
        raise BadOrder(
            f"{key} to be a number" + (f" of at least {low:g}" if low > -math.inf else "") + f"; found {value!r}"
        )
    return float(value)


ORDERS: dict[str, Callable[[TwinSite, Order], Reply]] = {
    "fault": _put_fault,
    "clear": _clear,
    "load_step_w": _load_step,
    "local": partial(_key, "local"),
    "remote": partial(_key, "remote"),
    "state": _state,
    "sag": _sag,
    "grid_record": _play,
    "jam": partial(_mechanism, "jam"),
    "free": partial(_mechanism, "free"),
}
