"""All traffic with a site's devices: polls, the snapshot of what they last said, setpoints and commands.

Only `first_contact`, `read_grid_meter`, `deliver` and `close` wait; everything else returns at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import msgspec

from dispatch.alarms.facts import NodesUnread
from dispatch.model.clock import Clock
from dispatch.model.decision import Decision
from dispatch.model.equipment import DeviceHealth, DeviceProof, Part
from dispatch.model.orders import Order
from dispatch.model.proofs import Proving, as_asked
from dispatch.model.snapshot import Snapshot
from drivers.device_keys import poll_period_s
from drivers.http.turns import Turns
from drivers.modbus.errors import DeviceError
from drivers.node_config import NodeDevice
from drivers.nodes.actuators import make_actuators
from drivers.nodes.bmc_limits import KeptLimits
from drivers.nodes.known_gpus import KnownGpus
from drivers.nodes.observed import ObservedConfig
from drivers.notices import Notice
from gateway.command_senders import CommandSenders
from gateway.event_sink import EventSink
from gateway.last_answers import LastAnswers
from gateway.limit_orders import BmcLimitOrders
from gateway.node_lists import NodeLists
from gateway.node_process import start_process
from gateway.node_reading import NodeReading, Start
from gateway.node_roster import NodeRoster
from gateway.poller import Poller
from gateway.setpoint_sender import SetpointSender
from gateway.shown_nodes import ShownNodes
from gateway.site.schema import Site
from gateway.snapshot_builder import snapshot_of
from gateway.task_supervisor import Work

NODE_PERIOD_S = 1.0  # compute nodes and UPSs are read once a second, unscaled
ONCE_A_SECOND = ("node", "ups")
CLOSE_S = 3.0
FIRST_CONTACT_S = 2.0  # at most; a device that is not there does not keep the others waiting


@runtime_checkable
class Renewing(Protocol):
    """A driver that renews what it has written before the device gives it up."""

    def renew_within(self, revert_s: float) -> None:
        """Take it that the device reverts after so much silence."""
        ...


class DeviceIo:
    """A poller per device, a setpoint sender per PCS and per PV inverter that is limited, and the command senders."""

    def __init__(
        self,
        site: Site,
        clock: Clock,
        drivers: Sequence[Any],
        events: EventSink,
        known_gpus: KnownGpus,
        proof_of: Callable[[str], DeviceProof | None] = lambda device_id: None,
        start_reader: Start = start_process,
        kept_limits: KeptLimits | None = None,
        lists: NodeLists | None = None,
        on_nodes: Callable[[tuple[NodeDevice, ...]], None] = lambda nodes: None,
    ) -> None:
        """`drivers`: of all devices but the nodes over the network, which the process of `start_reader` reads.

        `proof_of`: what was proven of a device. `kept_limits`: those of BMCs from before caps; None: they are kept only
        as long as this object lives. `lists`: of the groups of nodes; None: those of the site file. `on_nodes` is
        called with every node of the site whenever that list changes.
        """
        self._proof_of = proof_of
        self._site, self._clock, self._events = site, clock, events
        self._pollers = [self._poller(driver) for driver in drivers]
        self._turns = Turns()
        limits = BmcLimitOrders()
        self._reader: asyncio.Task[None] | None = None
        self._lifting: asyncio.Task[None] | None = None
        self.lists, self._observed, self._reading = self._nodes_over_the_network(start_reader, limits, on_nodes, lists)
        self._grid_meter = next(p for p in self._pollers if p.driver.kind == "meter")
        self._nodes = [p for p in self._pollers if p.driver.kind in ONCE_A_SECOND]
        self._others = [p for p in self._pollers if p.driver.kind not in ("meter", *ONCE_A_SECOND)]
        self._setpoints = {
            d.id: SetpointSender(d, clock, DeviceError, self._report_setpoint, self._report_note)
            for d in drivers
            if d.kind == "pcs"
        }
        curtailed = {pv.id for pv in site.pv if pv.curtail}
        self._limits = {
            d.id: SetpointSender(d, clock, DeviceError, self._report_limit, self._report_note)
            for d in drivers
            if d.id in curtailed
        }
        read_by = {d.id: d for d in drivers if d.kind == "node"}
        nodes = make_actuators(site.node, read_by, known_gpus, limits, kept_limits)
        self.commands = CommandSenders(drivers, nodes, DeviceError, events)
        self._notes: dict[str, str] = {}  # the last of each PCS
        self._silent_pv: dict[str, str] = {}  # inverters of which it is still to be judged whether they are asleep

    def _poller(self, driver: Any) -> Poller:
        """A device that is read less often has readings that grow older by its period before they are stale."""
        site = self._site
        period_s = next(poll_period_s(d) for d in site.polled if d.id == driver.id) if driver.kind != "meter" else 0.0
        period_s = max(period_s, getattr(driver, "period_s", 0.0))
        if driver.kind in ONCE_A_SECOND:
            period_s = max(period_s, NODE_PERIOD_S)
        stale_after_s = site.io.stale_after_s + period_s
        report = self._report_device, self._report_notice
        return Poller(driver, self._clock, stale_after_s, DeviceError, *report, period_s=period_s)

    def _nodes_over_the_network(
        self,
        start: Start,
        limits: BmcLimitOrders,
        on_nodes: Callable[[tuple[NodeDevice, ...]], None],
        lists: NodeLists | None,
    ) -> tuple[NodeLists, ShownNodes, NodeReading | None]:
        """Which there are, what is known of them, and who reads them; None: there are none."""
        site, shown = self._site, ShownNodes((), self._turns, self._report_notice)
        lists = lists or NodeLists(site, self._clock, partial(self._events.event, "gateway"))
        roster = NodeRoster(site, lists, shown, self._answers_of, on_nodes)
        config = ObservedConfig(
            nodes=(),  # `NodeReading` fills in those of the roster
            pdus=site.pdu,
            prometheus=site.prometheus,
            bmcs=site.bmc,
            directory=str(site.path.parent),
            backoff_max_s=site.io.backoff_max_s,
            groups=site.nodes,
            clusters=site.kubernetes,
        )
        reading = NodeReading(config, shown, self._turns, self._events, start, limits, roster)
        return lists, shown, reading if roster.nodes or lists.asked else None

    def _answers_of(self, node: NodeDevice) -> LastAnswers:
        return LastAnswers(node.id, "node", self._clock, self._site.io.stale_after_s, self._report_device)

    def background(self) -> list[Work]:
        """What is to run as long as the control loop does."""
        work: list[Work] = [(f"setpoints of {id}", sender.run) for id, sender in self._setpoints.items()]
        work += [(f"limits of {id}", sender.run) for id, sender in self._limits.items()]
        work += [(f"orders to {sender.id}", sender.run) for sender in self.commands.all]
        if self._reading is not None:
            work += [("node reading", self._read_over_the_network), ("ages of nodes", self._observed.run)]
        return [*work, ("node polling", self._poll_nodes)]

    @property
    def nodes_unread(self) -> NodesUnread:
        """Nodes over the network that are lost because nobody reads them now."""
        return self._observed.unread

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def first_contact(self) -> None:
        """Read every device once: to connect takes longer than to answer, and the first tick is to know them all."""
        await asyncio.wait([poller.start() for poller in self._pollers], timeout=FIRST_CONTACT_S)

    def tick_due(self, due_s: float) -> None:
        """A tick has ended, the next one is due then, by the event loop's clock: what can wait is done in between."""
        self._turns.tick_due(due_s)

    def start_reads(self) -> None:
        """Begin to read what is due besides the grid meter: most at every tick, slow devices less often."""
        for poller in self._others:
            poller.start_if_due()

    async def read_grid_meter(self) -> None:
        """Read the grid meter; return with its answer, or at the I/O deadline without."""
        await asyncio.wait([self._grid_meter.start()], timeout=self._site.io.deadline_s)

    async def _read_over_the_network(self) -> None:
        """Until cancelled; while caps are to be lifted in BMCs the process that does it runs on until `close`."""
        assert self._reading is not None
        self._reader = asyncio.create_task(self._reading.run(), name="node reading")
        try:
            await asyncio.shield(self._reader)
        except asyncio.CancelledError:
            if self.commands.lift_slowly:
                self._lifting = asyncio.create_task(self.commands.lift_slow_caps())
            else:
                await self._end_reader()
            raise

    async def _end_reader(self) -> None:
        under_way = [task for task in (self._reader, self._lifting) if task is not None]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _poll_nodes(self) -> None:
        while True:
            for poller in self._nodes:
                poller.start_if_due()
            await asyncio.sleep(NODE_PERIOD_S)

    def snapshot(self, seq: int) -> Snapshot:
        """Snapshot number `seq`: what the devices last said, as it stands now."""
        parts: list[Part] = []
        for poller in self._pollers:
            parts.extend(poller.parts())
        devices = tuple(self._with_proof(p.health(self._writes_to(p.driver.id))) for p in self._pollers)
        devices += self._observed.health
        grid_id = self._grid_meter.driver.id
        return snapshot_of(
            self._site, seq, self._clock, grid_id, parts, devices, self._observed.nodes, self.lists.names
        )

    def _with_proof(self, health: DeviceHealth) -> DeviceHealth:
        """The same with what was proven, which its driver must know, too: in which time it is to be renewed."""
        if health.id not in self._setpoints or (proof := self._proof_of(health.id)) is None:
            return health
        driver = self._setpoints[health.id].driver
        if proof.revert_low_s is not None and isinstance(driver, Renewing):
            driver.renew_within(proof.revert_low_s)
        return msgspec.structs.replace(health, proof=proof)

    def _writes_to(self, device_id: str) -> int:
        sender = self._setpoints.get(device_id) or self._limits.get(device_id)
        return 0 if sender is None else sender.writes

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, decision: Decision, orders: Iterable[Order], proving: Proving | None = None) -> None:
        """Hand what was decided to the senders. `orders`: the manual orders in force, for the caps among them.

        `proving`: of the PCS that is being proven: when its setpoint is written, or that nothing at all is. A setpoint
        other than the proof asks for comes of a limit or a stop, and is written at once.
        """
        self.commands.submit(decision, orders)
        for setpoint in decision.setpoints:
            if (sender := self._setpoints.get(setpoint.device_id)) is None:
                continue
            if proving is None or proving.pcs_id != setpoint.device_id or not as_asked(proving, setpoint.w):
                sender.submit(setpoint.w)
            elif not proving.silent:
                sender.submit(setpoint.w, proving.after_s)
        for limit in decision.pv_limits:
            if (sender := self._limits.get(limit.device_id)) is not None:
                sender.submit(limit.w)

    async def lift_limits(self) -> None:
        """Lift the limits of PV that are ours, and report each that was in force. For the end, after the last tick."""
        held = {id for id, sender in self._limits.items() if sender.written_w is not None}
        lifted = await asyncio.gather(*(sender.deliver(None) for sender in self._limits.values()))
        for (id, sender), done in zip(self._limits.items(), lifted, strict=True):
            if id in held or not done:
                text = "limit lifted" if done else f"limit NOT lifted, its own timer has to end it: {sender.error}"
                self._events.event("device", "info" if done else "warning", id, text)

    def renewed_s(self, device_id: str) -> float | None:
        """When the reversion timer of a PCS was last started anew, mono_s; None: never, or not known."""
        sender = self._setpoints.get(device_id)
        return None if sender is None else sender.renewed_s

    async def deliver(self, device_id: str, w: float) -> str:
        """Send a setpoint and read it back where that is possible; empty once the PCS took it, else why it did not."""
        sender = self._setpoints[device_id]
        return "" if await sender.deliver(w) else sender.error or "the PCS does not say why"

    @property
    def written_w(self) -> dict[str, float]:
        """The setpoint that each PCS last took, W, read back or not; a PCS of which that is not known is absent."""
        return {id: sender.written_w for id, sender in self._setpoints.items() if sender.written_w is not None}

    @property
    def withheld(self) -> dict[str, str]:
        """The PCS whose driver wrote no setpoint of those that were asked, and why."""
        return {id: sender.withheld for id, sender in self._setpoints.items() if sender.withheld}

    def read_back(self, device_id: str) -> bool:
        """Whether a PCS was seen to hold what was last written to it."""
        return self._setpoints[device_id].read_back

    @property
    def reads(self) -> int:
        """Good answers so far."""
        return sum(poller.reads for poller in self._pollers) + self._observed.reads

    @property
    def writes(self) -> int:
        """Setpoint writes so far, renewals included."""
        return sum(sender.writes for sender in self._setpoints.values())

    async def close(self) -> None:
        """Finish the reads under way and disconnect from every device, within `CLOSE_S`."""
        await asyncio.gather(self._end_reader(), *(poller.close(CLOSE_S) for poller in self._pollers))

    # ── what is reported ────────────────────────────────────────────────────────────────────────────────────────────

    def _report_device(self, device: LastAnswers, online: bool) -> None:
        text = "answers" if online else f"lost: {device.error or 'no answer yet'}"
        device_id = device.id
        if device.kind == "pv" and not online:
            self._silent_pv[device_id] = text
        elif self._silent_pv.pop(device_id, None) is None:
            self._events.event("device", "info" if online else "warning", device_id, text)

    def report_silent_pv(self, silent: Collection[str], asleep: Collection[str]) -> None:
        """Log the loss of inverters that are silent and, as was judged now, not asleep."""
        for device_id in [id for id in self._silent_pv if id in silent]:
            text = self._silent_pv.pop(device_id)
            if device_id not in asleep:
                self._events.event("device", "warning", device_id, text)

    def _report_notice(self, device_id: str, notice: Notice) -> None:
        self._events.event("device", notice.severity, device_id, notice.text)

    def _report_setpoint(self, device_id: str, error: str) -> None:
        text = f"setpoint not accepted: {error}" if error else "setpoint accepted again"
        self._events.event("device", "warning" if error else "info", device_id, text)

    def _report_limit(self, device_id: str, error: str) -> None:
        text = f"limit not accepted: {error}" if error else "limit accepted again"
        self._events.event("device", "warning" if error else "info", device_id, text)

    def _report_note(self, device_id: str, note: str) -> None:
        if self._notes.get(device_id) != note:  # a note that repeats itself is one event
            self._notes[device_id] = note
            self._events.event("device", "warning", device_id, note)
