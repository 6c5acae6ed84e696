"""Puts the figures of one node's sources together: its host, its GPUs, its power by the best witness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dispatch.model.equipment import Gpu, JobUse, Node, NodePower
from dispatch.model.readings import MISSING, Quality, Reading, reading
from drivers.node_config import NodeDevice
from drivers.nodes.gpu_readings import BUSY_PCT
from drivers.nodes.gpu_slots import GpuSlots
from drivers.nodes.job_metrics import JobCpus
from drivers.nodes.metrics import Figures, GpuField, GpuFigures, HostFigures
from drivers.nodes.power import GRACE_S, LEAST_S, MOST_GAP_S, PERIODS, CounterRate, Part, best, gpus_part, summed

METER = "ACPI power meter"
NOTE_MOST = 240
KEPT_S = 120.0  # figures of a page that does not come any more are shown for so long


class CpuUse:
    """Use of all CPUs, %, from their counters of idle seconds; None: not known yet."""

    def __init__(self) -> None:
        self._idle_s: Mapping[str, float] = {}
        self._at_s = 0.0
        self.pct: float | None = None

    def take(self, idle_s: Mapping[str, float], at_s: float) -> None:
        """Counters as read at `at_s`. Those of CPUs that never rest stand still."""
        passed_s, before = at_s - self._at_s, self._idle_s
        if (not idle_s and not before) or (before.keys() == idle_s.keys() and 0 <= passed_s < LEAST_S):
            return
        self._idle_s, self._at_s = dict(idle_s), at_s
        if not idle_s or before.keys() != idle_s.keys() or not 0 < passed_s <= MOST_GAP_S:
            self.pct = None
            return
        idle_pct = 100 * sum(value - before[key] for key, value in idle_s.items()) / (passed_s * len(idle_s))
        self.pct = min(max(100 - idle_pct, 0.0), 100.0) if -1 <= idle_pct <= 110 else None


class _Page(msgspec.Struct, frozen=True):
    """Figures of one exporter, when they were fetched, and what the clock of the machine that sent them said then."""

    figures: Figures
    at_s: float
    served_utc_s: float | None

    def age_s(self, stamp_utc_s: float | None, now_s: float) -> float:
        """Age of a figure. Its stamp is compared with the clock of the machine that sent it, never with ours."""
        old_s = 0.0 if stamp_utc_s is None or self.served_utc_s is None else self.served_utc_s - stamp_utc_s
        return max(old_s, 0.0) + now_s - self.at_s


class _Gpus(msgspec.Struct, frozen=True):
    """The GPUs of a node, and the figures they come from: the same figures, as old as before, give the same GPUs."""

    figures: tuple[GpuFigures, ...]
    ages_s: list[float]
    late_s: float
    gpus: tuple[Gpu, ...]
    absent: str
    busy: Reading
    part: Part | None  # of the node's power


class NodeFigures:
    """What is known of one node. Times are the event loop's."""

    def __init__(self, config: NodeDevice, period_s: float) -> None:
        self._config, self._period_s = config, period_s
        self._pages: dict[str, _Page] = {}
        self._rapl, self._cpu, self._slots = CounterRate(), CpuUse(), GpuSlots(config.gpus)
        self._jobs = JobCpus()
        self._measured_s: dict[str, float] = {}  # how often a source has new samples, learnt from their stamps
        self._host_seen = self._gpus_seen = False
        self._last_gpus: _Gpus | None = None
        self.swapped = ""  # what was swapped, as of the last call of `node`

    def take(self, figures: Figures, at_s: float, served_utc_s: float | None = None, every_s: float = 0.0) -> None:
        """Figures fetched at `at_s`. `every_s`: how often their source has new ones, where that is known."""
        self._pages[figures.exporter] = page = _Page(figures, at_s, served_utc_s)
        self._measured_s[figures.exporter] = max(figures.period_s, every_s)
        self._gpus_seen = self._gpus_seen or bool(figures.gpus)
        if (host := figures.host) is not None:
            self._host_seen = True
            taken_s = at_s - page.age_s(host.utc_s, at_s)
            self._rapl.take(host.rapl_j, taken_s)
            self._cpu.take(host.idle_s, taken_s)
            if host.idle_pct is not None:
                self._cpu.pct = 100 - host.idle_pct
        if (jobs := figures.jobs) is not None:
            self._jobs.take(jobs.cpu_s, at_s - page.age_s(jobs.utc_s, at_s))

    @property
    def has_host_and_gpus(self) -> bool:
        """Whether its sources have given both: no other source can hold a part of its power that the sum lacks."""
        return self._host_seen and self._gpus_seen

    def node(self, now_s: float, others: Sequence[NodePower], trouble: Sequence[str], complete: bool = True) -> Node:
        """The node now. `others`: powers that rank first, such as of a PDU. `trouble`: what could not be read.

        `complete`: every source of its power has been read at least once. Until then no sum is the node's power.
        """
        pages = [page for page in self._pages.values() if now_s - page.at_s <= KEPT_S + self._period_s]
        notes = list(trouble)
        gpus, gpu_page = self._gpus(pages, now_s, notes)
        host_page = next((p for p in pages if p.figures.host is not None), None)
        for page in pages:
            if page is gpu_page or page is host_page:
                notes += page.figures.notes
        if self._rapl.note:
            notes.append(self._rapl.note)
        cpu_pct = self._host_reading(host_page, now_s, self._cpu.pct)
        found = self._powers(host_page, gpus.part, cpu_pct, now_s)
        powers = [*others, *(found if complete else map(_unknown, found))]
        chosen = best(powers) or _last_known(powers)
        memory_pct = None if host_page is None or host_page.figures.host is None else host_page.figures.host.memory_pct
        return Node(
            self._config.id,
            w=MISSING if chosen is None else chosen.w,
            cpu_pct=cpu_pct,
            memory_pct=self._host_reading(host_page, now_s, memory_pct),
            gpus=gpus.gpus,
            gpus_busy=gpus.busy,
            gpus_total=len(gpus.gpus),
            critical=self._config.critical,
            source="" if chosen is None else chosen.source,
            note="; ".join(dict.fromkeys(notes))[:NOTE_MOST],
            period_s=self._period_s if chosen is None else max(chosen.period_s, self._period_s),
            powers=tuple(powers),
            job_use=self._job_use(pages, gpu_page, now_s),
        )

    def _job_use(self, pages: list[_Page], gpu_page: _Page | None, now_s: float) -> JobUse | None:
        """What its exporters report on jobs; None: nothing."""
        parts = () if gpu_page is None else gpu_page.figures.gpu_parts
        page = next((page for page in pages if page.figures.jobs is not None), None)
        cpus = () if page is None else self._jobs.used(now_s, PERIODS * self._every_s(page) + GRACE_S)
        return JobUse(cpus, parts) if cpus or parts else None

    def _gpus(self, pages: list[_Page], now_s: float, notes: list[str]) -> tuple[_Gpus, _Page | None]:
        """Of one exporter: two of them on a node tell of the same GPUs. The one that was read last."""
        with_gpus = [page for page in pages if page.figures.gpus]
        page = max(with_gpus, key=lambda p: p.at_s, default=None)
        if len(with_gpus) > 1 and page is not None:
            notes.append(f"GPUs by {page.figures.exporter} alone, of {len(with_gpus)} exporters")
        if page is None:
            gpus = self._gpus_of((), [], 0.0, "no exporter", self._period_s)
        else:
            name = page.figures.exporter
            late_s = PERIODS * max(self._measured_s[name], self._period_s) + GRACE_S
            ages_s = [page.age_s(g.utc_s, now_s) for g in page.figures.gpus]
            gpus = self._gpus_of(page.figures.gpus, ages_s, late_s, name, self._every_s(page))
        if gpus.absent:
            notes.append(gpus.absent)
        return gpus, page

    def _gpus_of(
        self, figures: tuple[GpuFigures, ...], ages_s: list[float], late_s: float, exporter: str, every_s: float
    ) -> _Gpus:
        """These figures as GPUs; the same objects as before if figures and ages are the same."""
        before, self.swapped = self._last_gpus, ""
        if before is not None and before.figures is figures and (before.ages_s, before.late_s) == (ages_s, late_s):
            return before
        read = tuple([_gpu(g, age_s, late_s) for g, age_s in zip(figures, ages_s, strict=True)])
        gpus, absent, self.swapped = self._slots.see(read)
        part = gpus_part(gpus, exporter, every_s)
        self._last_gpus = _Gpus(figures, ages_s, late_s, gpus, absent, _busy(gpus), part)
        return self._last_gpus

    def _powers(
        self,
        host_page: _Page | None,
        gpus_part: Part | None,
        cpu_pct: Reading,
        now_s: float,
    ) -> list[NodePower]:
        """By meter, by counters, by estimate; what the sources do not offer at all is left out."""
        powers: list[NodePower] = []
        host = None if host_page is None else host_page.figures.host
        every_s = self._every_s(host_page)
        if host is not None and host_page is not None and host.meter_w is not None:
            age_s = host_page.age_s(host.utc_s, now_s)
            powers.append(NodePower(METER, Reading(host.meter_w, age_s, Quality.GOOD), every_s))
        gpu_parts = [] if gpus_part is None else [gpus_part]
        if host is not None and host.rapl_j:
            rate = self._rapl
            w = MISSING if rate.w is None else Reading(rate.w, max(now_s - rate.at_s, 0.0), Quality.GOOD)
            powers.append(summed([Part(w, "RAPL", every_s), *gpu_parts]))
        estimate = self._estimate(cpu_pct, every_s)
        if estimate is not None and (gpu_parts or host is not None):
            powers.append(summed([estimate, *gpu_parts]))
        return powers

    def _estimate(self, cpu_pct: Reading, every_s: float) -> Part | None:
        """The host by the site file's idle and full power; by the idle power where nothing ever told of the host."""
        idle_w, full_w = self._config.idle_w, self._config.full_w
        if cpu_pct.value is None:
            return None if self._host_seen else Part(reading(idle_w), "idle_w assumed for the host", every_s)
        w = idle_w + cpu_pct.value / 100 * (full_w - idle_w)
        return Part(Reading(w, cpu_pct.age_s, cpu_pct.quality), "estimate by CPU use", every_s)

    def _every_s(self, page: _Page | None) -> float:
        return self._period_s if page is None else max(self._measured_s[page.figures.exporter], self._period_s)

    def _host_reading(self, page: _Page | None, now_s: float, value: float | None) -> Reading:
        if page is None or page.figures.host is None or value is None:
            return MISSING
        age_s = page.age_s(page.figures.host.utc_s, now_s)
        late = age_s > PERIODS * self._every_s(page) + GRACE_S
        return Reading(value, age_s, Quality.STALE if late else Quality.GOOD)


