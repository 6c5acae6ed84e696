"""The power of one node by its BMC: read in a task of its own, so that nobody waits for a BMC that is slow.

A reading is one request for the node's power, and on an HGX server two more for GPUs in turn. The system is looked at
again every twentieth reading, and where the power is 0.
"""

from __future__ import annotations

import asyncio
import random

import msgspec

from dispatch.model.equipment import Limit, NodePower
from dispatch.model.readings import MISSING, Quality, Reading
from drivers.back_off import BackOff
from drivers.http.errors import HttpError
from drivers.modbus.errors import DeviceError, WrongDevice
from drivers.notices import Notices
from drivers.redfish.config import NodeOfBmc
from drivers.redfish.discovery import Identity, Machine, Wanted, discover, identity_of, supplies
from drivers.redfish.documents import Document, link, text, uuid_given
from drivers.redfish.enclosures import Enclosures
from drivers.redfish.limits import PowerLimit
from drivers.redfish.link import LACKS, BmcLink
from drivers.redfish.node_limit import NodeLimit
from drivers.redfish.power import (
    MOST_GPU_W,
    Found,
    is_on,
    of_environment,
    of_power_control,
    of_supplies,
    of_supply_metrics,
    summed,
)

JITTER = 0.1  # of the period, added by chance: BMCs that were started together do not stay together
REST = 0.5  # of the period, at least, between a reading and the next: one may take longer than the period
GPUS_A_READING = 2
LOOK_AGAIN = 20  # readings, ten minutes
MOST_PAUSE_S = 600.0  # between tries to find a node in its BMC
FRESH_PERIODS, FRESH_GRACE_S = 2.0, 10.0  # for so long a node keeps its place in a chassis
UNKNOWN = "BMC"


class BmcGpu(msgspec.Struct, frozen=True):
    """A GPU on an HGX baseboard. `uuid` as NVML gives it; `w` None: it gives none, for the reason `why`."""

    index: int
    name: str
    uuid: str
    w: float | None
    at_s: float  # on the event loop's clock
    why: str = ""


