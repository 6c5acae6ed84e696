"""The report of a drill that passed, for tests of what keeps and shows it."""

from __future__ import annotations

from dispatch.model.islanding import Check, DrillReport


def passed(start_utc_s: float) -> DrillReport:
    """Ten minutes off the grid that began then."""
    return DrillReport(
        who="ann",
        reason="monthly",
        minutes=10.0,
        started_utc_s=start_utc_s,
        ended_utc_s=start_utc_s + 700,
        result="passed",
        why="held, returned, every criterion met",
        timeline=((start_utc_s, "preparing: drill of 10 min by ann"), (start_utc_s + 700, "end")),
        checks=(Check("energy", True, "SoC 80.0 %, 21.0 kW for 10 min takes 4.5 %"),),
        criteria=(Check("bus voltage", True, "229 V"),),
        transfer_gap="8 ms by the switch's recorder",
        islanded_s=601.5,
        v_min=228.0,
        v_max=231.5,
        hz_min=49.98,
        hz_max=50.4,
        battery_wh=3_412.5,
        soc_track=((start_utc_s, 80.0), (start_utc_s + 600, 76.2)),
    )
