"""Sends commands other than setpoints to switches, PCS and compute nodes in the background: the latest wins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from dispatch.model.decision import Decision
from dispatch.model.islanding import FOR_EVENT, NodeOrder
from dispatch.model.orders import Order, OrderKind
from dispatch.model.power_caps import NodeCap
from dispatch.model.reasons import Reason, plain
from dispatch.model.snapshot import Snapshot
from dispatch.power_caps.latency import CapLatencies
from dispatch.power_caps.priced_caps import for_event
from gateway.event_sink import EventSink

RETRY_S = 1.0  # unscaled, before a command that a device has not taken is sent again
NODE_RETRY_MOST_S = 60.0  # to a node the pause doubles up to this: its command may be a script of the site
HOLD_S = 30.0  # unscaled, between two looks whether a node still holds its cap: it may have been restarted

Send = Callable[[Any], Awaitable[str]]  # sends a command; returns what to report of it, or nothing


class NodeCommand(msgspec.Struct, frozen=True):
    """What is asked of a compute node. `ride_through`: its cap is one that ride-through asks for."""

    order: NodeOrder
    ride_through: bool = False


class CommandSender:
    """Sends the latest command to one device, again until it is taken. `submit` never waits."""

    def __init__(
        self,
        id: str,
        kind: str,
        send: Send,
        device_error: type[Exception],
        events: EventSink,
        to_hold: Callable[[], bool] = lambda: False,
        retry_most_s: float = RETRY_S,
    ) -> None:
        """`kind` of the events in which it reports. `send` may raise `device_error`.

        `to_hold`: whether the command taken is to be sent again every HOLD_S, as the device may lose it.
        `retry_most_s`: the pause after a failure doubles up to it.
        """
        self.id = id
        self._kind, self._send, self._device_error, self._events = kind, send, device_error, events
        self._to_hold, self._retry_most_s = to_hold, retry_most_s
        self._retry_s = 0.0  # the pause after the last failure
        self._wanted: Any = None
        self._taken: Any = None
        self._error = ""
        self._news = asyncio.Event()

    @property
    def wanted(self) -> Any:
        """The command that is to hold now; None: there is none."""
        return self._wanted

    def send_again(self) -> None:
        """Send the command once more, though the device has taken it."""
        self._taken = None
        self._news.set()

    def submit(self, command: Any) -> None:
        """Set the command that is to hold now; None: there is none."""
        if command != self._wanted:
            self._wanted = command
            self._news.set()

    @property
    def failing(self) -> bool:
        """The device has not taken the last command."""
        return bool(self._error)

    async def run(self) -> None:
        """Send commands until cancelled."""
        while True:
            self._news.clear()
            wanted = self._wanted
            taken = wanted is None or wanted == self._taken or await self._try(wanted)
            if wanted is None:
                self._taken = None
            try:  # news cut the wait short: an abort is not kept waiting
                async with asyncio.timeout(self._pause_s(taken)):  # wait_for of Python 3.11 loses a cancel beside news
                    await self._news.wait()
                self._retry_s = 0.0
            except TimeoutError:
                self._taken = None

    def _pause_s(self, taken: bool) -> float | None:
        self._retry_s = 0.0 if taken else longer_pause_s(self._retry_s, self._retry_most_s)
        if not taken:
            return self._retry_s
        return HOLD_S if self._to_hold() else None

    async def _try(self, command: Any) -> bool:
        try:
            text = await self._send(command)
        except self._device_error as error:
            if str(error) != self._error:
                self._error = str(error)
                self._events.event(self._kind, "warning", self.id, f"order not carried out: {error}")
            return False
        self._taken, self._error = command, ""
        if text:
            self._events.event(self._kind, "info", self.id, text)
        return True


def longer_pause_s(pause_s: float, most_s: float) -> float:
    """The pause after another failure in a row; `pause_s`: the one before, 0 for none."""
    return min(max(2 * pause_s, RETRY_S), max(most_s, RETRY_S))


def _to_switch(driver: Any) -> Send:
    async def send(action: str) -> str:
        await driver.order(action)
        return "order withdrawn" if action == "none" else f"asked to {action}"

    return send


def _to_pcs(driver: Any) -> Send:
    async def send(_: str) -> str:
        await driver.start()
        return "told to start"

    return send


def _to_node(actuator: Any) -> Send:
    async def send(command: NodeCommand) -> str:
        return "; ".join(await actuator.apply(command.order, command.ride_through))

    return send


class CommandSenders:
    """A sender for each device of a site that takes commands, and what of a decision goes to which."""

    def __init__(
        self,
        drivers: Sequence[Any],
        node_actuators: dict[str, Any],
        device_error: type[Exception],
        events: EventSink,
    ) -> None:
        def sender(id: str, kind: str, send: Send) -> CommandSender:
            return CommandSender(id, kind, send, device_error, events)

        def to_node(id: str, actuator: Any) -> CommandSender:
            send, hold = _to_node(actuator), lambda: actuator.holds_cap
            return CommandSender(id, "node", send, device_error, events, hold, NODE_RETRY_MOST_S)

        self._switches = {d.id: sender(d.id, "device", _to_switch(d)) for d in drivers if d.kind == "switch"}
        self._starts = {d.id: sender(d.id, "device", _to_pcs(d)) for d in drivers if d.kind == "pcs"}
        self._nodes = {id: to_node(id, actuator) for id, actuator in node_actuators.items()}
        self._node_actuators, self._device_error, self._events = node_actuators, device_error, events
        self._ridden: dict[str, NodeOrder] = {}  # what ride-through orders of each node
        self._touched: set[str] = set()  # nodes that were capped, by hand or for the peak, or freed
        self._told_end: set[str] = set()  # nodes whose caps were reported on at the end
        self.caps_w: Mapping[str, float] = {}  # the caps that are to hold now, whoever asks for them
        self._latencies = CapLatencies()
        for id, actuator in node_actuators.items():
            if actuator.may_be_capped:
                self.release(id)

    @property
    def cappable(self) -> frozenset[str]:
        """The nodes that take a power cap."""
        return frozenset(id for id, actuator in self._node_actuators.items() if actuator.can_cap)

    def release(self, node: str) -> None:
        """Lift the cap that an earlier run of the gateway left on a node."""
        if node in self._node_actuators and node not in self._touched:
            self._node_actuators[node].forget_cap()
            self._touched.add(node)

    def assume(self, node: str, fields: Iterable[str]) -> None:
        """An earlier run has ordered this of a node, by the fields of an order; what is not wanted now is undone."""
        if node in self._node_actuators:
            self._node_actuators[node].assume(fields)
            self._touched.add(node)
            self._nodes[node].send_again()

    @property
    def may_hold(self) -> dict[str, tuple[str, ...]]:
        """By node what was asked of it and may hold there, as fields of an order; a gateway that follows undoes it."""
        found = {}
        for id, sender in self._nodes.items():
            wanted = sender.wanted.order.lasting if sender.wanted is not None else frozenset()
            if fields := wanted | self._node_actuators[id].may_hold:
                found[id] = tuple(sorted(fields))
        return found

    @property
    def not_kept(self) -> dict[str, str]:
        """The nodes whose GPUs are capped although their limits from before are not on disk, and why not."""
        return {id: why for id, actuator in self._node_actuators.items() if (why := actuator.not_kept)}

    @property
    def changed_by_others(self) -> dict[str, str]:
        """The nodes whose GPUs' limits another program has changed under a cap, and which limits it has set."""
        return {id: what for id, actuator in self._node_actuators.items() if (what := actuator.changed_by_others)}

    @property
    def lift_slowly(self) -> frozenset[str]:
        """The nodes that may be capped by their BMCs, which takes seconds to lift."""
        return frozenset(id for id, actuator in self._node_actuators.items() if actuator.lifts_slowly)

    async def lift_slow_caps(self) -> None:
        """Lift the caps of these nodes. For the end: begun before the others are lifted."""
        await asyncio.gather(*(self._lift_cap(id) for id in sorted(self.lift_slowly)))

    async def lift_caps(self) -> None:
        """Lift the cap of every node that was capped, and free those that a grid event has; for the end.

        What ride-through ordered stays: the site may still be off the grid.
        """
        for_event = {id for id, order in self._ridden.items() if order.reason == FOR_EVENT and id in self._nodes}
        self._ridden |= {id: NodeOrder(id) for id in for_event}
        await asyncio.gather(*(self._lift_cap(id) for id in sorted(self._touched | for_event)))

    async def _lift_cap(self, id: str) -> None:
        actuator = self._node_actuators[id]
        try:
            await actuator.apply(self._ridden.get(id, NodeOrder(id)), ride_through=True)
        except self._device_error as error:
            what = "cap not lifted" if id in self._touched else "not freed of what a grid event asked"
            self._events.event("node", "warning", id, f"{what}: {error}")
        except asyncio.CancelledError:  # the end lasts no longer
            if actuator.may_be_capped:
                self._tell_end(id, "cap not lifted: no answer so far; what it had is kept, the next start lifts it")
            raise
        if left := actuator.changed_by_others:
            self._tell_end(id, f"cap over: {left}, which another program has set since; it is left so")

    def _tell_end(self, id: str, text: str) -> None:
        """Report once for each node: at the end slow caps are lifted by both functions."""
        if id not in self._told_end:
            self._told_end.add(id)
            self._events.event("node", "warning", id, text)

    @property
    def all(self) -> tuple[CommandSender, ...]:
        """Every sender, each to be run as a task."""
        return (*self._switches.values(), *self._starts.values(), *self._nodes.values())

    @property
    def failing(self) -> frozenset[str]:
        """The nodes that have not taken their last command."""
        return frozenset(id for id, sender in self._nodes.items() if sender.failing)

    def submit(self, decision: Decision, orders: Iterable[Order]) -> None:
        """Set what was decided as the commands that hold now, capped as the manual `orders` and the peak ask."""
        switch = decision.switch
        for id, sender in self._switches.items():
            sender.submit(switch.action if switch is not None and switch.device_id == id else None)
        starts = {o.device_id: o.action for o in decision.pcs_orders}
        for id, sender in self._starts.items():
            sender.submit(starts.get(id))
        self._submit_to_nodes({node.device_id: node for node in decision.nodes}, node_caps(decision, orders))

    def follow_caps(self, snapshot: Snapshot) -> tuple[NodeCap, ...]:
        """Take in what nodes draw; the caps that are to hold now, and how long caps on each node take to show."""
        return self._latencies.update(snapshot, self.caps_w)

    @property
    def measured_caps_w(self) -> dict[str, float]:
        """The caps that are to hold now of nodes whose power was measured since."""
        measured = self._latencies.measured
        return {id: w for id, w in self.caps_w.items() if id in measured}

    def _submit_to_nodes(self, ridden: dict[str, NodeOrder], caps: Mapping[str, NodeOrder]) -> None:
        self._ridden = ridden
        self._touched |= caps.keys() & self._nodes.keys()
        commands = {
            id: _capped(ridden.get(id, NodeOrder(id)), caps.get(id))
            for id in ridden.keys() | self._touched
            if id in self._nodes
        }
        for id, command in commands.items():
            self._nodes[id].submit(command)
        self.caps_w = {id: c.order.cap_w for id, c in commands.items() if c.order.cap_w is not None}


