"""Makes what a gateway needs of this machine, composes it, opens its link, and takes over from earlier runs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

import storage.proofs
from dispatch.billing.charges.energy_prices import uses_market
from dispatch.config.battery_ratings import lowest_soc_pct, reserve_soc_pct, worst_efficiency
from dispatch.config.schema import DispatchConfig
from dispatch.control.controller import Controller, ControllerMemory
from dispatch.control.fallback import revert_values
from dispatch.control.pv_curtailment import fallback_limits
from dispatch.model.balancing import BalanceMemory
from dispatch.model.clock import Clock, ClockState
from dispatch.model.proofs import Proofs
from drivers.clock import SystemClock
from drivers.maps.found_modes import FoundModes
from drivers.nodes.bmc_limits import KeptLimits
from drivers.nodes.known_gpus import KnownGpus
from drivers.tariffs.acceptance import accepted
from drivers.tariffs.csv_file import PriceFile, TariffFileError, read
from drivers.twin.announcement import Announcement
from gateway.api.peer import Peer
from gateway.api.protocol import VERSION, Welcome
from gateway.api.roles import Roles
from gateway.balance_history import read_balanced
from gateway.composition import Gateway, compose_gateway
from gateway.controller_memory import ControllerMemorySaver, MemoryNotRead, latch_contacts, read_memory
from gateway.daemon_thread import in_daemon_thread, may_hang
from gateway.errors import StartRefused
from gateway.found_mode_record import found_modes_not_read, open_found_modes
from gateway.left_orders import undo_left_orders
from gateway.limit_records import bmc_limits_not_read, gpus_not_read, open_bmc_limits, open_gpu_record
from gateway.link_opening import LinkOpening
from gateway.previous_run import PreviousRun, read_previous_run
from gateway.prices_in_force import PricesInForce
from gateway.proofs_in_force import ProofsInForce
from gateway.site import paths
from gateway.site.schema import Site
from gateway.site_clock import SiteClock
from gateway.site_devices import drivers_of
from gateway.state_directory import StateDirectory
from gateway.task_supervisor import Work
from storage.audit import AuditLog
from storage.ballast import Ballast
from storage.config import DISPATCH
from storage.recorder import Recorder

log = logging.getLogger("skerry.gateway")

SUNSPEC = "sunspec"  # the driver of a PCS without a map
RECORD_OPEN_S = 2.0
RECORD_LOOK_S = 0.05
PRICES_S = 3.0  # for the price file, which may be on another machine's disk
START_READ_S = 8.0  # what earlier runs left is read in this time, or not at all
NOT_READ = "until it is read, month's peak, islanding fault and capped nodes are not known, and none are saved"


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the state directory held when the gateway started."""

    memory: ControllerMemory | None = None
    memory_not_read: bool = False  # there may be one
    balanced: dict[str, BalanceMemory] = {}  # by the record: batteries of which the memory does not tell
    memory_lost: bool = False  # there was one, and it is damaged
    known_gpus: KnownGpus
    bmc_limits: KeptLimits
    found_modes: FoundModes  # of PCS that were commanded by their map
    left: PreviousRun = PreviousRun()
    proofs: Proofs = Proofs()
    remarks: tuple[tuple[str, str], ...] = ()  # subject and text, for the log


