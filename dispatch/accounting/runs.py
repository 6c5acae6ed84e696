"""Keeps one run of a job while it goes on, and until all of its energy is priced."""

from __future__ import annotations

import msgspec

from dispatch.accounting.costs import Rates
from dispatch.accounting.records import How, JobRecord, Part, RunKey, least_certain
from dispatch.accounting.shares import Portion
from dispatch.model.jobs import Job

_PARTS: tuple[Part, ...] = ("gpu", "host", "node")
_HOWS: tuple[How, ...] = ("measured", "apportioned", "estimated")


class Drawn(msgspec.Struct):
    """What a run drew in a quarter hour."""

    wh: float = 0.0
    node_s: float = 0.0  # with readings, on its nodes together


class Run(msgspec.Struct):
    """A run of a job. It is kept over a restart of the gateway."""

    job: Job
    started_utc_s: float
    seen_utc_s: float  # when it was last in the queue
    from_start: bool
    ended_utc_s: float | None = None
    end_within_s: float = 0.0
    energy_wh: dict[str, float] = {}  # "gpu measured", …
    node_s: float = 0.0  # with readings, on its nodes together
    suspended_s: float = 0.0
    drawn: dict[int, Drawn] = {}  # by quarter hour, as far as that is not priced yet
    priced_wh: float = 0.0
    cost_eur: float = 0.0
    unpriced_wh: float = 0.0
    co2_g: float = 0.0
    co2_known_wh: float = 0.0
    peak_w: float | None = None
    capped_s: float = 0.0
    withheld_wh: float = 0.0
    lost_gpu_h: float = 0.0
    gpu_uuids: tuple[str, ...] = ()  # as its nodes told
    by_cpu_time_wh: float = 0.0  # of what was apportioned of hosts
    by_activity_wh: float = 0.0  # of what was apportioned of GPUs

    @property
    def key(self) -> RunKey:
        """By which it is known."""
        return self.job.scheduler, self.job.id, self.started_utc_s

    @property
    def node_count(self) -> int:
        """Of nodes that it holds."""
        return max(1, len(self.job.nodes) or self.job.node_count)

    @property
    def uuids(self) -> frozenset[str]:
        """The GPUs that it holds, as its scheduler says, else as its nodes told; empty: not known."""
        return frozenset(self.job.gpu_uuids or self.gpu_uuids)

    def draw(self, portion: Portion, part: float, quarter: int) -> None:
        """Count `part` of a portion."""
        name, wh = f"{portion.part} {portion.how}", portion.wh * part
        self.energy_wh[name] = self.energy_wh.get(name, 0.0) + wh
        self._quarter(quarter).wh += wh
        if portion.by == "cpu time":
            self.by_cpu_time_wh += wh
        elif portion.by == "activity":
            self.by_activity_wh += wh

    def cover(self, seconds: float, quarter: int) -> None:
        """Count time with readings on one of its nodes."""
        self.node_s += seconds
        self._quarter(quarter).node_s += seconds

    def cap(self, seconds: float, withheld_wh: float, lost_gpu_h: float) -> None:
        """Count time under a cap of one of its nodes, and about what that took and cost."""
        self.capped_s += seconds
        self.withheld_wh += withheld_wh
        self.lost_gpu_h += lost_gpu_h

    def _quarter(self, quarter: int) -> Drawn:
        return self.drawn.setdefault(quarter, Drawn())

    def price(self, quarter: int, rates: Rates) -> None:
        """Price what it drew in a quarter hour."""
        drawn = self.drawn.pop(quarter, None)
        if drawn is None:
            return
        if drawn.node_s > 0:
            mean_w = drawn.wh * 3600 / drawn.node_s * self.node_count
            if drawn.node_s >= min(60.0, self.node_s / 2) * self.node_count:  # a few seconds are no quarter hour
                self.peak_w = mean_w if self.peak_w is None else max(self.peak_w, mean_w)
        if rates.eur_per_kwh is None:
            self.unpriced_wh += drawn.wh
        else:
            self.priced_wh += drawn.wh
            self.cost_eur += drawn.wh / 1000 * rates.eur_per_kwh
        if rates.co2_g_per_kwh is not None:
            self.co2_known_wh += drawn.wh
            self.co2_g += drawn.wh / 1000 * rates.co2_g_per_kwh

    def record(self, until_utc_s: float) -> JobRecord:
        """The run as it is known; `until_utc_s`: up to when its energy is."""
        job = self.job
        parts = {part: self._part(part) for part in _PARTS}
        whole_s = max(0.0, until_utc_s - self.started_utc_s) * self.node_count
        energy_wh = sum(self.energy_wh.values())
        mean_w = energy_wh * 3600 / self.node_s * self.node_count if self.node_s > 0 else None
        waiting_wh = sum(drawn.wh for drawn in self.drawn.values())
        return JobRecord(
            scheduler=job.scheduler,
            id=job.id,
            started_utc_s=self.started_utc_s,
            ended_utc_s=self.ended_utc_s,
            end_within_s=self.end_within_s,
            from_start=self.from_start,
            name=job.name,
            user=job.user,
            account=job.account,
            partition=job.partition,
            nodes=self.node_count,
            cpus=job.cpus,
            gpus=job.gpus,
            gpu_wh=parts["gpu"][0],
            gpu_how=parts["gpu"][1],
            host_wh=parts["host"][0],
            host_how=parts["host"][1],
            node_wh=parts["node"][0],
            node_how=parts["node"][1],
            by_cpu_time_wh=self.by_cpu_time_wh,
            by_activity_wh=self.by_activity_wh,
            covered_pct=100 * min(1.0, self.node_s / whole_s) if whole_s else 100.0,
            suspended_s=self.suspended_s,
            mean_w=mean_w,
            peak_w=mean_w if self.peak_w is None else self.peak_w,
            cost_eur=self.cost_eur if self.priced_wh else None,
            unpriced_wh=self.unpriced_wh + waiting_wh,
            co2_g=self.co2_g if self.co2_known_wh else None,
            capped_s=self.capped_s,
            withheld_wh=self.withheld_wh,
            lost_gpu_h=self.lost_gpu_h,
        )

    def _part(self, part: Part) -> tuple[float, How | None]:
        found = [(how, self.energy_wh.get(f"{part} {how}", 0.0)) for how in _HOWS]
        return sum(wh for _, wh in found), least_certain(found)
