"""Reads what earlier runs of the gateway left in a site's state directory. What cannot be read counts as not there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dispatch.model.forecast import QUARTER_S
from dispatch.model.reservations import Reservation
from dispatch.planning.pipeline import LEARN_S
from gateway.drill_scheduler import STATE as DRILLS
from gateway.energy_iq_history import Report
from gateway.energy_iq_service import remembered
from storage import audit_reader
from storage.drills import DrillRecord
from storage.reader import Archive, NoRecords, QueryTimeout, RecordDamaged

DAY_S = 86_400
HISTORY_TIMEOUT_S = 5.0  # for ten days of quarter hours

log = logging.getLogger("skerry.gateway")

Found = TypeVar("Found")


class PreviousRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway that starts takes over."""

    orders: list[dict[str, Any]] = []  # audit rows of orders that nothing has ended
    stopped_orders: list[dict[str, Any]] = []  # audit rows of orders that its stop has ended
    unfinished_drill: dict[str, Any] | None = None  # audit row of a drill that nothing has ended
    last_drill: DrillRecord | None = None
    drill_schedule: Any = None  # the drill scheduler's memory
    reservations: list[Reservation] = []  # granted, and their time is not up
    load_w: dict[int, float] = {}  # quarter-hour means of the last days, by their start
    pv_w: dict[int, float] = {}
    iq_reports: dict[str, Report] = {}  # by day
    last_pv_w: float | None = None  # PV power when it was last recorded, within the last day


def read_previous_run(state_dir: Path, now_utc_s: float) -> PreviousRun:
    """Read everything; a new site has none of it."""
    load_w, pv_w = _history(state_dir, now_utc_s)
    return PreviousRun(
        orders=_from_audit(lambda: audit_reader.orders_in_force(state_dir), []),
        stopped_orders=_from_audit(lambda: audit_reader.orders_stopped(state_dir), []),
        unfinished_drill=_from_audit(lambda: audit_reader.unreported_drill(state_dir), None),
        last_drill=_last_drill(state_dir),
        drill_schedule=_state(state_dir, DRILLS),
        reservations=_from_audit(
            lambda: msgspec.convert(audit_reader.reservations(state_dir, now_utc_s), list[Reservation]), []
        ),
        load_w=load_w,
        pv_w=pv_w,
        iq_reports=remembered(state_dir),
        last_pv_w=_last_pv_w(state_dir, now_utc_s),
    )


def _from_audit(read: Callable[[], Found], none: Found) -> Found:
    try:
        return read()
    except (RecordDamaged, msgspec.ValidationError) as error:
        log.warning("what the audit holds of an earlier run cannot be read: %s", error)
        return none
    except NoRecords:
        return none


def _state(state_dir: Path, key: str) -> Any:
    archive = Archive(state_dir)
    try:
        return archive.last_state(key)
    except (NoRecords, QueryTimeout):
        return None
    finally:
        archive.close()


def _last_drill(state_dir: Path) -> DrillRecord | None:
    archive = Archive(state_dir)
    try:
        return next(iter(archive.drills(1)), None)
    except (RecordDamaged, QueryTimeout) as error:
        log.warning("the last drill's report cannot be read: %s", error)
        return None
    except NoRecords:
        return None
    finally:
        archive.close()


def _last_pv_w(state_dir: Path, now_utc_s: float) -> float | None:
    """PV power of the site at the end of the last minute that has it on record, W; None without one in a day."""
    archive = Archive(state_dir)
    try:
        minutes = archive.minutes(["pv.w"], int(now_utc_s) - DAY_S, int(now_utc_s) + 1)["pv.w"]
    except (NoRecords, QueryTimeout):
        return None
    finally:
        archive.close()
    return minutes[max(minutes)][1] if minutes else None


def _history(state_dir: Path, now_utc_s: float) -> tuple[dict[int, float], dict[int, float]]:
    """Quarter-hour means of load and PV of the last days on record, W, keyed by their start; empty on a new site."""
    end_s = int(now_utc_s // QUARTER_S) * QUARTER_S
    archive = Archive(state_dir, timeout_s=HISTORY_TIMEOUT_S)
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
