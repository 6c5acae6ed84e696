"""Defines what accounting gives: runs of jobs, quarter hours of the site, intervals that set a billed peak."""

from __future__ import annotations

from typing import Literal

import msgspec

How = Literal["measured", "apportioned", "estimated"]
By = Literal["", "cpu time", "activity"]  # by what is apportioned; empty: by what is allocated
Part = Literal["gpu", "host", "node"]  # of a node's energy; node: not divided, as its GPUs are not known singly
QUARTER_S = 900

RunKey = tuple[str, str, float]  # scheduler, job id, start of this run (UTC s): a requeued job has several


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a job: what it drew and what that cost. None: not known.

    `gpu_wh`, `host_wh` and `node_wh` add up to its energy; the last is of nodes whose GPUs are not known singly.
    """

    scheduler: str
    id: str
    started_utc_s: float
    ended_utc_s: float | None = None  # None: it runs
    end_within_s: float = 0.0  # the end is right to this: it lies between two readings of the queue
    from_start: bool = True  # False: it ran already when metering began
    name: str = ""
    user: str = ""
    account: str = ""
    partition: str = ""
    nodes: int = 0
    cpus: int = 0
    gpus: int = 0
    gpu_wh: float = 0.0
    gpu_how: How | None = None  # None: there is no such energy
    host_wh: float = 0.0
    host_how: How | None = None
    node_wh: float = 0.0
    node_how: How | None = None
    by_cpu_time_wh: float = 0.0  # the part of host_wh that was divided by CPU time; of energy above idle only
    by_activity_wh: float = 0.0  # the part of gpu_wh that was divided by activity of MIG instances or time slices
    covered_pct: float = 0.0  # of its time on its nodes with readings; nothing is assumed for the rest
    suspended_s: float = 0.0
    mean_w: float | None = None  # over the time with readings
    peak_w: float | None = None  # highest mean of a quarter hour, likewise
    cost_eur: float | None = None  # of its energy, without the share of a peak
    unpriced_wh: float = 0.0  # of its energy, not in the cost: no price, or no load was known then
    co2_g: float | None = None
    capped_s: float = 0.0  # on its nodes together
    withheld_wh: float = 0.0  # about what caps took: against the nodes' power before each
    lost_gpu_h: float = 0.0  # about what its GPUs lost by that, GPU-hours, where their power is known singly

    @property
    def energy_wh(self) -> float:
        """All of it."""
        return self.gpu_wh + self.host_wh + self.node_wh

    @property
    def how(self) -> How:
        """How the whole was got: as the least certain of its parts that counts."""
        parts = ((self.gpu_how, self.gpu_wh), (self.host_how, self.host_wh), (self.node_how, self.node_wh))
        return least_certain([(how, wh) for how, wh in parts if how is not None]) or "measured"

    @property
    def key(self) -> RunKey:
        """By which it is known."""
        return self.scheduler, self.id, self.started_utc_s


COUNTS = 0.01  # of the energy: what is less does not change how the whole is called
_CERTAINTY: tuple[How, ...] = ("estimated", "apportioned", "measured")


def least_certain(parts: list[tuple[How, float]]) -> How | None:
    """The least certain way by which more than `COUNTS` of the energy was got; None of no energy."""
    total_wh = sum(abs(wh) for _, wh in parts)
    for how in _CERTAINTY:
        if sum(abs(wh) for found, wh in parts if found == how) > COUNTS * total_wh:
            return how
    return None


class SiteQuarter(msgspec.Struct, frozen=True, kw_only=True):
    """A quarter hour of the site. What neither jobs nor idle nodes drew is the rest: cooling, losses, other load."""

    start_utc_s: int
    import_wh: float
    load_wh: float
    known_s: float  # of it with import and load
    jobs_wh: float  # of all jobs together
    idle_wh: float  # of the nodes, allocated to no job
    gap_s: float  # without readings, of all nodes together: what they drew then is in the rest
    eur_per_kwh: float | None  # what a kWh of load cost: import x price / load
    co2_g_per_kwh: float | None


class PeakInterval(msgspec.Struct, frozen=True, kw_only=True):
    """The metering interval that is the highest of its account so far, and the energy of jobs in it."""

    account: str  # "2025-09" or "2025", where days are averaged "2025-09-16"
    start_utc_s: int
    import_w: float  # its mean
    load_wh: float
    eur: float  # what it adds to the bill if it stays: import_w x the charge of one kW of it
    shares: tuple[tuple[str, str, float, float], ...] = ()  # scheduler, job, start of the run, Wh
