"""Reads what earlier runs of the gateway left in a site's state directory. What cannot be read counts as not there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dispatch.accounting.meter import MeterState
from dispatch.accounting.records import JobRecord
from dispatch.alarms.shelving import Suppression
from dispatch.events.model import KeptEvents
from dispatch.model.forecast import QUARTER_S
from dispatch.model.reservations import Reservation
from dispatch.orders.signal_book import KeptSignals
from dispatch.planning.pipeline import LEARN_S
from gateway.api.alarm_commands import STATE as SHELVED
from gateway.carbon_feed import STATE as CARBON
from gateway.carbon_feed import KeptCarbon, kept_carbon
from gateway.drill_scheduler import STATE as DRILLS
from gateway.energy_iq_history import Report
from gateway.energy_iq_service import remembered
from gateway.grid_events_in_force import STATE as GRID_EVENTS
from gateway.grid_events_in_force import kept_events
from gateway.job_accounting import STATE as JOBS
from gateway.job_accounting import kept_state
from gateway.node_lists import STATE as NODES
from gateway.node_lists import KeptList, kept_lists
from gateway.orders_in_force import DROPPED
from gateway.outputs.mqtt_publisher import STATE as MQTT
from gateway.outputs.mqtt_publisher import kept_topics
from gateway.outputs.notifier import STATE as NOTIFICATIONS
from gateway.outputs.outbox import Outbox, kept_outboxes
from gateway.price_feeds import STATE as PRICES
from gateway.price_feeds import KeptPrices, kept_prices
from gateway.signals_in_force import STATE as SIGNALS
from gateway.weather_feed import STATE as WEATHER
from gateway.weather_feed import KeptForecast, kept_forecast
from storage import audit_reader
from storage.drills import DrillRecord
from storage.jobs import JobQuestion
from storage.reader import Archive, NoRecords, QueryTimeout, RecordDamaged

DAY_S = 86_400
JOBS_READ, JOBS_S = 1000, 90 * DAY_S  # as many as one answer of the archive holds; older programs have changed
HISTORY_TIMEOUT_S = 5.0  # for ten days of quarter hours

log = logging.getLogger("skerry.gateway")

Found = TypeVar("Found")


class PreviousRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway that starts takes over."""

    orders: list[dict[str, Any]] = []  # audit rows of orders that nothing has ended
    stopped_orders: list[dict[str, Any]] = []  # audit rows of orders that its stop has ended
    unfinished_drill: dict[str, Any] | None = None  # audit row of a drill that nothing has ended
    unfinished_proof: dict[str, Any] | None = None  # the same of a proof of a PCS
    last_drill: DrillRecord | None = None
    drill_schedule: Any = None  # the drill scheduler's memory
    reservations: list[Reservation] = []  # granted, and their time is not up
    load_w: dict[int, float] = {}  # quarter-hour means of the last days, by their start
    pv_w: dict[int, float] = {}
    iq_reports: dict[str, Report] = {}  # by day
    not_read: tuple[str, ...] = ()  # what there is and cannot be read, and why
    job_meter: MeterState | None = None  # runs of jobs that were not over
    carbon: KeptCarbon | None = None  # what the grid emits, as fetched
    price_feed: KeptPrices | None = None  # what was fetched
    weather: KeptForecast | None = None  # the last forecast of PV that was fetched
    node_lists: dict[str, KeptList] = {}  # names of nodes, by where they come from
    mqtt_topics: dict[str, str] = {}  # what Home Assistant was told of, and of which device it is
    notifications: dict[str, Outbox] = {}  # what receivers are still to be told
    finished_jobs: list[JobRecord] = []  # the newest runs of jobs that were over, oldest first
    signals: KeptSignals = KeptSignals()  # from outside, and what is remembered of their messages
    grid_events: KeptEvents = KeptEvents()
    shelved: list[Suppression] = []  # alarms, shelved or out of service
    dropped_orders: list[str] = []  # that nobody has been seen to know of
    last_pv_w: float | None = None  # PV power when it was last recorded, within the last day


