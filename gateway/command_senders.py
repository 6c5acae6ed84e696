"""Orders beside the setpoint, on their way to switch, PCS and compute nodes: latest wins, outside the tick."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from dispatch.model.decision import Decision
from dispatch.model.islanding import NodeOrder
from dispatch.model.orders import Order, OrderKind

RETRY_S = 1.0  # unscaled, while an order stands that a device has not taken

Report = Callable[[str, str, str], None]  # severity, device id, text


class Carrier:
    """Carries the latest order to one device, again until it is taken. `submit` never waits."""

    def __init__(
        self, id: str, carry: Callable[[Any], Awaitable[str]], device_error: type[Exception], report: Report
    ) -> None:
        self.id, self._carry, self._device_error, self._report = id, carry, device_error, report
        self._wanted: Any = None
        self._taken: Any = None
        self._error = ""
        self._news = asyncio.Event()

    def submit(self, order: Any) -> None:
        """This is wanted now; None: nothing is asked."""
        if order != self._wanted:
            self._wanted = order
            self._news.set()

    @property
    def failing(self) -> bool:
        """The device has not taken what it was asked last."""
        return bool(self._error)

    async def run(self) -> None:
        """Carry until cancelled."""
        while True:
            wanted = self._wanted
            taken = wanted is None or wanted == self._taken or await self._try(wanted)
            if wanted is None:
                self._taken = None
            with contextlib.suppress(TimeoutError):  # news cut the wait short: an abort is not kept waiting
                await asyncio.wait_for(self._news.wait(), None if taken else RETRY_S)
            self._news.clear()

    async def _try(self, order: Any) -> bool:
        try:
            text = await self._carry(order)
        except self._device_error as error:
            if str(error) != self._error:
                self._error = str(error)
                self._report("warning", self.id, f"order not carried out: {error}")
            return False
        self._taken, self._error = order, ""
        if text:
            self._report("info", self.id, text)
        return True


class Hands:
    """Every carrier of a site, and what of a decision goes to which."""

    def __init__(
        self, drivers: Sequence[Any], node_actuators: dict[str, Any], device_error: type[Exception], report: Report
    ) -> None:
        def switch(driver: Any) -> Callable[[Any], Awaitable[str]]:
            async def carry(action: str) -> str:
                await driver.order(action)
                return "order withdrawn" if action == "none" else f"asked to {action}"

            return carry

        def start(driver: Any) -> Callable[[Any], Awaitable[str]]:
            async def carry(_: str) -> str:
                await driver.start()
                return "told to start"

            return carry

        def node(actuator: Any) -> Callable[[Any], Awaitable[str]]:
            async def carry(order: Any) -> str:
                return "; ".join(await actuator.apply(order))

            return carry

        def carrier(id: str, carry: Callable[[Any], Awaitable[str]]) -> Carrier:
            return Carrier(id, carry, device_error, report)

        self._switches = {d.id: carrier(d.id, switch(d)) for d in drivers if d.kind == "switch"}
        self._starts = {d.id: carrier(d.id, start(d)) for d in drivers if d.kind == "pcs"}
        self._nodes = {id: carrier(id, node(a)) for id, a in node_actuators.items()}
        self._node_actuators, self._device_error, self._report = node_actuators, device_error, report
        self._ridden: dict[str, NodeOrder] = {}  # what ride-through orders of each node
        self._touched: set[str] = set()  # nodes that were capped, by hand or for the peak, or freed

    @property
    def cappable(self) -> frozenset[str]:
        """The nodes that take a power cap."""
        return frozenset(id for id, actuator in self._node_actuators.items() if actuator.can_cap)

    def free(self, node: str) -> None:
        """Lift whatever cap a node was left with by a gateway before this one."""
        if node in self._node_actuators and node not in self._touched:
            self._node_actuators[node].forget_cap()
            self._touched.add(node)

    async def lift(self) -> None:
        """Free every node that was capped, once; for the end. What ride-through ordered stays."""
        for id in sorted(self._touched):
            try:
                await self._node_actuators[id].apply(self._ridden.get(id, NodeOrder(id)))
            except self._device_error as error:
                self._report("warning", id, f"cap not lifted: {error}")

    @property
    def carriers(self) -> tuple[Carrier, ...]:
        """All of them, each to be run as a task."""
        return (*self._switches.values(), *self._starts.values(), *self._nodes.values())

    @property
    def failing(self) -> frozenset[str]:
        """The nodes that have not taken their last order."""
        return frozenset(id for id, carrier in self._nodes.items() if carrier.failing)

    def submit(self, decision: Decision, caps: Mapping[str, NodeOrder]) -> None:
        """Hand out what was decided. `caps`: orders that only cap; of two caps on a node the smaller holds."""
        order = decision.switch
        for id, carrier in self._switches.items():
            carrier.submit(order.action if order is not None and order.device_id == id else None)
        starts = {o.device_id: o.action for o in decision.pcs_orders}
        for id, carrier in self._starts.items():
            carrier.submit(starts.get(id))
        self._ridden = {node.device_id: node for node in decision.nodes}
        self._touched |= caps.keys() & self._nodes.keys()
        for id in self._ridden.keys() | self._touched:
            if (found := self._nodes.get(id)) is not None:
                found.submit(_capped(self._ridden.get(id, NodeOrder(id)), caps.get(id)))


def _capped(order: NodeOrder, cap: NodeOrder | None) -> NodeOrder:
    return order if cap is None else _smaller(order, msgspec.structs.replace(order, cap_w=cap.cap_w, reason=cap.reason))


def node_caps(decision: Decision, orders: Iterable[Order]) -> dict[str, NodeOrder]:
    """People's caps and those for the month's peak; of two on a node the smaller."""
    by_hand = [o for o in orders if o.kind is OrderKind.NODE_CAP]
    caps = {o.target: NodeOrder(o.target, cap_w=o.value, reason=o.reason) for o in by_hand}
    for id, w in decision.caps.nodes if decision.caps is not None else ():
        caps[id] = _smaller(caps.get(id, NodeOrder(id)), NodeOrder(id, cap_w=w, reason="the month's peak"))
    return caps


def _smaller(one: NodeOrder, two: NodeOrder) -> NodeOrder:
    """Of two orders the one that caps deeper; the first if they are alike."""
    if two.cap_w is None or (one.cap_w is not None and one.cap_w <= two.cap_w):
        return one
    return two
