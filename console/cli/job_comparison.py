"""Compares what jobs drew with what their scheduler says: Slurm's energy, as `sacct` prints it.

sacct(1), ConsumedEnergyRaw: joules; "only in the case of an exclusive job allocation does this value reflect the job's
real energy consumption", since each job is charged all that its nodes drew. Unknown is 0, empty, or NO_VAL64
(SchedMD/slurm 284c3b95, slurm/slurm.h; src/sacct/print.c). With PrologFlags=Contain a job's energy is that of its
extern step, which lasts as long as the job; without, those of all steps are added up, also where they overlap
(src/stepmgr/stepmgr.c, _internal_step_complete).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from console.display.formats import ABSENT, number
from console.terminal_output import one_line
from dispatch.accounting.records import COUNTS

COMMAND = "SLURM_TIME_FORMAT=%s sacct -a -D -X -P -S now-1day -o JobID,Start,ConsumedEnergyRaw"
NEEDED = ("JobID", "Start", "ConsumedEnergyRaw")
MOST_BYTES = 64 << 20
MOST_J = float(1 << 60)  # beyond are Slurm's INFINITE64 and NO_VAL64
NOT_BEGUN = ("Unknown", "None", "")
SAME_START_S = 60.0  # two clocks
BEYOND_PCT = 5.0
LEAST_COVERED_PCT = 99.0
Part = Literal["all", "host", "gpu"]
_NAMES = {"host": "host", "gpu": "GPUs"}


class Told(NamedTuple):
    """A run as Slurm tells of it. `joules`: None where it does not know."""

    start_utc_s: float
    joules: float | None


class Compared(NamedTuple):
    """A run, by both. `not_judged`: why; empty: it had its nodes alone, and all of its time was measured."""

    id: str
    user: str
    ours_wh: float
    slurm_wh: float
    not_judged: str

    @property
    def difference_pct(self) -> float:
        """Ours less Slurm's, of Slurm's."""
        return 100 * (self.ours_wh / self.slurm_wh - 1)

    @property
    def beyond(self) -> bool:
        """Whether they differ by more than they may."""
        return not self.not_judged and abs(self.difference_pct) > BEYOND_PCT


def slurm_energies(data: bytes) -> dict[str, list[Told]]:
    """Runs by the id of their job, of the output of `COMMAND`; steps are left out. Raises ValueError with the line."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES >> 20} MiB: give sacct a shorter time")
    lines = data.decode("utf-8", "replace").splitlines()
    header = lines[0].split("|") if lines else []
    if not set(NEEDED) <= set(header):
        raise ValueError(f"line 1: expected the columns {', '.join(NEEDED)}, divided by |, as of: {COMMAND}")
    found: dict[str, list[Told]] = {}
    for n, line in enumerate(lines[1:], 2):
        cells = line.split("|")
        if len(cells) != len(header):
            raise ValueError(f"line {n}: {len(cells)} columns, expected {len(header)}: leave out what users name")
        id, start, energy = (cells[header.index(name)].strip() for name in NEEDED)
        if "." in id or start in NOT_BEGUN:
            continue  # a step; a job that has not begun
        if not _is_number(start):
            raise ValueError(f"line {n}: Start {start[:40]!r}: expected POSIX seconds, by SLURM_TIME_FORMAT=%s")
        found.setdefault(id, []).append(Told(float(start), _joules(energy)))
    return found


def _joules(text: str) -> float | None:
    joules = float(text) if _is_number(text) else 0.0
    return joules if 0 < joules < MOST_J else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20


def compared(
    jobs: Sequence[Mapping[str, Any]], told: Mapping[str, Sequence[Told]], part: Part
) -> tuple[list[Compared], int]:
    """Runs that ended, by both; and how many Slurm tells nothing of. `part` of ours: what Slurm's plugin measures."""
    found = [(job, _joules_of(job, told.get(job["id"], ()))) for job in jobs]
    rows = [_row(job, joules / 3600, part) for job, joules in found if joules is not None]
    return rows, len(found) - len(rows)


def _joules_of(job: Mapping[str, Any], runs: Sequence[Told]) -> float | None:
    """Of the run of that start. A job that fails at once may have been started again within the minute."""

    def apart_s(run: Told) -> float:
        return abs(run.start_utc_s - float(job["started_utc_s"]))

    nearest = min(runs, key=apart_s, default=None)
    return nearest.joules if nearest is not None and apart_s(nearest) <= SAME_START_S else None


def _row(job: Mapping[str, Any], slurm_wh: float, part: Part) -> Compared:
    ours_wh = job["energy_wh"] if part == "all" else job[f"{part}_wh"]
    return Compared(job["id"], job["user"], ours_wh, slurm_wh, _not_judged(job, part))


def _not_judged(job: Mapping[str, Any], part: Part) -> str:
    if part != "all" and (job[f"{part}_how"] is None or job["node_wh"] > COUNTS * job["energy_wh"]):
        return f"ours of the {_NAMES[part]} alone is not known"
    if job["how"] == "estimated":
        of = "" if part != "gpu" or job["gpu_how"] == "estimated" else " of the host, so that it may share its nodes"
        return f"ours is estimated{of}"
    if job["how"] != "measured":
        return "shared nodes: Slurm's is that of all jobs on them"
    seen = job["covered_pct"] >= LEAST_COVERED_PCT and job["from_start"]
    return "" if seen else "not seen all of its time"


def comparison_lines(rows: Sequence[Compared], untold: int) -> Iterator[str]:
    """What is printed of it."""
    if rows:
        yield f"{'JOB':<14} {'USER':<10} {'OURS kWh':>10} {'SLURM kWh':>10} {'DIFFERENCE':>10}"
    for row in rows:
        told = f"MORE THAN {BEYOND_PCT:g} % APART" if row.beyond else row.not_judged and f"not judged: {row.not_judged}"
        figures = (
            f"{number(row.ours_wh / 1000, 10, 3)} {number(row.slurm_wh / 1000, 10, 3)} {row.difference_pct:>+8.1f}"
        )
        yield one_line(f"{row.id:<14.14} {row.user or ABSENT:<10.10} {figures} %  {told}".rstrip())
    judged = [row for row in rows if not row.not_judged]
    if judged:
        beyond, most = sum(row.beyond for row in judged), max((row.difference_pct for row in judged), key=abs)
        apart = f"{beyond} of them are more than {BEYOND_PCT:g} % apart, the widest {most:+.1f} %"
        yield f"{len(judged)} had whole nodes: {apart}"
    else:
        yield "none had whole nodes that were measured all of its time: nothing can be judged"
    if untold:
        yield f"{untold} are not in sacct's output, or Slurm knows no energy of them (AcctGatherEnergyType)"


def comparison_json(rows: Sequence[Compared], untold: int) -> dict[str, Any]:
    """The same as figures."""
    told = [row._asdict() | {"difference_pct": row.difference_pct, "beyond": row.beyond} for row in rows]
    return {"compared": told, "not_told": untold}
