"""Which waiting jobs may start: Slurm's own words and Kueue's, and the free texts that it shows instead."""

from __future__ import annotations

import pytest

from dispatch.forecasting.waiting_reasons import obstacle


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("Priority", None),
        ("(Resources)", None),
        ("None", None),
        ("", None),
        ("Cleaning", None),
        ("JobHeldUser", "held"),
        ("JobHeldAdmin", "held"),
        ("JobHoldMaxRequeue", "held"),
        ("launch failed requeued held", "held"),
        ("job requeued in held state", "held"),
        ("Dependency", "dependency"),
        ("DependencyNeverSatisfied", "dependency"),
        ("QOSMaxJobsPerUserLimit", "limit"),
        ("QOSGrpGRES", "limit"),
        ("AssocGrpBillingMinutes", "limit"),
        ("AssociationJobLimit", "limit"),
        ("MaxGRESPerAccount", "limit"),
        ("AccountingPolicy", "limit"),
        ("JobArrayTaskLimit", "limit"),
        ("PartitionTimeLimit", "limit"),
        ("BadConstraints", "unavailable"),
        ("ReqNodeNotAvail, UnavailableNodes:gpu[01-02]", "unavailable"),
        ("BeginTime", "unavailable"),
        ("Licenses", "unavailable"),
        ("a word of another scheduler", "unavailable"),
        ("WaitingForQuota", None),  # from here on Kueue's
        ("Pending", None),
        ("Deactivated", "held"),
        ("AdmissionGated", "held"),
        ("ExceedsMaxQuota", "unavailable"),
        ("Inadmissible", "unavailable"),
        ("UnsatisfiedAdmissionChecks", "unavailable"),
    ],
)
def test_without_an_expected_start(reason: str, why: str | None) -> None:
    assert obstacle(reason, start_expected=False) == why


@pytest.mark.parametrize("reason", ["BeginTime", "Reservation", "ReqNodeNotAvail, May be reserved"])
def test_what_the_scheduler_expects_is_believed_where_only_time_is_missing(reason: str) -> None:
    assert obstacle(reason, start_expected=True) is None


@pytest.mark.parametrize("reason", ["JobHeldUser", "Dependency", "AssocGrpGRES", "InvalidQOS", "Licenses"])
def test_a_start_expected_of_a_blocked_job_is_not(reason: str) -> None:
    assert obstacle(reason, start_expected=True) is not None
