"""Puts a gateway together: prices, drivers, recorder, planner, link; and what it remembers of its last run."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import msgspec

from dispatch.billing.prices import PriceSeries
from dispatch.control.controller import ControllerMemory
from dispatch.model.clock import Clock
from dispatch.model.events import Event
from dispatch.model.reservations import Reservation
from dispatch.planning.pipeline import LEARN_S, QUARTER_S
from drivers.clock import SystemClock
from drivers.devices import make_drivers
from drivers.tariffs.csv_file import TariffFileError, load
from drivers.twin.announcement import Announcement
from gateway import exit_codes
from gateway.api.peer import Peer
from gateway.api.protocol import VERSION, Published, Welcome
from gateway.api.queries import Requests
from gateway.api.reservation_commands import ReservationCommands
from gateway.api.roles import Roles, UnknownGroup
from gateway.api.server import LinkServer
from gateway.control_loop import Gateway
from gateway.drill_scheduler import STATE as DRILLS
from gateway.drill_scheduler import DrillClock
from gateway.energy_iq_service import IqKeeper
from gateway.errors import SocketInUse, StartRefused
from gateway.planning_service import PlanKeeper
from gateway.site import paths
from gateway.site.schema import Site
from storage import audit_reader
from storage.audit import AuditLog
from storage.config import DISPATCH
from storage.drills import DrillRecord
from storage.identity import establish
from storage.reader import Archive, NoRecords, QueryTimeout
from storage.recorder import Recorder

RECORD_OPEN_S = 2.0

log = logging.getLogger("skerry.assembly")


async def assemble(
    site: Site, state_dir: Path, twin: Announcement | None
) -> tuple[Gateway, LinkServer, Requests, Recorder]:
    """Everything a running site needs, wired; nothing ticks yet. Raises StartRefused."""
    clock: Clock = SystemClock() if twin is None else twin.clock
    prices, price_trouble = _prices(site)
    memory, memory_trouble = _remembered(state_dir)
    identity, identity_said = establish(state_dir)
    recorder = Recorder(state_dir, site.storage, _boot_id(), deadband_w=site.rules.deadband_w, clock=clock)
    recorder.wait_open(RECORD_OPEN_S)  # a new file is made by imports that would hold up the first ticks
    drivers = make_drivers(site.meter, site.pcs, site.pv, site.switch, site.node, site.io, _resolver(twin), clock)
    started_utc_s = clock.utc_s()
    holder: list[Requests] = []

    def welcome(peer: Peer) -> Welcome:
        return Welcome(
            version=VERSION,
            site=site.site.name,
            timezone=site.site.timezone,
            user=peer.user,
            pid=os.getpid(),
            started_utc_s=started_utc_s,
            speed=clock.speed,
            simulated=twin is not None,
            rate_hz=site.gateway.rate_hz,
            limits=_limits(site),
            demand=site.tariff.demand,
            state_dir=str(state_dir.resolve()),
            identity=identity,
        )

    link = LinkServer(paths.socket_path(site.path), welcome, lambda peer, request: holder[0].handle(peer, request))
    planner = PlanKeeper(site, prices, link.consoles.set_plan)
    reserved = _reserved(state_dir, started_utc_s)
    planner.reserve(reserved)  # first: what they drew of the past is not to be learnt as load that stays
    planner.learn(*_past(state_dir, started_utc_s))

    def announce(event: Event) -> None:
        link.consoles.announce(event)

    def publish(published: Published) -> None:
        link.consoles.publish(published)

    gateway = Gateway(site, clock, drivers, recorder, prices, publish, announce, planner)
    gateway.consoles = lambda: link.consoles.count
    left, cut_short = _left_in_force(state_dir)
    gateway.iq = IqKeeper(site.dispatch, prices, state_dir, recorder.save_state)
    recorder.save_state(DISPATCH, msgspec.to_builtins(site.dispatch))
    audit = AuditLog(state_dir, f"{_boot_id()}/{os.getpid()}", clock)
    roles = Roles(site.roles, os.getuid())
    commands = ReservationCommands(gateway, roles, audit)
    holder.append(Requests(gateway, state_dir, commands))
    if memory is not None:
        gateway.controller.restore(memory)
        for node in memory.caps.nodes:
            gateway.hands.free(node)
    try:
        await link.start(roles.viewers_gid())
    except (SocketInUse, UnknownGroup) as error:
        recorder.close()
        audit.close()
        if isinstance(error, UnknownGroup):
            raise StartRefused(str(error), exit_codes.USAGE) from None
        raise StartRefused(str(error), exit_codes.ALREADY_RUNNING) from None
    except OSError as error:
        recorder.close()
        audit.close()
        raise StartRefused(
            f"{error.filename or paths.socket_path(site.path)}: {error.strerror}", exit_codes.FAILED
        ) from None
    commands.begin(left)
    commands.adopt_drills(_last_drill(state_dir), cut_short)
    if site.drills.schedule:
        clockwork = DrillClock(gateway, commands, _kept(state_dir, DRILLS))
        gateway.beside.append(("schedule of drills", clockwork.run))
    commands.keep(reserved)
    for line in identity_said:
        gateway.event("gateway", "info" if identity.kept else "warning", "identity", line)
    if memory_trouble:
        gateway.event("gateway", "warning", "memory", memory_trouble)
    if price_trouble:
        gateway.event("gateway", "warning", "tariff", price_trouble)
    return gateway, link, holder[0], recorder


def _prices(site: Site) -> tuple[PriceSeries, str]:
    """The tariff's prices; without usable ones an empty series and a line saying so: the rules run without prices."""
    empty = PriceSeries((), (), 0)
    if not site.tariff.file:
        return empty, "no [tariff] file: planning without prices"
    try:
        return load(site.tariff.file, site.path.parent), ""
    except (TariffFileError, OSError) as error:
        return empty, f"planning without prices: {error}"


