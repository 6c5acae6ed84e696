"""Composes a gateway of its parts: each is made once and given, in its constructor, what it needs.

Knows no machine: clock, drivers, files and roles are handed in. `gateway.bootstrap` makes those of this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from dispatch.alarms.definitions import DEFINITIONS
from dispatch.alarms.states import AlarmBook
from dispatch.billing.peak_charges import main_charge, peak_charges
from dispatch.control.controller import Controller
from dispatch.control.fallback import revert_values
from dispatch.forecasting.pv_asleep import SleepingInverters
from dispatch.model.clock import Clock, ClockState
from dispatch.model.orders import OrderKind
from dispatch.model.reasons import Reason
from drivers.maps.meter import MapMeter
from drivers.maps.pcs import MapPcs
from drivers.node_config import NodeDevice
from drivers.nodes.bmc_limits import KeptLimits
from drivers.nodes.known_gpus import KnownGpus
from drivers.schedulers.reader import reader_of
from gateway.api.alarm_commands import AlarmCommands
from gateway.api.command_log import CommandLog
from gateway.api.consoles import Consoles
from gateway.api.device_commands import DeviceCommands
from gateway.api.dispatcher import Dispatcher
from gateway.api.event_commands import EventCommands
from gateway.api.fleet_queries import FleetQueries
from gateway.api.island_commands import IslandCommands
from gateway.api.job_queries import JobQueries
from gateway.api.notify_commands import NotifyCommands
from gateway.api.order_commands import OrderCommands
from gateway.api.peer import Peer
from gateway.api.permissions import urgent
from gateway.api.protocol import Welcome
from gateway.api.proving_commands import ProvingCommands
from gateway.api.queries import Queries
from gateway.api.queue_commands import QueueCommands
from gateway.api.reservation_commands import ReservationCommands
from gateway.api.roles import Roles
from gateway.api.server import LinkServer
from gateway.api.signal_commands import SignalCommands
from gateway.carbon_feed import CarbonService, carbon_service
from gateway.control_loop import ControlLoop
from gateway.daemon_thread import may_hang
from gateway.device_io import DeviceIo
from gateway.drill_scheduler import DrillScheduler
from gateway.drill_state import DrillState
from gateway.energy_iq_service import EnergyIqService
from gateway.event_sink import EventLog
from gateway.grid_events_in_force import GridEventsInForce
from gateway.job_accounting import JobAccounting, readings, scheduler_names
from gateway.job_starts import JobStarts
from gateway.node_lists import NodeLists
from gateway.orders_in_force import OrdersInForce
from gateway.outputs.running import outputs_of
from gateway.outputs.trouble import OutputTrouble
from gateway.owner_notes import OwnerNotes
from gateway.owner_telling import OwnerTelling, ways_to_tell
from gateway.parts_in_trouble import PartsInTrouble
from gateway.planning_service import PlanningService
from gateway.previous_run import PreviousRun
from gateway.price_feeds import PriceFeeds, fetches_prices
from gateway.price_watch import PriceWatch
from gateway.prices_in_force import PricesInForce
from gateway.proofs_in_force import ProofsInForce
from gateway.proving_service import ProvingService
from gateway.queue_forecast import seen
from gateway.queue_polling import QueuePolling
from gateway.queues_in_force import QueuesInForce
from gateway.recorded_market import RecordedMarket
from gateway.register_access import RegisterAccess
from gateway.reservations_in_force import ReservationsInForce
from gateway.signal_broker import SignalBroker
from gateway.signal_directory import SignalDirectory
from gateway.signals_in_force import SignalsInForce, site_limits
from gateway.site.schema import Site
from gateway.starts_in_trouble import StartsInTrouble
from gateway.supervised_calls import SupervisedCalls
from gateway.task_supervisor import Work
from gateway.weather_feed import WeatherFeed, weather_feed
from storage.audit import AuditLog
from storage.recorder import Recorder

# machine seconds that a call of each part may take before it counts as hung
ARCHIVE_S = 15.0  # a query ends itself after 2 s (`storage.reader`), unless the disk does not answer
IQ_S = 300.0  # a day's report on a slow machine; 20 s of them may be spent on reading
RESERVATIONS_S = 20.0
STARTS_S = 20.0
PRICES_S = 10.0
PROOFS_S = 60.0  # the figures of a proof on a slow machine
USERS_S = 3.0  # a command waits for it
SIGNALS_S = 10.0  # a signature, or a look at a directory


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """The parts of one site's running gateway."""

    site: Site
    clock: Clock
    events: EventLog
    recorder: Recorder
    audit: AuditLog
    controller: Controller
    devices: DeviceIo
    orders: OrdersInForce
    reservations: ReservationsInForce
    signals: SignalsInForce
    grid_events: GridEventsInForce
    drills: DrillState
    alarms: AlarmBook
    planner: PlanningService
    price_watch: PriceWatch
    iq: EnergyIqService
    loop: ControlLoop
    log: CommandLog
    island_commands: IslandCommands
    queries: Queries
    link: LinkServer
    prover: ProvingService
    background: tuple[Work, ...]
    job_starts: tuple[JobStarts, ...] = ()
    owner_telling: tuple[OwnerTelling, ...] = ()
    drill_scheduler: DrillScheduler | None = None
    price_feeds: PriceFeeds | None = None
    save_memory: Callable[[], None] = lambda: None  # of the controller, for the end

    async def run(self) -> None:
        """Tick until `loop.stop` is called."""
        await self.loop.run(self.background)

    def adopt(self, left: PreviousRun) -> None:
        """Put the start on record, and take over what earlier runs left. Before the first tick."""
        self.log.begin(self.site.site.name)
        self._take_over(left)

    def adopt_late(self, left: PreviousRun) -> None:
        """Take over what could not be read at the start. The load of past days is learnt anew: forecasts go forward."""
        self._take_over(left)
        self.signals.adopt(left.signals)
        self.grid_events.adopt(left.grid_events)
        self.iq.adopt(left.iq_reports)
        if self.price_feeds is not None:
            self.price_feeds.adopt(left.price_feed)
        if self.drill_scheduler is not None:
            self.drill_scheduler.adopt(left.drill_schedule)
        self.drills.set_known(True)

    def _take_over(self, left: PreviousRun) -> None:
        self.alarms.adopt(left.shelved, self.clock.utc_s(), self.clock.mono_s())
        self.orders.adopt_dropped(left.dropped_orders)
        self.orders.drop(left.orders)
        self.orders.note_stopped(left.stopped_orders)
        for body in left.orders:
            if body.get("order_kind") == OrderKind.NODE_CAP.value:
                self.devices.commands.release(body.get("target", ""))
        self.drills.adopt(left.last_drill, left.unfinished_drill)
        if left.unfinished_proof is not None:
            self.prover.end_killed(left.unfinished_proof)
        self.reservations.adopt(left.reservations)

    def reload_prices(self) -> None:
        """Read the price file again, and ask the feeds."""
        self.price_watch.reload()
        if self.price_feeds is not None:
            self.price_feeds.ask_now()

    def finish_commands(self) -> None:
        """End what commands have begun, and put the end of the run on record. After the last tick."""
        self.loop.interrupt_drill(Reason("drill.gateway_stopped"))
        self.prover.abort(Reason("prove.stopping"))
        self.orders.stop()
        self.signals.stop()
        self.log.finish()

    async def end_plans(self) -> None:
        """Wait for the plan and the report under way, each a few seconds at most; take away what owners were told."""
        await asyncio.gather(self.planner.close(), self.iq.close(), *(each.clear() for each in self.owner_telling))

    async def audit_closed(self) -> bool:
        """Whether every row is on the disk and the head is signed."""
        return await may_hang(self.audit.close)

    async def record_closed(self) -> bool:
        """Whether everything recorded is on the disk."""
        return await may_hang(self.recorder.close)

    async def close_devices(self) -> None:
        """Lift the power caps, then disconnect from every device; meanwhile put limits of job starts back."""
        ends = asyncio.gather(*(starts.end() for starts in self.job_starts))
        await self.devices.commands.lift_caps()
        await self.devices.close()
        await ends


