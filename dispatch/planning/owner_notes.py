"""Decides what the owner of a job is told: how much power it waits for, or to what its nodes are capped; as reasons.

A job waits for power while the licences of power that it asks for are more than those that are free. Its start is a
band: at the earliest when jobs like those that run have often ended (`usual_share` of their time limit), at the latest
at their time limits, behind all that wait before it; both as things stand: the site's power and the queue stay as they
are. Where limits are missing, or power is not known, the start is not known, and that is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from zoneinfo import ZoneInfo

import msgspec

from dispatch.model.reasons import Reason
from dispatch.planning.job_notes import local_time

WAITING = "told.waiting"  # the code
EARLY_GRID_S, LATE_GRID_S = 300, 900  # a band is told in whole steps of these
LEAST_W, SHARE = 500.0, 0.25  # a power that is told again has moved by more than both
LEAST_S = 900.0  # a time, too
LEAST_PCT = 5.0  # a share, too
LEAST_TOLD_PCT = 1.0  # slower by less is not told
HOLD_S = 60.0  # what is new must have been so for this long
AGAIN_S = 600.0  # between two texts of one job for figures alone
PIECE = 50  # jobs compared at once, half a millisecond

Key = tuple[str, str]  # scheduler, and the job there


class FreePower(msgspec.Struct, frozen=True):
    """The power with which jobs of one scheduler may start now."""

    free_w: float
    closed: Reason | None = None  # why no job starts, whatever ends; None: that decides


class Holder(msgspec.Struct, frozen=True):
    """A job that runs and holds power. `end_utc_s`: by its time limit; None: it has none."""

    power_w: float
    started_utc_s: float
    end_utc_s: float | None


class WaitingJob(msgspec.Struct, frozen=True):
    """A job that asks for more power than is free. `ahead_w`: what those ask for that wait before it."""

    need_w: float
    nodes: int = 1
    gpus: int = 0
    ahead_w: float = 0.0


class CappedNode(msgspec.Struct, frozen=True):
    """A cap on a node, W at the node. Times are None where they are not known."""

    node: str
    cap_w: float
    why: Reason
    since_utc_s: float | None = None
    until_utc_s: float | None = None
    gpu_limit_w: float | None = None  # the lowest power limit that its GPUs follow; None: not known
    slower_pct: float | None = None  # about, of throughput; None: not known
    slower_by: Reason | None = None  # how that is known


class Ends:
    """When power of running jobs comes free, summed up once for all that wait for it."""

    def __init__(self, holders: Iterable[Holder], usual_share: float | None, now_utc_s: float) -> None:
        """`usual_share`: of their time limit that nine of ten jobs run at least; None: not learnt yet."""
        limited = [(max(now_utc_s, h.end_utc_s), h) for h in holders if h.end_utc_s is not None]
        self._last = _summed((end_s, h.power_w) for end_s, h in limited)
        self._first: list[tuple[float, float]] = []
        if usual_share is not None:
            early = ((h.started_utc_s + usual_share * (end_s - h.started_utc_s), h.power_w) for end_s, h in limited)
            self._first = _summed((max(now_utc_s, at_s), w) for at_s, w in early)

    def first_utc_s(self, missing_w: float) -> float | None:
        """When so much usually is free at the earliest; None: not known."""
        return _reached(self._first, missing_w)

    def last_utc_s(self, missing_w: float) -> float | None:
        """When so much is free at the latest; None: the running jobs with a time limit do not hold as much."""
        return _reached(self._last, missing_w)


def _summed(ends: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Times, and the power that is free by then, W."""
    found, total_w = [], 0.0
    for at_s, power_w in sorted(ends):
        total_w += power_w
        found.append((at_s, total_w))
    return found


def _reached(steps: Sequence[tuple[float, float]], missing_w: float) -> float | None:
    return next((at_s for at_s, free_w in steps if free_w >= missing_w), None)