def _capped(order: NodeOrder, cap: NodeOrder | None) -> NodeCommand:
    """The order of ride-through, with another cap if that is smaller."""
    if cap is not None and _smaller(order, cap) is cap:
        capped = msgspec.structs.replace(order, cap_w=cap.cap_w, reason=cap.reason)
        return NodeCommand(capped, ride_through=order.cap_w is not None)
    return NodeCommand(order, ride_through=order.cap_w is not None)


def node_caps(decision: Decision, orders: Iterable[Order]) -> dict[str, NodeOrder]:
    """Caps from manual orders, and for the month's peak or a limit of import; of two on a node the smaller one."""
    by_hand = [o for o in orders if o.kind is OrderKind.NODE_CAP]
    caps = {o.target: NodeOrder(o.target, cap_w=o.value, reason=plain(o.reason)) for o in by_hand}
    if decision.caps is None:
        return caps
    why = Reason("caps.limit") if for_event(decision.caps.reason) else Reason("caps.months_peak")
    for id, w in decision.caps.nodes:
        caps[id] = _smaller(caps.get(id, NodeOrder(id)), NodeOrder(id, cap_w=w, reason=why))
    return caps


def _smaller(one: NodeOrder, two: NodeOrder) -> NodeOrder:
    """Of two orders the one that caps deeper; the first if they are alike."""
    if two.cap_w is None or (one.cap_w is not None and one.cap_w <= two.cap_w):
        return one
    return two
