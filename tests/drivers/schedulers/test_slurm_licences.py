"""What scontrol of Slurm 22.05.8 printed of licences and reservations, and what it might print besides."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak_sizes import examples

from drivers.schedulers.slurm_licences import (
    Held,
    LicencesShown,
    NotUnderstood,
    held_in,
    keep,
    licences_in,
    release,
    reservation_name,
)

LICENCES = """LicenseName=matlab Total=5 Used=1 Free=4 Reserved=0 Remote=no
LicenseName=skerry_kw10 Total=100 Used=24 Free=76 Reserved=90 Remote=no
"""
OURS = (
    "ReservationName=skerry-site StartTime=2026-11-30T04:08:04 EndTime=2026-11-30T04:09:04 Duration=00:01:00 "
    "Nodes=(null) NodeCnt=0 CoreCnt=0 Features=(null) PartitionName=(null) Flags=ANY_NODES TRES=(null) Users=root "
    "Groups=(null) Accounts=(null) Licenses=skerry_kw10:80 State=ACTIVE BurstBuffer=(null) Watts=n/a "
    "MaxStartDelay=(null) \n"
)
THEIRS = OURS.replace("skerry-site", "theirs").replace("skerry_kw10:80", "matlab:2,skerry_kw10:30")
NONE = "No reservations in the system\n"


def test_licences_as_slurm_counts_them() -> None:
    assert licences_in(LICENCES, "skerry_kw10") == LicencesShown(100, 24)
    assert licences_in(LICENCES, "matlab") == LicencesShown(5, 1)
    newer = "LicenseName=skerry_kw10 Total=100 Used=24 Free=76 Reserved=90 Remote=no LastConsumed=0 LastDeficit=0"
    assert licences_in(newer, "skerry_kw10") == LicencesShown(100, 24)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LICENCES, "Slurm has no license power: add it to Licenses= of slurm.conf"),
        ("", "Slurm has no license power"),
        ("No licenses configured in Slurm.", "Slurm has no license power"),
        ("<html>LicenseName=x</html>", "Slurm has no license power"),
        ("LicenseName=power Total=-1 Used=nan", "expected Total= and Used=, found Total=-1 Used=nan"),
        ("LicenseName=power", "expected Total= and Used="),
        ("LicenseName=power Total=² Used=1", "expected Total= and Used="),
        (f"LicenseName=power Total={'9' * 5000} Used=1", "expected Total= and Used="),
    ],
)
def test_what_is_not_understood_says_what_to_do(text: str, said: str) -> None:
    with pytest.raises(NotUnderstood, match=said.replace("?", r"\?")):
        licences_in(text, "power")


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (NONE, Held(None, 0)),
        ("", Held(None, 0)),
        (OURS, Held(80, 0)),
        (OURS + THEIRS, Held(80, 30)),
        (THEIRS, Held(None, 30)),
        (THEIRS.replace("ACTIVE", "INACTIVE"), Held(None, 0)),  # not yet, or over
        (OURS.replace("skerry_kw10:80", "(null)"), Held(0, 0)),
        (OURS.replace("skerry_kw10:80", "skerry_kw10"), Held(1, 0)),
        (OURS.replace("skerry_kw10:80", "skerry_kw10:²"), Held(1, 0)),
        (OURS.replace("skerry-site", "skerry-site-2"), Held(None, 80)),  # another site's
    ],
)
def test_reservations_as_slurm_shows_them(text: str, held: Held) -> None:
    assert held_in(text, "skerry_kw10", "skerry-site") == held


@pytest.mark.parametrize(
    "changed",
    [
        ("Nodes=(null)", "Nodes=gpu[01-04]"),
        ("Users=root", "Users=ann"),
        ("Users=root", "Users=root,ann"),
        ("Flags=ANY_NODES", "Flags=MAINT,SPEC_NODES"),
        ("skerry_kw10:80", "matlab:2,skerry_kw10:80"),
    ],
)
def test_somebody_elses_reservation_of_our_name_is_not_taken_for_ours(changed: tuple[str, str]) -> None:
    with pytest.raises(NotUnderstood, match="the reservation skerry-site is somebody else's"):
        held_in(OURS.replace(*changed), "skerry_kw10", "skerry-site")


@given(st.text())
@settings(max_examples=examples(50))
def test_any_text_is_read_or_refused(text: str) -> None:
    held_in(text, "skerry_kw10", "skerry-site")
    with pytest.raises(NotUnderstood):
        licences_in(text, "skerry_kw10")


@pytest.mark.parametrize(
    ("site", "name"),
    [
        ("Render farm", "skerry-render-farm"),
        ("Größe/2, =x", "skerry-gr-e-2-x"),
        ("北京", "skerry-site"),
        ("x" * 90, "skerry-" + "x" * 41),
    ],
)
def test_a_reservation_bears_the_name_of_its_site(site: str, name: str) -> None:
    assert reservation_name(site) == name


def test_calls() -> None:
    made = " ".join(keep("skerry-a", "skerry_kw10", 80, exists=False))
    assert made == (
        "create reservation ReservationName=skerry-a Licenses=skerry_kw10:80 EndTime=now+300 StartTime=now "
        "Users=root Flags=ANY_NODES"
    )
    changed = " ".join(keep("skerry-a", "skerry_kw10", 70, exists=True))
    assert changed == "update ReservationName=skerry-a Licenses=skerry_kw10:70 EndTime=now+300"
    assert release("skerry-a") == ("delete", "ReservationName=skerry-a")
