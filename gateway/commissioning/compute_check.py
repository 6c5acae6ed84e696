"""`skerry compute check`: what Skerry would read of each compute node and scheduler, from where, and what it may order.

It writes nothing. While a gateway of the site runs, it is asked for what it reads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from dispatch.config.schema import CapsConfig, NodeTerms
from dispatch.model.equipment import DeviceHealth, Limit, Meter, Node
from dispatch.model.jobs import QueueNow
from dispatch.model.node_lists import NodeListNow
from dispatch.model.snapshot import Snapshot
from dispatch.power_caps.pricing import HOW, member_of, tier_pct
from dispatch.wording.catalogue import words
from dispatch.wording.formatting import kw
from drivers.clock import SystemClock
from drivers.http.turns import at_once
from drivers.node_config import NodeDevice
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.reader import reader_of
from drivers.schedulers.slurm_comments import site_mark
from drivers.schedulers.slurm_licences import reservation_name
from gateway.commissioning.device_access import gateway_of, opened, published_nodes, sampled
from gateway.list_asking import answer_of, asking
from gateway.node_lists import NodeLists
from gateway.queues_in_force import QueuesInForce
from gateway.site.schema import Site

ROUNDS, EVERY_S = 3, 3.0  # a power by counters needs two readings, some seconds apart
BMC_S = 60.0  # for the first reading of every BMC: what it is has to be found out, by some ten slow requests


class NodeReport(msgspec.Struct, frozen=True):
    """One node. `read_from`: where its readings come from; `may`: what it may be ordered, and by what; empty: nothing.

    `never`: what its section names and it is never ordered, and why; `error`: why it is not read; empty: it is.
    `cap_cost`: how deep its tier lets caps for the peak go, and what that costs; empty: GPU-hours have no price.
    """

    id: str
    read_from: tuple[str, ...]
    may: tuple[str, ...]
    node: Node
    error: str = ""
    never: str = ""
    cap_cost: str = ""

    @property
    def complete(self) -> bool:
        """Whether it answers and its power is known."""
        return not self.error and self.node.w.good is not None


class QueueReport(msgspec.Struct, frozen=True):
    """One scheduler. `read_by`: the command or the cluster; `may`: what is changed in it; empty: nothing."""

    id: str
    read_by: str
    queue: QueueNow
    may: str = ""


def check_queues(site: Site) -> tuple[QueueReport, ...]:
    """Every scheduler's queue, read once now, whether a gateway runs or not: reading one disturbs nobody."""
    return asyncio.run(_read_queues(site))


async def _read_queues(site: Site) -> tuple[QueueReport, ...]:
    return tuple(await asyncio.gather(*(_read_queue(site, scheduler) for scheduler in site.scheduler)))


async def _read_queue(site: Site, scheduler: Scheduler) -> QueueReport:
    queues, directory = QueuesInForce([scheduler]), site.path.parent
    try:
        read = await reader_of(scheduler, site.kubernetes, directory).read(at_once)
        queues.take(scheduler.id, read, time.time())
    except QueueNotRead as error:
        queues.refuse(scheduler.id, str(error))
    (now,) = queues.now()
    return QueueReport(scheduler.id, scheduler.read_by(directory), now, _changes(site, scheduler))


def _changes(site: Site, scheduler: Scheduler) -> str:
    """What a gateway would change in a scheduler; empty: nothing."""
    scontrol, changes = " ".join(scheduler.scontrol), list[str]()
    if scheduler.admit and scheduler.kind != "slurm":
        what = "a quota of units" if scheduler.kind == "kueue" else "a limit of frames"
        changes.append(f"set {what} of {scheduler.limit_unit_w:g} W by {' '.join(scheduler.limit)}")
    elif scheduler.admit:
        name = reservation_name(site.site.name)
        changes.append(f"keep licences {scheduler.license} back by the reservation {name}, by {scontrol}")
    if scheduler.tell_owners:
        told = "for which power it waits or to what it is capped" if scheduler.admit else "to what it is capped"
        mark = site_mark(site.site.name).strip()
        changes.append(f"tell owners {told}, in AdminComment of a job, after {mark}, by {scontrol}")
    if scheduler.tell:
        changes.append(f"tell owners to what their job is capped, by {' '.join(scheduler.tell)}")
    return "; ".join(changes)


