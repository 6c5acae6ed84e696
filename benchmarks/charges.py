"""How long plans and a replay take with several charges on peaks, beside one demand charge.

    python -m benchmarks.charges [--days 10]     the bundled load and prices on the demo site, in 5 min steps

The tariff is two charges on the highest mean (all hours, and a high-load window of winter and summer evenings) and an
excess charge with a contract in working hours, on the highest excess or on the root of the sum of squares. Times are
CPU time; a solve's is of filling in and solving a program, of which a plan may take several.
"""

from __future__ import annotations

import time
from typing import NamedTuple
from unittest.mock import patch

import click
import msgspec

from benchmarks.dispatch import bundled_case
from console.replay.compare import compare
from console.replay.engine import Case, Replay
from dispatch.config.charges import Charge, TariffWindow
from dispatch.planning.lp_model import Problem, Solution
from dispatch.planning.lp_solver import LinearProgram

DAY_S = 86_400
SHOWN_DAYS = 30
WINDOWS = (
    TariffWindow(id="high-load", days=("mon-fri",), times=("16:30-20:00",), holidays="outside"),
    TariffWindow(id="working", days=("mon-fri",), times=("08:00-20:00",)),
)
CHARGES = (
    Charge(id="all hours", kind="max", price=6.0),
    Charge(id="high load", kind="max", price=9.0, windows=("high-load",)),
    Charge(id="working hours", kind="excess", price=4.0, contract_kw=30.0, windows=("working",)),
)


class Timed(NamedTuple):
    """What one tariff took."""

    solve_p50_ms: float
    solve_p95_ms: float
    cpu_s: float
    plans: int
    lost: int  # plans that failed or were refused


def timed(case: Case) -> Timed:
    """Replay a case, foresight and bills included."""
    solves: list[float] = []
    solve = LinearProgram.solve

    def watched(program: LinearProgram, problem: Problem) -> Solution:
        solve_began = time.thread_time()
        solution = solve(program, problem)
        solves.append(1000 * (time.thread_time() - solve_began))
        return solution

    began = time.process_time()
    run = Replay(case)
    with patch.object(LinearProgram, "solve", watched):
        for _ in run.run():
            pass
    compare(case, run.schedule)
    counts = run.plan_counts
    p50, p95 = (sorted(solves)[int(share * len(solves))] for share in (0.5, 0.95))
    return Timed(p50, p95, time.process_time() - began, len(solves), counts.failed + counts.refused)


@click.command(help=__doc__)
@click.option("--days", default=10, type=click.IntRange(1, 10), help="Days replayed.")
def main(days: int) -> None:
    """Print a line for each tariff, and what several charges take of one."""
    case = bundled_case(300)
    case = msgspec.structs.replace(case, end_s=case.start_s + days * DAY_S)
    tariff = msgspec.structs.replace(
        case.config.tariff, demand=None, demand_eur_per_kw_month=0.0, window=WINDOWS, charge=CHARGES, holidays="DE-BE"
    )
    squares = (*CHARGES[:-1], msgspec.structs.replace(CHARGES[-1], excess_by="root-sum-square", price=1.4))
    tariffs = {"three charges": tariff, "with squares": msgspec.structs.replace(tariff, charge=squares)}
    rows = {"one charge": timed(case)}
    for name, terms in tariffs.items():
        several = msgspec.structs.replace(case, config=msgspec.structs.replace(case.config, tariff=terms))
        rows[name] = timed(several)
    for name, row in rows.items():
        print(
            f"{name:14} solve p50 {row.solve_p50_ms:6.2f} ms, p95 {row.solve_p95_ms:6.2f} ms; {SHOWN_DAYS} days "
            f"{row.cpu_s * SHOWN_DAYS / days:6.1f} s CPU; {row.plans} plans, {row.lost} lost"
        )
    one, *others = rows.values()
    for row in others:
        print(f"{'ratio':14} p95 {row.solve_p95_ms / one.solve_p95_ms:.2f}, replay {row.cpu_s / one.cpu_s:.2f}")


if __name__ == "__main__":
    main()