async def assemble(
    site: Site, state: StateDirectory, twin: Announcement | None, after_tick: Callable[[int], None]
) -> Gateway:
    """A site's gateway on this machine; its link listens, nothing ticks yet. Raises StartRefused."""
    clock: Clock = SiteClock(SystemClock()) if twin is None else twin.clock
    prices, price_remarks = _prices(site)
    ballast = Ballast(state.path, site.storage.ballast_mb)
    recorder = Recorder(
        state.path,
        site.storage,
        _boot_id(),
        deadband_w=site.rules.deadband_w,
        clock=clock,
        source=lambda: (UUID(state.identity.site), UUID(state.identity.incarnation)),
        ballast=ballast,
    )
    found = _found(state, site.dispatch, recorder, clock, ballast)
    recorder.save_state(DISPATCH, msgspec.to_builtins(site.dispatch))
    controller = Controller(site.dispatch)
    if found.memory is not None:
        controller.restore(found.memory)
    controller.balance.restore(found.balanced)
    saver = ControllerMemorySaver(controller, recorder, held=found.memory_not_read)
    roles = Roles(site.roles, os.getuid())
    link = LinkOpening(roles)

    def trouble() -> str:
        return state.trouble

    run = f"{_boot_id()}/{os.getpid()}"
    proofs = ProofsInForce(
        {pcs.id: Path(pcs.map).stem if pcs.map else SUNSPEC for pcs in site.pcs},
        lambda kept: storage.proofs.write(state.path, kept, ballast.with_room),
        ZoneInfo(site.site.timezone),
    )
    proofs.adopt(found.proofs)
    audit = AuditLog(state.path, run, clock, ballast=ballast)
    gateway = compose_gateway(
        site=site,
        state_dir=state.path,
        clock=clock,
        drivers=drivers_of(
            site,
            twin,
            clock,
            known_gpus=found.known_gpus,
            revert_w=revert_values(site.dispatch) | fallback_limits(site.dispatch),
            found_modes=found.found_modes,
            proven=proofs.proven,
            observed=False,
        ),
        known_gpus=found.known_gpus,
        bmc_limits=found.bmc_limits,
        controller=controller,
        recorder=recorder,
        audit=audit,
        prices=prices,
        roles=roles,
        left=found.left,
        socket=paths.socket_path(site.path),
        welcome=_welcome(site, clock, state, simulated=twin is not None),
        after_tick=(after_tick, saver.after_tick),
        directory_trouble=trouble,
        clock_state=clock.state if isinstance(clock, SiteClock) else ClockState,
        access_trouble=lambda: link.trouble,
        proofs=proofs,
        identity=lambda: state.identity.site,
    )
    nodes = gateway.devices.commands
    saver.keep_nodes(lambda: nodes.may_hold)
    undo = partial(undo_left_orders, nodes, gateway.events, site.dispatch)
    late = partial(_adopt_late, gateway, proofs, state.path, run)
    work: list[Work] = [
        *([("clock", clock.run)] if isinstance(clock, SiteClock) else []),
        ("link", partial(link.complete, gateway.link, gateway.events)),
        ("state directory", partial(state.run, gateway.events)),
        ("memory", partial(saver.recover, state.path, trouble, gateway.events, undo, late)),
    ]
    if found.memory is not None:
        undo(found.memory)
    if found.memory_lost:
        latch_contacts(controller, gateway.events)
    try:
        await link.open(gateway.link)
    except StartRefused:
        recorder.close()
        audit.close()
        raise
    gateway = replace(gateway, background=(*gateway.background, *work), save_memory=saver.save)
    gateway.drills.set_known(not found.memory_not_read)
    _taken_over(gateway, partial(gateway.adopt, found.left))
    _tell_identity(gateway, state)
    without = ("GPUs", _gpus_without_node(site, found.known_gpus)), ("BMCs", _bmcs_without_node(site, found.bmc_limits))
    for subject, text in (*found.remarks, *without):
        if text:
            gateway.events.event("gateway", "warning", subject, text)
    if state.trouble:
        state.tell(gateway.events)
    for line in price_remarks:
        gateway.events.event("gateway", "warning", "tariff", line)
    return gateway


def _tell_identity(gateway: Gateway, state: StateDirectory) -> None:
    """What the start has found of the site's identity: that it was restored or copied shows in the audit, too."""
    for line in state.notes:
        gateway.events.event("gateway", "info" if state.identity.kept else "warning", "identity", line)
        if state.identity.kept:
            gateway.audit.spool({"kind": "identity", "who": "gateway", "text": line})