def waiting_note(
    job: WaitingJob, free: FreePower | None, ends: Ends, now_utc_s: float, zone: ZoneInfo
) -> Reason | None:
    """What the owner of a job that waits is told; None: it does not wait for power. `free`: None: not known."""
    if free is not None and free.closed is None and job.need_w <= free.free_w:
        return None
    start, sooner = Reason("told.start_unknown"), None
    if free is None:
        told = Reason("told.free_unknown")
    elif free.closed is not None:
        told = free.closed
    else:
        told = Reason("told.free", {"free_w": max(0.0, free.free_w), "at": local_time(now_utc_s, now_utc_s, zone)})
        start, sooner = _start(job, free.free_w, ends, now_utc_s, zone), _sooner(job, free.free_w)
    return Reason("told.waiting", {"need_w": job.need_w, "free": told, "start": start, "sooner": sooner})


def _start(job: WaitingJob, free_w: float, ends: Ends, now_utc_s: float, zone: ZoneInfo) -> Reason:
    last_s = ends.last_utc_s(job.need_w + job.ahead_w - free_w)
    if last_s is None:
        return Reason("told.start_unknown")
    last_s = LATE_GRID_S * math.ceil(last_s / LATE_GRID_S)
    last_at = local_time(last_s, now_utc_s, zone)
    first_s = ends.first_utc_s(job.need_w - free_w)
    if first_s is None or first_s - now_utc_s < EARLY_GRID_S:
        return Reason("told.start_by", {"last_utc_s": last_s, "last_at": last_at})
    first_s = EARLY_GRID_S * math.floor(first_s / EARLY_GRID_S)
    first_at = local_time(first_s, now_utc_s, zone)
    return Reason(
        "told.start_band", {"first_utc_s": first_s, "first_at": first_at, "last_utc_s": last_s, "last_at": last_at}
    )


def _sooner(job: WaitingJob, free_w: float) -> Reason | None:
    """What would fit into what is free now: as many nodes, or of one node as many GPUs."""
    of = job.nodes if job.nodes > 1 else job.gpus
    fit = math.floor(of * max(0.0, free_w) / job.need_w) if job.need_w > 0 else 0
    if not 1 <= fit < of:
        return None
    if job.nodes > 1:
        return Reason("told.sooner_nodes", {"nodes": fit, "of": of})
    return Reason("told.sooner_gpus", {"gpus": fit, "of": of})


def capped_note(
    nodes: Sequence[str], caps: Mapping[str, CappedNode], now_utc_s: float, zone: ZoneInfo
) -> Reason | None:
    """What the owner of a job that runs on these nodes is told; None: none of them is capped."""
    capped = [caps[node] for node in nodes if node in caps]
    if not capped:
        return None
    lowest = min(capped, key=lambda cap: cap.cap_w)
    what = Reason("told.one_node", {"node": lowest.node, "cap_w": lowest.cap_w})
    if len(nodes) > 1:
        what = Reason(
            "told.some_nodes",
            {"capped": len(capped), "of": len(nodes), "node": lowest.node, "cap_w": lowest.cap_w},
        )
    since = [cap.since_utc_s for cap in capped if cap.since_utc_s is not None]
    limits_w = [cap.gpu_limit_w for cap in capped if cap.gpu_limit_w is not None]
    return Reason(
        "told.capped",
        {
            "what": what,
            "gpus": Reason("told.gpu_limit", {"limit_w": min(limits_w)}) if limits_w else None,
            "since": _since(min(since), now_utc_s, zone) if since else None,
            "until": _until([cap.until_utc_s for cap in capped], now_utc_s, zone),
            "why": lowest.why,
            "slower": _slower(capped),
        },
    )