def read_previous_run(state_dir: Path, now_utc_s: float, own_run: str = "") -> PreviousRun:
    """Read everything; a new site has none of it. What cannot be read counts as not there, and is named.

    `own_run`: of a gateway that reads this late; its own rows are not those of an earlier run.
    """
    said: list[str] = []

    def part(what: str, read: Callable[[], Found], none: Found) -> Found:
        try:
            return read()
        except (RecordDamaged, QueryTimeout, msgspec.ValidationError) as error:
            said.append(f"{what}: {error}")
        except NoRecords:
            pass
        except Exception as error:  # nothing that is read here may keep a gateway from starting
            log.exception("%s cannot be read", what)
            said.append(f"{what}: {error!r}")
        return none

    def reservations() -> list[Reservation]:
        return msgspec.convert(audit_reader.reservations(state_dir, now_utc_s), list[Reservation])

    no_history: tuple[dict[int, float], dict[int, float]] = ({}, {})
    load_w, pv_w = part("load and PV of the last days", lambda: _history(state_dir, now_utc_s), no_history)
    return PreviousRun(
        orders=part("orders in force", lambda: audit_reader.orders_in_force(state_dir, own_run), []),
        stopped_orders=part("orders that were stopped", lambda: audit_reader.orders_stopped(state_dir, own_run), []),
        unfinished_drill=part("an unfinished drill", lambda: audit_reader.unreported_drill(state_dir, own_run), None),
        unfinished_proof=part("an unfinished proof", lambda: audit_reader.unreported_proof(state_dir, own_run), None),
        last_drill=part("the last drill", lambda: _last_drill(state_dir), None),
        drill_schedule=part("the schedule of drills", lambda: _state(state_dir, DRILLS), None),
        reservations=part("power reservations", reservations, []),
        load_w=load_w,
        pv_w=pv_w,
        finished_jobs=part("jobs that ended", lambda: _finished_jobs(state_dir, now_utc_s), []),
        job_meter=part("jobs that ran", lambda: kept_state(_state(state_dir, JOBS)), None),
        carbon=part("what the grid emits", lambda: kept_carbon(_state(state_dir, CARBON)), None),
        price_feed=part("fetched prices", lambda: kept_prices(_state(state_dir, PRICES)), None),
        weather=part("the fetched PV forecast", lambda: kept_forecast(_state(state_dir, WEATHER)), None),
        node_lists=part("lists of nodes", lambda: kept_lists(_state(state_dir, NODES)), {}),
        signals=part("signals", lambda: _signals(state_dir), KeptSignals()),
        grid_events=part("grid events", lambda: kept_events(_state(state_dir, GRID_EVENTS)), KeptEvents()),
        mqtt_topics=part("what Home Assistant was told", lambda: kept_topics(_state(state_dir, MQTT)), {}),
        notifications=part("notifications", lambda: kept_outboxes(_state(state_dir, NOTIFICATIONS)), {}),
        iq_reports=part("reports of Energy IQ", lambda: remembered(state_dir), {}),
        shelved=part("shelved alarms", lambda: _list(state_dir, SHELVED, Suppression), []),
        dropped_orders=part("orders that were dropped", lambda: _list(state_dir, DROPPED, str), []),
        last_pv_w=part("the last PV power", lambda: _last_pv_w(state_dir, now_utc_s), None),
        not_read=tuple(said),
    )


def _state(state_dir: Path, key: str) -> Any:
    with closing(Archive(state_dir)) as archive:
        return archive.last_state(key)


def _list(state_dir: Path, key: str, kind: type[Found]) -> list[Found]:
    kept = _state(state_dir, key)
    return [] if kept is None else [msgspec.convert(one, kind) for one in kept]


def _signals(state_dir: Path) -> KeptSignals:
    kept = _state(state_dir, SIGNALS)
    return KeptSignals() if kept is None else msgspec.convert(kept, KeptSignals)


def _finished_jobs(state_dir: Path, now_utc_s: float) -> list[JobRecord]:
    """Those whose power is worth knowing for the forecast of others."""
    asked = JobQuestion(start_utc_s=now_utc_s - JOBS_S, end_utc_s=now_utc_s)
    with closing(Archive(state_dir, timeout_s=HISTORY_TIMEOUT_S)) as archive:
        return [kept.record for kept in reversed(archive.jobs(asked, JOBS_READ))]


def _last_drill(state_dir: Path) -> DrillRecord | None:
    with closing(Archive(state_dir)) as archive:
        return next(iter(archive.drills(1)), None)


def _last_pv_w(state_dir: Path, now_utc_s: float) -> float | None:
    """PV power of the site at the end of the last minute that has it on record, W; None without one in a day."""
    with closing(Archive(state_dir)) as archive:
        minutes = archive.minutes(["pv.w"], int(now_utc_s) - DAY_S, int(now_utc_s) + 1)["pv.w"]
    return minutes[max(minutes)][1] if minutes else None


def _history(state_dir: Path, now_utc_s: float) -> tuple[dict[int, float], dict[int, float]]:
    """Quarter-hour means of load and PV of the last days on record, W, keyed by their start; empty on a new site."""
    end_s = int(now_utc_s // QUARTER_S) * QUARTER_S
    with closing(Archive(state_dir, timeout_s=HISTORY_TIMEOUT_S)) as archive:
        history = archive.history(["site_load.w", "pv.w"], end_s - LEARN_S, end_s, QUARTER_S)
    load_w, pv_w = (
        {int(t): max(0.0, w) for t, w in zip(history["t"], history["signals"][name], strict=True) if w is not None}
        for name in ("site_load.w", "pv.w")
    )
    return load_w, pv_w