def check(site: Site) -> tuple[str, tuple[NodeReport, ...], tuple[NodeListNow, ...], float]:
    """Who read ("gateway" or "check"), each node of the site, each list of nodes that may change, and the time there.

    Takes up to 20 s without a gateway, with BMCs up to 80 s, and as long as its slowest list. Raises DevicesInUse,
    StartRefused, LinkLost.
    """
    with gateway_of(site) as link:
        if link is not None:
            snapshot, lists = published_nodes(link)
            return "gateway", reports(_as_read(site, snapshot, lists), snapshot), lists, snapshot.utc_s
    return ("check", *asyncio.run(_check(site)), time.time())


async def _check(site: Site) -> tuple[tuple[NodeReport, ...], tuple[NodeListNow, ...]]:
    lists, ask = NodeLists(site, SystemClock()), asking(site.kubernetes, site.path.parent)
    for answer in await asyncio.gather(*(answer_of(n, site.nodes[n], ask) for n in lists.asked)):
        lists.take(answer)
    now = replace(site, nodes=tuple(replace(group, names=lists.names_of(n)) for n, group in enumerate(site.nodes)))
    return reports(now, await _read(now)), lists.now()


def _as_read(site: Site, snapshot: Snapshot, lists: Sequence[NodeListNow]) -> Site:
    """The site with the nodes that the gateway's groups have: a snapshot has them in the order of the groups."""
    counts, at, groups = {one.group: one.nodes for one in lists}, len(site.node), []
    for n, group in enumerate(site.nodes):
        ends = at + counts.get(f"nodes[{n}]", len(group.names))
        groups.append(replace(group, names=tuple(node.id for node in snapshot.nodes[at:ends])))
        at = ends
    return replace(site, nodes=tuple(groups))


def only_nodes(site: Site) -> Site:
    """The site without its other devices, so that neither their twin nor their certificates are needed."""
    return replace(site, meter=(), pcs=(), battery=(), pv=(), switch=(), contact=(), ups=(), tls=None)


async def _read(site: Site) -> Snapshot:
    async with opened(only_nodes(site)) as (drivers, clock):
        nodes = [driver for driver in drivers if driver.kind == "node"]
        if not nodes:
            return Snapshot(seq=0, utc_s=clock.utc_s(), mono_s=clock.mono_s(), grid=Meter(""))
        bmcs = [bmc for driver in nodes if (bmc := getattr(driver, "bmc", None)) is not None]
        await asyncio.gather(*(bmc.first(BMC_S) for bmc in bmcs))
        return (await sampled(site, nodes, clock, ROUNDS, EVERY_S))[-1]


def reports(site: Site, snapshot: Snapshot) -> tuple[NodeReport, ...]:
    """Every node of the site file as the snapshot shows it."""
    nodes = {node.id: node for node in snapshot.nodes}
    health = {device.id: device for device in snapshot.devices if device.kind == "node"}
    grouped = {name for group in site.nodes for name in group.names}
    return tuple(
        _report(
            config, nodes.get(config.id, Node(config.id)), health.get(config.id), config.id not in grouped, site.caps
        )
        for config in site.every_node
    )


def _report(config: NodeDevice, node: Node, health: DeviceHealth | None, ordered: bool, caps: CapsConfig) -> NodeReport:
    gpus = node.gpus_total or len(node.gpus)
    never = f"suspended: it shows {gpus} {'GPU' if gpus == 1 else 'GPUs'}" if config.terms.can_suspend and gpus else ""
    may = _may(config, node, suspend=not never) if ordered else ()
    cap_cost = _cap_cost(config.terms, node, caps) if ordered else ""
    return NodeReport(config.id, _read_from(config), may, node, _error(health), never, cap_cost)