def _found(
    state: StateDirectory, dispatch: DispatchConfig, recorder: Recorder, clock: Clock, ballast: Ballast
) -> _Found:
    """What the state directory holds, once the recorder has opened its file; nothing where the disk does not answer."""
    why = state.trouble
    if state.answers:
        try:
            read = partial(_read, state.path, dispatch, recorder, clock, ballast)
            found = in_daemon_thread(read).result(START_READ_S)
            there_may_be_one = found.memory is None and bool(why)  # in the directory that is not in place yet
            return msgspec.structs.replace(found, memory_not_read=found.memory_not_read or there_may_be_one)
        except TimeoutError:
            why = f"it was not read within {START_READ_S:g} s"
    text = f"what earlier runs left in {state.path} is not known: {why}"
    return _Found(
        memory_not_read=True,
        known_gpus=gpus_not_read(why),
        bmc_limits=bmc_limits_not_read(why),
        found_modes=found_modes_not_read(why),
        remarks=(("memory", f"{text}; {NOT_READ}"),),
    )


def _read(state_dir: Path, dispatch: DispatchConfig, recorder: Recorder, clock: Clock, ballast: Ballast) -> _Found:
    deadline_s = time.monotonic() + RECORD_OPEN_S  # a new file is made by imports that would hold up the first ticks
    while not (recorder.wait_open(RECORD_LOOK_S) or recorder.error or time.monotonic() > deadline_s):
        continue
    memory, not_read = None, False
    try:
        memory, memory_error = read_memory(state_dir)
    except MemoryNotRead as error:
        not_read, memory_error = True, f"what the controller remembered cannot be read now: {error}; {NOT_READ}"
    if memory is not None and memory.billing.saved_utc_s is not None and isinstance(clock, SiteClock):
        clock.not_before(memory.billing.saved_utc_s)
    known_gpus, gpu_note = open_gpu_record(state_dir, ballast)
    bmc_limits, bmc_note = open_bmc_limits(state_dir, ballast)
    proofs, proofs_error = _proofs(state_dir)
    found_modes, modes_note = open_found_modes(state_dir, ballast)
    remarks = [
        ("memory", memory_error),
        ("GPUs", gpu_note),
        ("BMCs", bmc_note),
        ("proofs", proofs_error),
        ("devices", modes_note),
    ]
    kept = {} if memory is None else memory.balance
    balanced, balanced_error = read_balanced(state_dir, dispatch, clock.utc_s(), kept)
    remarks.append(("memory", balanced_error))
    left = read_previous_run(state_dir, clock.utc_s())
    remarks += [("memory", f"what an earlier run left cannot be read: {line}") for line in left.not_read]
    return _Found(
        memory=memory,
        memory_not_read=not_read,
        balanced=balanced,
        memory_lost=not not_read and memory is None and (bool(memory_error) or recorder.replaced),
        known_gpus=known_gpus,
        bmc_limits=bmc_limits,
        found_modes=found_modes,
        left=left,
        proofs=proofs,
        remarks=tuple(remarks),
    )


def _proofs(state_dir: Path) -> tuple[Proofs, str]:
    """What has been proven, and why that is not known; a device without a proof is commanded with care."""
    try:
        return storage.proofs.read(state_dir), ""
    except storage.proofs.ProofsNotRead as error:
        return Proofs(), str(error)


async def _adopt_late(gateway: Gateway, proofs: ProofsInForce, state_dir: Path, run: str) -> None:
    """Take over what earlier runs left, which could not be read at the start: orders, drills, reservations."""
    left = await may_hang(read_previous_run, state_dir, gateway.clock.utc_s(), run)
    _taken_over(gateway, partial(gateway.adopt_late, left))
    kept, error = await may_hang(_proofs, state_dir)
    proofs.adopt(kept)
    if error:
        gateway.events.event("gateway", "warning", "proofs", error)
    for line in left.not_read:
        gateway.events.event("gateway", "warning", "memory", f"what an earlier run left cannot be read: {line}")


def _gpus_without_node(site: Site, known: KnownGpus) -> str:
    """What to do about GPUs that an earlier run capped and that no node of the site file stands for any more."""
    if not known.capped or any(node.source == "nvml" for node in site.node):
        return ""
    limits = known.record.original_mw.items()
    commands = ", ".join(f"`nvidia-smi -i {uuid} -pl {mw / 1000:g}`" for uuid, mw in limits)
    return f'GPUs may still be capped, and no [[node]] has source = "nvml": lift the caps by {commands}'