def compose_gateway(
    *,
    site: Site,
    state_dir: Path,
    clock: Clock,
    drivers: Sequence[Any],
    controller: Controller,
    recorder: Recorder,
    audit: AuditLog,
    prices: PricesInForce,
    roles: Roles,
    left: PreviousRun,
    socket: Path,
    welcome: Callable[[Peer], Welcome],
    after_tick: Sequence[Callable[[int], None]] = (),
    known_gpus: KnownGpus | None = None,
    bmc_limits: KeptLimits | None = None,
    directory_trouble: Callable[[], str] = lambda: "",
    clock_state: Callable[[], ClockState] = ClockState,
    access_trouble: Callable[[], str] = lambda: "",
    proofs: ProofsInForce | None = None,
    identity: Callable[[], str] = lambda: "",
) -> Gateway:
    """Make every part and connect them. Nothing runs yet, and nothing listens on `socket`.

    `known_gpus`, `bmc_limits`: keep the limits of this machine's GPUs and of BMCs; None: as long as this gateway runs.
    `directory_trouble`: why the state directory cannot be used now, for the alarm. `clock_state`: what is known of the
    time. `proofs`: what is known of the devices; None: nothing, and it is not kept.
    `identity`: of the site; by it feeds are asked at another moment than by other sites.
    """
    config, consoles, alarms = site.dispatch, Consoles(), AlarmBook(DEFINITIONS)
    events = EventLog(clock, recorder, consoles.announce)
    proofs = proofs or ProofsInForce({}, lambda kept: None)
    devices = DeviceIo(
        site,
        clock,
        drivers,
        events,
        known_gpus or KnownGpus(),
        proofs.note,
        kept_limits=bmc_limits,
        lists=NodeLists(site, clock, partial(events.event, "gateway"), recorder.save_state, left.node_lists),
        on_nodes=lambda nodes: know(nodes),
    )

    def know(nodes: Sequence[NodeDevice]) -> None:
        accounting.know(nodes)
        queues.know(scheduler_names(nodes))

    def keep_at_once(key: str, value: Any) -> None:
        recorder.save_state(key, value)
        recorder.flush()

    orders = OrdersInForce(clock, events, audit, keep_at_once)
    parts = PartsInTrouble()
    nodes_at_start = (*site.node, *devices.lists.nodes)
    queues = QueuesInForce(
        site.scheduler,
        on_change=lambda: planner.queues.evaluate_anew(),
        names=scheduler_names(nodes_at_start),
        partition_pct=site.caps.partition_slowdown_pct,
    )
    carbon = carbon_service(site, clock, events, recorder.save_state, identity, left.carbon)
    emitted = None if carbon is None else carbon.at
    planner = PlanningService(
        site, prices, clock, events, orders, consoles.set_plan, parts, lambda: seen(queues), co2_g_per_kwh=emitted
    )
    planner.reserve(left.reservations)  # first: what they drew of the past is not to be learnt as load that stays
    planner.learn(left.load_w, left.pv_w)
    planner.queues.learn(left.finished_jobs)
    reservations = ReservationsInForce(config, clock, events, audit, planner.reserve)
    signal_calls = SupervisedCalls("signals", SIGNALS_S, parts)
    signals = SignalsInForce(
        site.signal,
        site_limits(config),
        clock,
        events=events,
        audit=audit,
        save=keep_at_once,
        kept=left.signals,
        calls=signal_calls,
        interval_s=config.grid.metering_interval_s,
        identity=identity,
    )
    grid_events = GridEventsInForce(
        site_limits(config),
        config.grid.contracted_peak_w,
        config.rules.deadband_w,
        clock,
        events=events,
        audit=audit,
        save=keep_at_once,
        note=recorder.save_state,
        kept=left.grid_events,
    )
    drills = DrillState(events, audit, recorder)
    inverters = SleepingInverters(
        {pv.id: pv.peak_w for pv in site.pv}, site.site.place, site.site.timezone, left.last_pv_w
    )
    iq_calls = SupervisedCalls("Energy IQ", IQ_S, parts)
    iq = EnergyIqService(
        config, prices, state_dir, clock, events, recorder.save_state, left.iq_reports, iq_calls, clock_state
    )
    to_w = revert_values(config)
    prover = ProvingService(
        config,
        clock,
        tick_s=clock.speed / site.gateway.rate_hz,
        revert={p.id: (p.revert_s, to_w[p.id]) for p in site.pcs},
        renewed_s=devices.renewed_s,
        alarms=alarms.standing,
        proofs=proofs,
        events=events,
        audit=audit,
        calls=SupervisedCalls("proofs", PROOFS_S, parts),
        refresh_s={driver.id: driver.refresh_s for driver in drivers if isinstance(driver, MapPcs | MapMeter)},
        demand=main_charge(site.dispatch),
    )
    queue_polling = QueuePolling(
        [reader_of(scheduler, site.kubernetes, site.path.parent) for scheduler in site.scheduler],
        queues,
        clock,
        events,
        tick_s=1 / site.gateway.rate_hz,
        compare_clocks=lambda: site.twin is None and clock_state().known,
    )
    accounting = JobAccounting(
        site,
        clock,
        prices,
        schedulers=[scheduler.id for scheduler in site.scheduler],
        queues=lambda: readings(queues.queues),
        record=recorder.account,
        nodes=nodes_at_start,
        save=recorder.save_state,
        kept=left.job_meter,
        on_finished=lambda run: planner.queues.learn([run]),
        carbon=emitted,
    )
    starts, outputs = StartsInTrouble(), OutputTrouble(events)
    market = RecordedMarket(site.tariff, prices, carbon)
    loop = ControlLoop(
        site=site,
        clock=clock,
        controller=controller,
        devices=devices,
        inverters=inverters,
        events=events,
        recorder=recorder,
        audit=audit,
        prices=prices,
        market=market,
        orders=orders,
        reservations=reservations,
        signals=signals,
        grid_events=grid_events,
        drills=drills,
        alarms=alarms,
        planner=planner,
        iq=iq,
        consoles=consoles,
        prover=prover,
        queues=queues,
        accounting=accounting,
        after_tick=(*after_tick, queue_polling.after_tick),
        directory_trouble=directory_trouble,
        parts=parts,
        starts=starts,
        outputs=outputs,
        clock_state=clock_state,
        access_trouble=access_trouble,
    )
    log = CommandLog(roles, audit, clock, events, SupervisedCalls("users", USERS_S, parts, at_once=8))
    archive = SupervisedCalls("archive", ARCHIVE_S, parts)
    queries = Queries(site, clock, state_dir, archive, log=log, loop=loop, planner=planner, iq=iq)
    island_commands = IslandCommands(config, log=log, loop=loop, alarms=alarms, drills=drills, planner=planner)
    told = outputs_of(site, loop, clock, events, outputs, recorder.save_state, left.mqtt_topics, left.notifications)
    dispatcher = Dispatcher(
        log,
        queries.handlers,
        FleetQueries(site, welcome, state_dir, loop=loop, records=queries, hold=recorder.hold).handlers,
        QueueCommands(queues, log).handlers,
        island_commands.handlers,
        AlarmCommands(
            log,
            clock,
            events,
            alarms,
            release=controller.contacts.release,
            records=queries,
            save=keep_at_once,
            dropped_seen=orders.dropped_seen,
        ).handlers,
        JobQueries(peak_charges(site.dispatch, "granted"), log=log, accounts=accounting, records=queries).handlers,
        DeviceCommands(RegisterAccess(drivers), log, events).handlers,
        SignalCommands(log, signals, loop).handlers,
        EventCommands(log, grid_events).handlers,
        NotifyCommands(told.notifier).handlers,
        ProvingCommands(log=log, prover=prover, proofs=proofs).handlers,
        OrderCommands(
            site, clock, log=log, events=events, orders=orders, loop=loop, nodes=devices.commands, planner=planner
        ).handlers,
        ReservationCommands(
            config,
            clock,
            log=log,
            events=events,
            orders=orders,
            reservations=reservations,
            loop=loop,
            planner=planner,
            calls=SupervisedCalls("power reservations", RESERVATIONS_S, parts),
        ).handlers,
        ready=loop.first_tick,
    )
    prices_read = SupervisedCalls("price file", PRICES_S, parts)
    price_watch = PriceWatch(site, prices, clock, events, planner.prices_changed, prices_read)
    background: list[Work] = [("planner", planner.run), ("Energy IQ", iq.run), ("price file", price_watch.run)]
    feeds_read = SupervisedCalls("price feed", PRICES_S, parts)
    price_feeds: PriceFeeds | None = None
    if fetches_prices(site):
        price_feeds = PriceFeeds(
            site, prices, clock, events, planner.prices_changed, feeds_read, recorder.save_state, identity
        )
        price_feeds.adopt(left.price_feed)
    weather = weather_feed(site, clock, events, planner.take_service, recorder.save_state, left.weather)
    background += _running(("price feed", price_feeds), ("weather", weather), ("carbon feed", carbon))
    background += [("proofs", prover.run), ("job accounting", accounting.run), *queue_polling.background]
    if site.signals.directory:
        place = site.path.parent / site.signals.directory
        background.append(("signal files", SignalDirectory(place, signals, events, signal_calls).run))
    if site.signals.mqtt is not None:
        background.append(("signals", SignalBroker(site.signals.mqtt, site.path.parent, signals, events).run))
    owner_telling: tuple[OwnerTelling, ...] = ()
    job_starts = tuple(
        JobStarts(
            scheduler,
            site.site.name,
            clock,
            events,
            loop=loop,
            planner=planner,
            calls=SupervisedCalls(f"job starts of {scheduler.id}", STARTS_S, parts),
            trouble=starts,
            on_power=queues.note_power,
        )
        for scheduler in site.scheduler
        if scheduler.admit
    )
    background += [(f"job starts of {each.id}", each.run) for each in job_starts]
    if site.scheduler:
        background.append(("job forecast", planner.queues.run))
        notes = OwnerNotes(
            queues, clock, loop, ZoneInfo(site.site.timezone), queue_polling.turn, planner.queues.usual_share
        )
        background.append(("owners of jobs", notes.run))
        owner_telling = ways_to_tell(site.scheduler, site.site.name, notes, queues, events, queue_polling.turn)
        background += [(f"owners of jobs of {each.id}", each.run) for each in owner_telling]
    background += told.background
    scheduler: DrillScheduler | None = None
    if site.drills.schedule:
        scheduler = DrillScheduler(
            site=site,
            clock=clock,
            events=events,
            loop=loop,
            planner=planner,
            drills=drills,
            starter=island_commands,
            save=recorder.save_state,
            kept=left.drill_schedule,
        )
        background.append(("schedule of drills", scheduler.run))
    return Gateway(
        site=site,
        clock=clock,
        events=events,
        recorder=recorder,
        audit=audit,
        controller=controller,
        devices=devices,
        orders=orders,
        reservations=reservations,
        signals=signals,
        grid_events=grid_events,
        drills=drills,
        alarms=alarms,
        planner=planner,
        price_watch=price_watch,
        iq=iq,
        loop=loop,
        log=log,
        island_commands=island_commands,
        queries=queries,
        link=LinkServer(socket, welcome, dispatcher.handle, consoles, urgent=urgent, watcher=loop, named=log.named),
        prover=prover,
        background=tuple(background),
        drill_scheduler=scheduler,
        price_feeds=price_feeds,
        job_starts=job_starts,
        owner_telling=owner_telling,
    )


def _running(*services: tuple[str, PriceFeeds | WeatherFeed | CarbonService | None]) -> list[Work]:
    """Those that this site has."""
    return [(name, service.run) for name, service in services if service is not None]
