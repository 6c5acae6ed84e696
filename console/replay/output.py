"""Writes the results of a replay: schedule.csv, jobs_started.csv, summary.json."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from console.replay.compare import Comparison
from console.replay.engine import Case, PlanCounts, Schedule
from console.replay.job_file import Job
from console.replay.traces import utc
from dispatch.billing.bill import Bill
from dispatch.model.decoding import decoded
from storage.csv_fields import field


class _Earlier(msgspec.Struct):
    """What is said of an earlier run's summary.json."""

    from_utc: str = ""  # none in the result of another command
    to_utc: str = ""
    step_s: float = 0.0
    partial: bool = False


_EARLIER = msgspec.json.Decoder(_Earlier)
SCHEDULE_COLUMNS = ("start_utc", "battery_w", "grid_w", "load_w", "pv_w", "soc", "shed_w", "curtailed_w")


def write_schedule(path: Path, schedule: Schedule) -> None:
    """One row per step: powers in W as means over it, soc (0..1) at its end."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(SCHEDULE_COLUMNS)
        powers = (schedule.battery_w, schedule.load_w, schedule.pv_w, schedule.soc_pct)
        rows = zip(*powers, schedule.shed_w, schedule.curtailed_w, strict=True)
        for k, (battery_w, load_w, pv_w, soc_pct, shed_w, curtailed_w) in enumerate(rows):
            grid_w = load_w - shed_w - pv_w - battery_w
            start = utc(schedule.start_s + k * schedule.step_s)
            watts = (f"{w:.3f}" for w in (battery_w, grid_w, load_w, pv_w))
            writer.writerow((start, *watts, f"{soc_pct / 100:.6f}", f"{shed_w:.3f}", f"{curtailed_w:.3f}"))


def write_jobs(path: Path, jobs: Sequence[Job], start_s: int, end_s: int) -> None:
    """The jobs that started in the stretch."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("job_id", "start_utc"))
        writer.writerows((field(job.id), utc(job.reference_s)) for job in jobs if start_s <= job.reference_s < end_s)


def summary(
    case: Case, schedule: Schedule, plan_counts: PlanCounts, scored: Comparison, wall_s: float
) -> dict[str, Any]:
    """The run in figures: EUR split into energy, peak and wear, by strategy; what planning took; what was odd."""
    solves = sorted(plan_counts.solve_ms)
    return {
        "from_utc": utc(case.start_s),
        "to_utc": utc(schedule.end_s),
        "asked_to_utc": utc(case.end_s),
        "partial": schedule.end_s < case.end_s,
        "step_s": case.step_s,
        "soc_start": case.soc_pct / 100,
        "soc_end": round(schedule.soc_pct[-1] / 100, 6),
        "soc_min": round(min(schedule.soc_pct) / 100, 6),
        "strategies": {
            name: _costs(one) | {"captured_pct": _rounded(scored.captured_pct(name), 1)}
            for name, one in scored.bills.items()
        },
        "plans": {
            "made": plan_counts.plans,
            "failed": plan_counts.failed,
            "refused_by_check": plan_counts.refused,
            "last_trouble": plan_counts.trouble,
            "solve_p50_ms": round(solves[len(solves) // 2], 2) if solves else None,
            "solve_p95_ms": round(solves[int(0.95 * len(solves))], 2) if solves else None,
        },
        "safe_value_steps": plan_counts.safe_steps,
        "wall_s": round(wall_s, 1),
        "notes": list(scored.notes),
    }


def earlier_results(out: Path) -> str:
    """Names of an earlier run's results in `out`, for a message; empty if there are none."""
    path = out / "summary.json"
    if not path.exists():
        return ""
    try:
        held = decoded(_EARLIER.decode, path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        return f"a summary.json that cannot be read ({error})"
    if not held.from_utc:
        return "an earlier result"
    partly = "partial " if held.partial else ""
    return f"the {partly}result of {held.from_utc} to {held.to_utc}, step {held.step_s:g} s"


def write_summary(path: Path, content: dict[str, Any]) -> None:
    """As indented JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def _costs(one: Bill) -> dict[str, Any]:
    return {
        "total_eur": round(one.total_eur, 2),
        "energy_eur": round(one.energy_eur, 2),
        "peak_eur": round(one.peak_eur, 2),
        "wear_eur": round(one.wear_eur, 2),
        "shed_eur": round(one.shed_eur, 2),
        "stored_value_eur": round(one.stored_eur, 2),
        "import_kwh": round(one.import_kwh, 1),
        "export_kwh": round(one.export_kwh, 1),
        "throughput_kwh": round(one.throughput_kwh, 1),
        **({"standing_eur": round(one.standing_eur, 2)} if one.standing_eur else {}),
        **({"co2_eur_not_billed": round(one.co2_eur, 2)} if one.co2_eur else {}),
        "peaks_kw": {month: round(w / 1000, 2) for month, w in one.peaks_w.items()},
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