def _bmcs_without_node(site: Site, kept: KeptLimits) -> str:
    """What to do about limits that an earlier run set in BMCs, of nodes that the site file no longer caps that way."""
    here = {node.id for node in site.node if node.cap_by}
    limits = [f"{id}: {own}" for id, own in kept.own_limits().items() if id not in here]
    if not limits:
        return ""
    return f"power limits may still be set in BMCs of nodes without cap_by: put back by hand {', '.join(limits)}"


def _taken_over(gateway: Gateway, adopt: Callable[[], None]) -> None:
    """Take over what earlier runs left. A row that nobody foresaw ends neither the start nor a later try."""
    try:
        adopt()
    except Exception:
        log.exception("what earlier runs left cannot be taken over")
        text = "what earlier runs left cannot be taken over: the log of the gateway says why"
        gateway.events.event("gateway", "alarm", "memory", text)


def _welcome(site: Site, clock: Clock, state: StateDirectory, *, simulated: bool) -> Callable[[Peer], Welcome]:
    """The gateway's first words to each client."""
    started_utc_s, limits = clock.utc_s(), site_limits(site)

    def welcome(peer: Peer) -> Welcome:
        return Welcome(
            version=VERSION,
            site=site.site.name,
            timezone=site.site.timezone,
            user=peer.user,
            pid=os.getpid(),
            started_utc_s=started_utc_s,
            speed=clock.speed,
            simulated=simulated,
            rate_hz=site.gateway.rate_hz,
            limits=limits,
            demand=site.tariff.demand,
            state_dir=os.path.abspath(state.path),
            identity=state.identity,
        )

    return welcome


def _prices(site: Site) -> tuple[PricesInForce, tuple[str, ...]]:
    """The tariff's prices, and what must be said of them. Without usable ones there are none: the rules run without."""
    if not uses_market(site.tariff):
        return PricesInForce(), ()
    if not site.tariff.file:
        return PricesInForce(), () if site.tariff.feed else ("no [tariff] file: planning without prices",)

    def from_file() -> PriceFile:
        return accepted(
            read(site.tariff.file, site.path.parent, site.tariff.file_terms), site.tariff.prices_as_declared
        )

    try:
        found = in_daemon_thread(from_file).result(PRICES_S)
    except TimeoutError:
        why = f"{site.tariff.file}: not read within {PRICES_S:g} s"
    except (TariffFileError, OSError) as error:
        why = str(error)
    else:
        return PricesInForce(found.prices), tuple(f"{site.tariff.file}: {remark}" for remark in found.remarks)
    return PricesInForce(error=why), (f"planning without prices: {why}",)


def site_limits(site: Site) -> dict[str, float]:
    """What a gateway tells its consoles of the site file; of each battery "<id>.energy_kwh"."""
    config = site.dispatch
    return {
        "fuse_w": config.grid.fuse_w,
        "contracted_peak_w": config.grid.contracted_peak_w,
        "export_limit_w": config.grid.export_limit_w,
        "charge_w": config.charge_w,
        "discharge_w": config.discharge_w,
        "energy_kwh": config.energy_kwh,
        "reserve_soc_pct": reserve_soc_pct(config),
        "soc_min_pct": lowest_soc_pct(config),
        "discharge_efficiency": worst_efficiency(config).discharge,
        "critical_load_w": config.reserve.critical_load_w,
        "pv_peak_w": sum(p.peak_w for p in site.pv),
        "demand_eur_per_kw_month": config.tariff.demand_eur_per_kw_month,
        "stale_after_s": site.io.stale_after_s,
        "order_max_s": site.orders.max_s,
        **({} if config.genset is None else {"genset_w": config.genset.rated_w}),
        **{f"{b.id}.energy_kwh": b.energy_kwh for b in config.batteries},
    }


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"boot-{time.time_ns() - time.monotonic_ns()}"