def _resolver(twin: Announcement | None) -> Any:
    def resolve(device_id: str, url: str, unit: int) -> tuple[str, int, int]:
        if url == "twin":
            assert twin is not None
            if device_id not in twin.endpoints:
                there = ", ".join(sorted(twin.endpoints))
                raise StartRefused(f"the twin serves no device {device_id!r}; it has {there}", exit_codes.DEVICE)
            return twin.endpoints[device_id]
        host, port = url.removeprefix("tcp://").rsplit(":", 1)
        return host, int(port), unit

    return resolve


def _limits(site: Site) -> dict[str, float]:
    config = site.dispatch
    return {
        "fuse_w": config.grid.fuse_w,
        "contracted_peak_w": config.grid.contracted_peak_w,
        "export_limit_w": config.grid.export_limit_w,
        "charge_w": config.charge_w,
        "discharge_w": config.discharge_w,
        "energy_kwh": config.energy_kwh,
        "reserve_soc_pct": config.reserve_soc_pct,
        "soc_min_pct": max((b.soc_min_pct for b in config.batteries), default=0.0),
        "discharge_efficiency": min((b.discharge_efficiency for b in config.batteries), default=1.0),
        "critical_load_w": config.reserve.critical_load_w,
        "pv_peak_w": sum(p.peak_w for p in site.pv),
        "demand_eur_per_kw_month": config.tariff.demand_eur_per_kw_month,
        "stale_after_s": site.io.stale_after_s,
        "order_max_s": site.orders.max_s,
    }


def _remembered(state_dir: Path) -> tuple[ControllerMemory | None, str]:
    """What the controller wrote down last time, if there is a record; and why not, if it cannot be read."""
    archive = Archive(state_dir)
    try:
        state = archive.last_state("controller")
        return None if state is None else msgspec.convert(state, ControllerMemory), ""
    except NoRecords:
        return None, ""
    except (QueryTimeout, msgspec.DecodeError) as error:
        return None, f"what the controller remembered cannot be read, it starts anew: {error}"
    finally:
        archive.close()


def _kept(state_dir: Path, key: str) -> Any:
    """What is on record under a key; None when there is nothing, or it cannot be read."""
    archive = Archive(state_dir)
    try:
        return archive.last_state(key)
    except (NoRecords, QueryTimeout, msgspec.DecodeError):
        return None
    finally:
        archive.close()


def _left_in_force(state_dir: Path) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Orders and a drill that a gateway before this one began and did not live to end."""
    try:
        return audit_reader.left_in_force(state_dir), audit_reader.drill_cut_short(state_dir)
    except NoRecords:
        return [], None


def _last_drill(state_dir: Path) -> DrillRecord | None:
    """The last drill on record."""
    archive = Archive(state_dir)
    try:
        return next(iter(archive.drills(1)), None)
    except NoRecords:
        return None
    except (QueryTimeout, msgspec.DecodeError) as error:
        log.warning("the last drill's report cannot be read: %s", error)
        return None
    finally:
        archive.close()


def _reserved(state_dir: Path, utc_s: float) -> list[Reservation]:
    """Reservations that a gateway before this one granted and whose time is not up."""
    try:
        return msgspec.convert(audit_reader.reservations(state_dir, utc_s), list[Reservation])
    except NoRecords:
        return []


def _past(state_dir: Path, now_utc_s: float) -> tuple[dict[int, float], dict[int, float]]:
    """Quarter-hour means of load and PV of the last days on record, keyed by their start; empty on a new site."""
    end_s = int(now_utc_s // QUARTER_S) * QUARTER_S
    archive = Archive(state_dir, timeout_s=5.0)
    try:
        history = archive.history(["site_load.w", "pv.w"], end_s - LEARN_S, end_s, QUARTER_S)
    except (NoRecords, QueryTimeout):
        return {}, {}
    finally:
        archive.close()
    load_w, pv_w = (
        {int(t): max(0.0, w) for t, w in zip(history["t"], history["signals"][name], strict=True) if w is not None}
        for name in ("site_load.w", "pv.w")
    )
    return load_w, pv_w


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"boot-{time.time_ns() - time.monotonic_ns()}"
