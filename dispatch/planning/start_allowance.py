"""Decides with how much more power jobs may start now, and how many licences of power a scheduler is to keep back.

A scheduler counts the power of its jobs as licences of 100 W, a render manager as frames of so many watts. What the
site cannot give now is kept back, so that jobs wait in the scheduler, for licences. A licence says what a job may draw,
the meter what the site draws: where they differ, the site counts.

* The load is taken to stay as it is, with what is reserved: forecasts of jobs that wait must not keep them waiting.
* Jobs that began in the last minutes hold licences and do not draw their power yet. It is kept for them.
* Batteries help as far as they can for hours (`import_path`). Off the grid nothing starts.
* What would reach into a grid event, or another limit of import, starts only as far as that leaves room for it without
  the battery.
"""

from __future__ import annotations

import math
from collections import deque

import msgspec

from dispatch.model.forecast import QUARTER_S, Forecast
from dispatch.model.islanding import IslandState
from dispatch.model.plan import Plan
from dispatch.model.reasons import Reason, joined
from dispatch.model.reservations import base_w, reserved_w
from dispatch.orders.reservation_book import with_reserved
from dispatch.planning.import_path import ImportPath
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.limit_room import Room, limit_reason, limit_room
from dispatch.planning.order_projection import battery_holder, holder_reason

LICENCE_W = 100.0  # of one licence of Slurm
SETTLES_S = 180.0  # a job draws what it will draw so long after its start: images are loaded, data read
LEAST_STEP = 2  # licences
STEP = 0.01  # of all licences; less is not worth a change


class StartTerms(msgspec.Struct, frozen=True):
    """What a site says of the power of jobs that start."""

    for_s: float  # how long the site must be able to give it
    to_plan: bool  # up to the level that is kept anyway, so that the peak does not rise; else up to the contract
    unit_w: float = LICENCE_W  # of one licence, or of one frame


class Load(msgspec.Struct, frozen=True):
    """What the site draws, W."""

    high_w: float  # the highest load of the last minutes, without PV and batteries
    undrawn_w: float  # what jobs that have just begun may still draw


class StartAllowance(msgspec.Struct, frozen=True):
    """With how much power jobs may start now."""

    free_w: float
    closed: bool  # nothing starts, whatever ends
    why: Reason


def closed(island: IslandState, stopped: Reason | None) -> StartAllowance | None:
    """Why nothing may start now, whatever the site draws; None: that decides. `stopped`: by a protective contact."""
    if island is not IslandState.GRID_TIED:
        return StartAllowance(0.0, True, Reason("starts.off_grid", {"state": island.value}))
    return None if stopped is None else StartAllowance(0.0, True, Reason("starts.stopped", {"why": stopped}))


def start_allowance(inputs: PlanInputs, plan: Plan | None, load: Load, terms: StartTerms) -> StartAllowance:
    """With how much power jobs may start now, as the grid is there. `inputs`: what a plan would be made of."""
    steady = _steady(inputs, load)
    end_s = inputs.now_utc_s + terms.for_s
    site = ImportPath.of(steady, plan, end_s)
    level_w = site.kept_w if terms.to_plan else site.allowed_w
    free_w = _most_w(site, level_w, inputs.now_utc_s, end_s)
    room = limit_room(site, inputs.signals, inputs.now_utc_s, end_s)
    begun_w = load.undrawn_w
    why = Reason("starts.none_free", {"level_w": level_w, "load_w": load.high_w, "undrawn_w": begun_w})
    if free_w >= terms.unit_w:
        why = Reason("starts.free", {"free_w": free_w, "level_w": level_w, "load_w": load.high_w, "undrawn_w": begun_w})
    if room.by is not None and room.w < free_w:
        free_w, why = float(math.floor(room.w)), _limited(room, inputs, load)
    holder = battery_holder(inputs.orders, inputs.config, inputs.now_utc_s)
    return StartAllowance(free_w, False, why if holder is None else joined([why, holder_reason(holder, inputs.config)]))


