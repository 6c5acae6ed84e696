"""A job with whole nodes is charged what its scheduler's own counter of energy would say, within 5 %."""

from __future__ import annotations

import pytest
from metered_site import T0, Machine, MeteredSite, Wave, a_job, between

from console.cli.job_comparison import Told, compared
from gateway.api.job_report import shown_job


@pytest.mark.parametrize(("period_s", "poll_s"), [(1.0, 10.0), (30.0, 30.0)])
def test_a_whole_node_is_within_5_pct_of_what_slurm_would_count(period_s: float, poll_s: float) -> None:
    """Slurm's IPMI plugin takes each power that it polls as lasting until the next (acct_gather_energy_ipmi.c)."""
    watts = Wave(600.0, 250.0, 310.0)
    machine = Machine("n1", watts, period_s=period_s)
    site = MeteredSite([machine], between(a_job("7", ["n1"], 95), 95, 1895), cpus={"n1": 64})
    site.run(3200)
    (record,) = site.records
    polls = int((1895 - 95) // poll_s)
    joules = sum(watts(95 + n * poll_s) * poll_s for n in range(polls))
    (row,), _ = compared([shown_job(record)], {"7": [Told(T0 + 95, joules)]}, "all")
    assert not row.not_judged
    assert not row.beyond
    assert row.slurm_wh == pytest.approx(machine.wh(95, 1895), rel=0.02)
