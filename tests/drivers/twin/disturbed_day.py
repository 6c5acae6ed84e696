"""One thing after another on the demo's site in lock-step: devices fail, people and senders ask, the load jumps.

Each entry of `SCRIPT` stands for some seconds; what is said meanwhile is judged by the twin's truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
from demo_day import DemoDay, demo_site

from dispatch.model.decision import Decision
from dispatch.model.orders import Order, OrderKind
from dispatch.model.signals import Quantity, Signal, Sort
from drivers.twin.faults import Fault, Kind
from gateway.site.schema import Site


class Part(NamedTuple):
    """What stands for `seconds`: something done at its begin, what is asked all the while."""

    seconds: int
    begin: Callable[[DemoDay], None] = lambda _: None
    order: tuple[OrderKind, float, str] | None = None
    signal: tuple[Sort, Quantity, float] | None = None


def fails(device: str, kind: Kind, seconds: int) -> Part:
    """A device fails for so long; then as long again in order, 15 s at most."""
    return Part(
        seconds + min(seconds, 15),
        lambda day: day.twin.faults.put(Fault(kind, device, day.twin.t_s + seconds)),
    )


def load_step(watts: float, seconds: int) -> Part:
    """So much more load from now on."""

    def begin(day: DemoDay) -> None:
        day.twin.load.step_w += watts

    return Part(seconds, begin)


def local(there: bool) -> Part:
    """Somebody turns the PCS's key to local, or back."""

    def begin(day: DemoDay) -> None:
        day.twin.pcs[0].local = there

    return Part(12, begin)


def ordered(kind: OrderKind, value: float, target: str = "", seconds: int = 25) -> Part:
    return Part(seconds, order=(kind, value, target))


def asked(sort: Sort, quantity: Quantity, limit_w: float) -> Part:
    return Part(25, signal=(sort, quantity, limit_w))


SCRIPT = (
    Part(40),
    fails("grid", "hung", 12),
    fails("grid", "frozen", 30),
    fails("grid", "not_implemented", 6),
    fails("load", "hung", 8),
    fails("pcs1", "hung", 80),
    fails("pcs1", "not_implemented", 10),
    fails("pcs1", "exception", 10),
    fails("pcc", "hung", 15),
    fails("gpu-03", "hung", 10),
    local(True),
    local(False),
    ordered(OrderKind.SETPOINT, 12_000),
    ordered(OrderKind.SETPOINT, -12_000),
    ordered(OrderKind.IMPORT_TARGET, 20_000),
    ordered(OrderKind.SOC_TARGET, 66),
    ordered(OrderKind.SOC_TARGET, 20),
    ordered(OrderKind.HOLD, 0),
    ordered(OrderKind.RESERVE_LEVEL, 90),
    ordered(OrderKind.NODE_CAP, 3_000, "gpu-03"),
    ordered(OrderKind.DISABLE, 0, "pcs1"),
    asked(Sort.OBLIGATION, Quantity.IMPORT, 9_000),
    asked(Sort.OBLIGATION, Quantity.PRODUCTION, 2_000),
    asked(Sort.FLEET, Quantity.EXPORT, 0),
    asked(Sort.FLEET, Quantity.CHARGE, 0),
    asked(Sort.MARKET, Quantity.IMPORT, 15_000),
    load_step(70_000, 40),
    load_step(40_000, 40),
    load_step(-100_000, 40),
    load_step(-10_000, 30),
)


def sunny() -> Site:
    """The demo's site with PV that can be limited, and more of it than the load takes."""
    site = demo_site()
    return msgspec.structs.replace(
        site, pv=tuple(msgspec.structs.replace(pv, peak_w=45_000.0, curtail=True) for pv in site.pv)
    )


def decisions(day: DemoDay) -> Iterator[Decision]:
    """Play the script."""
    for n, part in enumerate(SCRIPT):
        part.begin(day)
        now = day.snapshot
        ends = now.utc_s + part.seconds, now.mono_s + part.seconds
        orders: list[Order] = []
        signals: list[Signal] = []
        if part.order is not None:
            orders = [Order(f"o{n}", *part.order, "ada", "a test", now.utc_s, *ends)]
        if part.signal is not None:
            sort, quantity, limit_w = part.signal
            signals = [Signal(f"s{n}", sort, "sender", quantity, limit_w, now.utc_s, ends[0], now.utc_s)]
        for _ in range(part.seconds):
            yield day.step(orders, signals)