class NodeBmc:
    """What the BMC of a node tells. The node's driver asks for it again and again, which begins readings."""

    def __init__(
        self,
        node: NodeOfBmc,
        link: BmcLink,
        period_s: float,
        enclosures: Enclosures,
        notices: Notices,
        gpus: bool,
        limits: bool = False,
    ) -> None:
        """`gpus`: read those of an HGX baseboard, too: nobody else tells of them.

        `limits`: its power limit may be set.
        """
        self._id, self._link, self._enclosures, self._notices = node.id, link, enclosures, notices
        self.where = f"{node.id}, {link.where}"
        self._wanted = Wanted(self.where, node.bmc_system, node.bmc_chassis, gpus)
        self._serial, self._own_period_s = node.bmc_serial, period_s
        self._random = random.Random(f"{link.url} {node.id}")
        self._back_off = BackOff(MOST_PAUSE_S, least_s=period_s)
        self._machine: Machine | None = None
        self._known = Identity(), ""  # system and chassis, of the machine that was found last
        self._connection, self._readings, self._due_s = 0, 0, float("-inf")
        self._source = ""  # which of the resources gave a power last
        self._supplies: tuple[str, ...] | None = None  # metrics of the power supplies; None: not looked for
        self._found, self._at_s = Found(None, UNKNOWN, "was not read yet"), 0.0
        self._gpus: dict[str, BmcGpu] = {}
        self._gpu_metrics: dict[str, tuple[Document, str]] = {}
        self._next_gpu = 0
        self._limit = NodeLimit(self.where, link) if limits else None
        self._limit_error = ""
        self.error: DeviceError | None = None  # of the last reading
        self._task: asyncio.Task[None] | None = None
        link.join()

    @property
    def link(self) -> BmcLink:
        """The BMC."""
        return self._link

    @property
    def period_s(self) -> float:
        """How often it is read: nodes behind one BMC share its time."""
        return self._own_period_s * self._link.users

    @property
    def identity(self) -> Identity:
        """Who answers, as of the last reading."""
        return self._known[0]

    def power(self) -> NodePower:
        """As read last, with its age. Begins a reading when it is due. Raises what a mistake in a reading raised."""
        now_s = asyncio.get_running_loop().time()
        self._start_if_due(now_s)
        source = UNKNOWN if self._found.w is None else f"{UNKNOWN}, {self._found.says}"
        if self._found.w is None:
            return NodePower(source, MISSING, self.period_s)
        return NodePower(source, Reading(self._found.w, max(now_s - self._at_s, 0.0), Quality.GOOD), self.period_s)

    @property
    def trouble(self) -> str:
        """Why it is not read, or why there is no power; empty: nothing is wrong."""
        if self.error is not None:
            return f"{self.error.where}: {self.error.what}"
        return "" if self._found.w is not None else f"{self.where}: {self._found.says} {self._found.why}".rstrip()

    @property
    def gpus(self) -> tuple[BmcGpu, ...]:
        """Those of an HGX baseboard, also before they were read."""
        unread = (BmcGpu(n, "", "", None, 0.0, "was not read yet") for n in range(len(self._gpu_paths)))
        return tuple(self._gpus.get(path, gpu) for path, gpu in zip(self._gpu_paths, unread, strict=True))

    @property
    def gpu_period_s(self) -> float:
        """How often each is read."""
        return self.period_s * max(1, -(-len(self._gpu_paths) // GPUS_A_READING))

    def limit(self) -> Limit | None:
        """Its power limit as looked at last; None: it is not to be set."""
        if self._limit is None:
            return None
        seen, age_s = self._limit.seen, max(asyncio.get_running_loop().time() - self._limit.at_s, 0.0)
        if seen is None:
            return Limit(why=self._limit_error or "was not read yet")
        held = MISSING if seen.in_force_w is None else Reading(seen.in_force_w, age_s, Quality.GOOD)
        return Limit(held, seen.low_w, seen.high_w, self._limit_error or seen.refused)

    async def limit_looked_at(self) -> PowerLimit:
        """Its power limit now. Raises DeviceError."""
        return await self._own_limit.look(await self._present())

    async def limit_set(self, w: float | None, mode: str) -> PowerLimit:
        """Its power limit once it was set, as `NodeLimit.set` has it. Raises DeviceError."""
        return await self._own_limit.set(await self._present(), w, mode)

    @property
    def _own_limit(self) -> NodeLimit:
        if self._limit is None:
            raise WrongDevice(self.where, "its power limit is not to be set", 'give cap_by = "redfish" in its [[node]]')
        return self._limit

    async def first(self, limit_s: float) -> None:
        """Wait until it was read once, or failed, at most so long."""
        if not self._readings and self.error is None:
            self._start_if_due(asyncio.get_running_loop().time())
            if self._task is not None:
                await asyncio.wait([self._task], timeout=limit_s)

    async def close(self) -> None:
        """End a reading under way, and with the last node the session."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._link.leave()

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_if_due(self, now_s: float) -> None:
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            task.result()
        if self._task is None and now_s >= self._due_s and self._back_off.wait_s(now_s) <= 0:
            self._due_s = now_s + self.period_s * (1 + JITTER * self._random.random())
            self._task = asyncio.get_running_loop().create_task(self._read(), name=f"read the BMC of {self._id}")

    async def _read(self) -> None:
        try:
            await self._read_once()
        except DeviceError as error:
            self.error = error.with_traceback(None)
            if isinstance(error, HttpError) and error.status in LACKS:
                self._machine = None  # other firmware has other paths
        else:
            self.error = None
        self._readings += 1
        rested_s = asyncio.get_running_loop().time() + REST * self.period_s
        self._due_s = max(self._due_s, rested_s)

    async def _read_once(self) -> None:
        known, machine = self._machine, await self._present()
        if machine is known and self._readings % LOOK_AGAIN == 0:
            self._supplies = None
            if identity_of(await self._link.get(machine.system)) != machine.identity:
                machine = await self._discovered()
                self._alone(machine)
        found = await self._power(machine)
        if found.none_at_all:
            found = await self._believed(machine, found)
        self._found, self._at_s = found, asyncio.get_running_loop().time()
        await self._read_limit(machine)
        await self._read_gpus(machine)

    async def _present(self) -> Machine:
        """The node in its BMC, as found before if it is still connected."""
        machine = self._machine
        if machine is None or self._connection != self._link.connections:
            machine = await self._discovered()
        self._alone(machine)
        return machine

    async def _read_limit(self, machine: Machine) -> None:
        if self._limit is not None:
            try:
                await self._limit.look(machine, order=False)
                self._limit_error = ""
            except WrongDevice as error:
                self._limit_error = error.what

    async def _discovered(self) -> Machine:
        try:
            machine = await discover(await self._link.service_root(), self._link.get, self._wanted)
            self._identified(machine.identity, machine.chassis_serial)
        except DeviceError as error:
            self._machine, self._found = None, Found(None, UNKNOWN, "was not found")
            self._back_off.failed(error.what, asyncio.get_running_loop().time())
            raise
        self._back_off.answered()
        self._machine, self._connection, self._supplies, self._source = machine, self._link.connections, None, ""
        self._gpu_metrics, self._gpus = {}, {path: gpu for path, gpu in self._gpus.items() if path in machine.gpus}
        return machine

    def _alone(self, machine: Machine) -> None:
        """Raises WrongDevice where the BMC of another system names the same chassis."""
        for_s = FRESH_PERIODS * self.period_s + FRESH_GRACE_S
        if not machine.chassis_serial or self._wanted.chassis:
            return
        if others := self._enclosures.others(machine.chassis_serial, self._id, machine.identity.name, for_s):
            self._found = Found(None, "its chassis", "is shared")
            raise WrongDevice(
                self.where,
                f"chassis serial number {machine.chassis_serial} is that of {', '.join(others)[:80]} as well: "
                "its power may be the enclosure's",
                "give bmc_chassis where each node has a chassis of its own; else take the outlets of a [[pdu]]",
            )

    def _identified(self, now: Identity, chassis: str) -> None:
        """Tell another machine than before; raises WrongDevice where it is not the one that the site file names."""
        if self._serial and now.serial != self._serial:
            what = f"its system has the {now.name or 'no serial number'}, expected serial number {self._serial}"
            raise WrongDevice(self.where, what, "check the address in bmc, or bmc_serial in the site file")
        before, chassis_before = self._known
        if now.differs(before):
            what = (
                "its board was replaced" if chassis and chassis == chassis_before else "another machine answers there"
            )
            self._notices.add("warning", f"its BMC tells of {now.name} now, of {before.name} before: {what}")
        if now.name:
            self._known = now, chassis

    async def _power(self, machine: Machine) -> Found:
        """By the resource that gave it last; where that gives none, by the first that does."""
        why: list[Found] = []
        kinds = [kind for kind in ("environment", "power", "subsystem") if getattr(machine, kind)]
        for kind in sorted(kinds, key=lambda kind: kind != self._source):
            found = await self._by(kind, machine)
            if found.w is not None and not found.none_at_all:
                self._source = kind
                return found
            why.append(found)
        zero = next((found for found in why if found.none_at_all), None)
        return zero or Found(None, "; ".join(f"{one.says} {one.why}" for one in why) or "its chassis gives no power")

    async def _by(self, kind: str, machine: Machine) -> Found:
        try:
            if kind == "environment":
                return of_environment(await self._link.get(machine.environment))
            if kind == "power":
                power = await self._link.get(machine.power)
                found = of_power_control(power)
                return _first(found, of_supplies(power)) if found.w is None and "PowerSupplies" in power else found
            if self._supplies is None:
                self._supplies = await supplies(self._link.get, machine.subsystem)
            return summed([of_supply_metrics(await self._link.get(path)) for path in self._supplies], "InputPowerWatts")
        except HttpError as error:
            if error.status not in LACKS or kind == self._source:
                raise
            return Found(None, kind, "is not there")  # a link that leads nowhere

    async def _believed(self, machine: Machine, found: Found) -> Found:
        """A power of 0: true of a machine that is off."""
        state = is_on(await self._link.get(machine.system))
        if state is False:
            return found
        return Found(None, found.says, f"says 0 W, the system is {'on' if state else 'in an unknown state'}")

    # ── GPUs ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _gpu_paths(self) -> tuple[str, ...]:
        return () if self._machine is None else self._machine.gpus

    async def _read_gpus(self, machine: Machine) -> None:
        """The next few of them."""
        for _ in range(min(GPUS_A_READING, len(machine.gpus))):
            index = self._next_gpu % len(machine.gpus)
            self._next_gpu = index + 1
            path = machine.gpus[index]
            self._gpus[path] = await self._gpu(index, path)

    async def _gpu(self, index: int, path: str) -> BmcGpu:
        if path not in self._gpu_metrics:
            processor = await self._link.get(path)
            self._gpu_metrics[path] = processor, link(processor, "EnvironmentMetrics")
        processor, metrics = self._gpu_metrics[path]
        found = Found(None, "", "has no metrics")
        if metrics:
            found = of_environment(await self._link.get(metrics), MOST_GPU_W)
        uuid = uuid_given(text(processor, "UUID"))
        now_s = asyncio.get_running_loop().time()
        return BmcGpu(index, text(processor, "Model"), f"GPU-{uuid}" if uuid else "", found.w, now_s, found.why)


def _first(found: Found, other: Found) -> Found:
    """The second where it has a power; else the first with both reasons."""
    if other.w is not None:
        return other
    return Found(None, found.says, f"{found.why}; {other.says} {other.why}")