def _gpu(figures: GpuFigures, age_s: float, late_s: float) -> Gpu:
    quality = Quality.STALE if age_s > late_s else Quality.GOOD

    def value(field: GpuField) -> Reading:
        found = figures.values.get(field)
        return MISSING if found is None else Reading(found, age_s, quality)

    return Gpu(
        figures.index,
        figures.name,
        w=value("w"),
        limit_w=value("limit_w"),
        util_pct=value("util_pct"),
        temp_c=value("temp_c"),
        memory_used_mib=value("memory_used_mib"),
        uuid=figures.uuid,
        enforced_w=value("enforced_w"),
        energy_j=value("energy_j"),
    )


def _unknown(power: NodePower) -> NodePower:
    """A sum that lacks what could not be read; a meter of the whole machine lacks nothing."""
    return power if power.source == METER else msgspec.structs.replace(power, w=MISSING)


def _busy(gpus: Sequence[Gpu]) -> Reading:
    """Number of GPUs in use; missing where one does not say."""
    used = [gpu.util_pct.good for gpu in gpus]
    if not gpus or any(pct is None for pct in used):
        return MISSING
    age_s = max(gpu.util_pct.age_s or 0.0 for gpu in gpus)
    return Reading(float(sum(pct >= BUSY_PCT for pct in used if pct is not None)), age_s, Quality.GOOD)


def _last_known(powers: Sequence[NodePower]) -> NodePower | None:
    """None is fresh: the first that was known, as stale."""
    for power in powers:
        if power.w.value is not None:
            stale = msgspec.structs.replace(power, w=Reading(power.w.value, power.w.age_s, Quality.STALE))
            return stale
    return None


def host_name(host: HostFigures | None) -> str:
    """The host's own name, without its domain, in lower case; empty: it says none that tells machines apart."""
    name = "" if host is None else host.name.partition(".")[0].lower()
    return "" if name == "localhost" else name