def _cap_cost(terms: NodeTerms, node: Node, caps: CapsConfig) -> str:
    """How deep a node may be capped for the peak now, and what that costs its users."""
    if caps.price_eur_per_gpu_hour is None or caps.max_share <= 0 or terms.critical or terms.cap_w is None:
        return ""
    pct = tier_pct(terms, caps)
    tier = "no tier" if pct is None else f"tier {pct} %"
    if pct == 0:
        return f"{tier}: not capped for the peak"
    if node.w.good is None:
        return f"{tier}: what a cap would cost is not known, nor is its power"
    member = member_of(node, terms, caps, node.w.good, pct)
    highest_w, lowest_w = max(member.gpus_w), member.lowest_w()
    if lowest_w >= highest_w:
        return f"{tier}: draws {kw(node.w.good)}, too little for a cap for the peak"
    down = f"{tier}: capped for the peak from {kw(node.w.good)} to {kw(member.cap_w(lowest_w))} at the least"
    if member.curve is None:
        return f"{down}; without GPUs that costs energy only"
    loss, known = member.curve.under_limit(lowest_w, highest_w), words(HOW[member.curve.basis])
    return f"{down}, {lowest_w:.0f} W a GPU; then {100 * loss:.0f} % slower {known}"


def _error(health: DeviceHealth | None) -> str:
    if health is None:
        return "not read"
    return "" if health.online else health.error or "has not answered yet"


def _read_from(config: NodeDevice) -> tuple[str, ...]:
    outlets = (f"outlets {', '.join(config.outlets)}",) if config.outlets else ()
    if config.bmc:
        outlets = (*outlets, f"BMC {config.bmc}{f', system {config.bmc_system}' if config.bmc_system else ''}")
    if config.source == "exporters":
        return (*outlets, *config.exporters)
    if config.source == "prometheus":
        return (*outlets, f"Prometheus {config.prometheus}, {config.match or config.id}")
    if config.source == "modbus":
        return (f"{config.url} unit {config.unit}, map skerry-node",)
    own = {"psutil": "this machine, CPU use", "nvml": "this machine, NVML and CPU use"}
    return outlets or (own[config.source],)


def _may(config: NodeDevice, node: Node, suspend: bool) -> tuple[str, ...]:
    """What dispatch may order it, by the same terms as dispatch sees."""
    terms, found = config.terms, list[str]()
    if terms.can_stop_starts:
        found.append(f"stop new starts by {_by(config.on_stop_starts, config.source)}")
    if terms.cap_w is not None:
        found.append(f"cap to {terms.cap_w / 1000:g} kW by {_capped_by(config, node.limit)}")
    if config.on_checkpoint:
        found.append(f"tell its jobs to save by {_by(config.on_checkpoint, config.source)}")
    if terms.can_requeue:
        later = f", {terms.checkpoint_s:g} s later" if terms.checkpoint_s else ""
        found.append(f"requeue its jobs by {_by(config.on_requeue, config.source)}{later}")
    if terms.can_suspend and suspend:
        cgroup = bool(config.freeze) and not config.on_suspend
        found.append(f"suspend by {f'cgroup {config.freeze}' if cgroup else _by(config.on_suspend, config.source)}")
    if terms.can_power_off:
        found.append(f"power off once empty by {_by(config.on_power_off, config.source)}")
    if terms.can_shutdown:
        found.append(f"shut down by {_by(config.on_shutdown, config.source)}")
    return tuple(found)


def _capped_by(config: NodeDevice, limit: Limit | None) -> str:
    """What caps it; of a BMC also what it allows and what is set now."""
    if not config.cap_by:
        return _by(config.on_cap, config.source)
    if limit is None or limit.why:
        return f"its BMC, not possible now: {'it is not read' if limit is None else limit.why}"
    bounds = [f"{word} {w / 1000:g} kW" for word, w in (("from", limit.low_w), ("to", limit.high_w)) if w is not None]
    held = "no limit set" if limit.w.value is None else f"{limit.w.value / 1000:g} kW set"
    return f"its BMC ({', '.join([*([' '.join(bounds)] if bounds else []), f'{held} now'])})"


def _by(command: Sequence[str], source: str) -> str:
    if command:
        return f"the command {command[0]}"
    return "NVML power limits" if source == "nvml" else "its register map"