def _slower(capped: Sequence[CappedNode]) -> Reason | None:
    """By how much the node that loses most is slower: the others wait for it."""
    known = [(cap.slower_pct, cap.slower_by) for cap in capped if cap.slower_pct is not None]
    pct, by = max(known, key=lambda one: one[0], default=(0.0, None))
    return Reason("told.slower", {"slower_pct": pct, "by": by}) if pct >= LEAST_TOLD_PCT else None


def _since(utc_s: float, now_utc_s: float, zone: ZoneInfo) -> Reason:
    return Reason("told.since", {"utc_s": utc_s, "at": local_time(utc_s, now_utc_s, zone)})


def _until(ends_utc_s: Sequence[float | None], now_utc_s: float, zone: ZoneInfo) -> Reason:
    """The last end, where all are known."""
    known = [end_s for end_s in ends_utc_s if end_s is not None]
    if len(known) < len(ends_utc_s):
        return Reason("told.until_unknown")
    return Reason("told.until", {"utc_s": max(known), "at": local_time(max(known), now_utc_s, zone)})


def differs(told: Reason | None, now: Reason | None) -> bool:
    """Whether there is something new to tell: not the meter's every watt, nor the clock."""
    if told is None or now is None:
        return told is not now
    if told.code != now.code or told.figures.keys() != now.figures.keys():
        return True
    return any(_moved(name, told.figures[name], value) for name, value in now.figures.items())


def _moved(name: str, told: object, now: object) -> bool:
    if name == "at" or name.endswith("_at"):  # the same time in words
        return False
    if isinstance(told, Reason | None) and isinstance(now, Reason | None):
        return differs(told, now)
    if isinstance(told, int | float) and isinstance(now, int | float):
        return _apart(name, float(told), float(now))
    return told != now


def _apart(name: str, told: float, now: float) -> bool:
    """Whether a figure has moved by enough for its unit."""
    least = LEAST_S if name.endswith("utc_s") else LEAST_PCT if name.endswith("_pct") else 0.0
    if name.endswith("_w"):
        least = max(0.0 if name == "limit_w" else LEAST_W, SHARE * max(abs(told), abs(now)))
    return abs(now - told) > least


class ToldOwners:
    """What each owner is told now. A change is taken up once it has lasted, so not while it goes back and forth."""

    def __init__(self) -> None:
        self._told: dict[Key, Reason] = {}
        self._at_s: dict[Key, float] = {}  # when each was told
        self._new_s: dict[Key, float] = {}  # since when there is something else to tell

    @property
    def told(self) -> Mapping[Key, Reason]:
        """By scheduler and job. Another object when something has changed."""
        return self._told

    def update(self, now_s: float, notes: Mapping[Key, Reason], over: Callable[[Key, Reason], bool]) -> Iterator[None]:
        """Take what could be told now. Yields where other work may go on; must be iterated to its end.

        `over`: whether what was told cannot be true any more: the job has started or is gone. That waits for nothing.
        """
        told = {key: reason for key, reason in self._told.items() if not over(key, reason)}
        for n, key in enumerate({*told, *notes, *self._new_s}, start=1):
            if n % PIECE == 0:
                yield
            self._update_one(told, key, notes.get(key), now_s)
        if told.keys() != self._told.keys() or any(told[key] is not self._told[key] for key in told):
            self._at_s = {key: self._at_s[key] for key in told}
            self._told = told

    def _update_one(self, told: dict[Key, Reason], key: Key, note: Reason | None, now_s: float) -> None:
        before = told.get(key)
        if not differs(before, note):
            self._new_s.pop(key, None)
        elif self._is_due(key, before, note, now_s):
            del self._new_s[key]
            self._at_s[key] = now_s
            if note is None:
                del told[key]
            else:
                told[key] = note

    def _is_due(self, key: Key, before: Reason | None, note: Reason | None, now_s: float) -> bool:
        if now_s - self._new_s.setdefault(key, now_s) < HOLD_S:
            return False
        only_figures = before is not None and note is not None and before.code == note.code
        return not only_figures or now_s - self._at_s[key] >= AGAIN_S