def _limited(room: Room, inputs: PlanInputs, load: Load) -> Reason:
    """Why no more may start: a limit that stands or is announced."""
    limit = limit_reason(room, inputs.now_utc_s, inputs.config)
    return Reason("starts.limited", {"free_w": room.w, "load_w": load.high_w, "limit": limit})


def _steady(inputs: PlanInputs, load: Load) -> PlanInputs:
    """The inputs with the load as it is now, instead of its forecast."""
    start_s, now_s = inputs.load.start_utc_s, inputs.now_utc_s
    promised_w = reserved_w(inputs.reservations, max(float(start_s), now_s), start_s + QUARTER_S)
    before_w = max(0.0, inputs.load.load_w[0] - promised_w)
    rest_w = base_w(load.high_w, reserved_w(inputs.reservations, now_s, now_s), before_w) + load.undrawn_w
    steps_w = (rest_w,) * len(inputs.load.load_w)
    flat = with_reserved(Forecast(start_s, steps_w, steps_w, steps_w), inputs.reservations, now_s)
    return msgspec.structs.replace(inputs, load=flat)


def _most_w(site: ImportPath, level_w: float, start_s: float, end_s: float) -> float:
    """The most power, whole watts, with which a job from `start_s` to `end_s` keeps a level."""
    low, high = 0.0, site.config.grid.fuse_w
    while high - low > 0.5:
        middle = (low + high) / 2
        held = site.can_hold(level_w, site.with_job(middle, start_s, end_s))
        low, high = (middle, high) if held else (low, middle)
    return float(round(low))


class SettlingJobs:
    """The last minutes: the site's highest load, and the licences that jobs hold which have just begun."""

    def __init__(self) -> None:
        self._loads: deque[tuple[float, float]] = deque()  # mono_s, W
        self._used: deque[tuple[float, int]] = deque()  # mono_s, licences in use
        self._since_s: float | None = None

    def observe_load(self, mono_s: float, load_w: float) -> None:
        """Take the load of a moment, W."""
        _add(self._loads, mono_s, load_w)

    def observe_used(self, mono_s: float, used: int) -> None:
        """Take how many licences jobs hold."""
        self._since_s = mono_s if self._since_s is None else self._since_s
        _add(self._used, mono_s, used)

    def settled(self, mono_s: float) -> bool:
        """Whether it was seen for long enough who has just begun."""
        return self._since_s is not None and mono_s - self._since_s >= SETTLES_S

    def load(self, mono_s: float, unit_w: float = LICENCE_W) -> Load | None:
        """The load; None: nothing was measured in the last minutes. `unit_w`: of a licence."""
        recent_w = [load_w for at_s, load_w in self._loads if mono_s - at_s <= SETTLES_S]
        used = [count for at_s, count in self._used if mono_s - at_s <= SETTLES_S]
        if not recent_w:
            return None
        return Load(max(recent_w), unit_w * (used[-1] - min(used)) if used else 0.0)


def _add(kept: deque[tuple[float, float]] | deque[tuple[float, int]], mono_s: float, value: float) -> None:
    kept.append((mono_s, value))  # type: ignore[arg-type]
    while kept[0][0] < mono_s - SETTLES_S:
        kept.popleft()


class Licences(msgspec.Struct, frozen=True):
    """The licences of power of a scheduler."""

    total: int
    used: int  # by jobs
    others: int  # kept back by reservations that are not ours


def kept_back(
    licences: Licences, allowed: StartAllowance, before: int, settled: bool, unit_w: float = LICENCE_W
) -> int:
    """How many licences, of `unit_w` each, to keep back now. `before`: how many are.

    More at once; fewer only by a step that is worth it, so that they do not follow the meter's every watt. While it was
    not yet seen who has just begun (`settled`), never fewer: an earlier run of the gateway knew.
    """
    most = max(0, licences.total - licences.others)
    wanted = most
    if not allowed.closed:
        wanted = licences.total - licences.used - math.floor(allowed.free_w / unit_w)
        wanted = min(max(0, wanted), most)
    before = min(before, most)
    if wanted >= before or not settled:
        return max(wanted, before)
    return wanted if wanted == 0 or before - wanted >= max(LEAST_STEP, STEP * licences.total) else before
