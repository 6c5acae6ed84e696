"""The report of a drill that passed, for tests of what keeps and shows it."""

from __future__ import annotations

from dispatch.model.islanding import Check, DrillReport
from dispatch.model.reasons import Reason, plain


def passed(start_utc_s: float) -> DrillReport:
    """Ten minutes off the grid that began then."""
    return DrillReport(
        who="ann",
        reason="monthly",
        minutes=10.0,
        started_utc_s=start_utc_s,
        ended_utc_s=start_utc_s + 700,
        result="passed",
        why=Reason("drill.passed"),
        timeline=((start_utc_s, plain("preparing: drill of 10 min by ann")), (start_utc_s + 700, Reason("drill.end"))),
        checks=(Check(Reason("check.energy"), True, plain("SoC 80.0 %, 21.0 kW for 10 min takes 4.5 %")),),
        criteria=(Check(Reason("check.bus_voltage"), True, Reason("found.bus_voltage", {"bus_v": 229.0})),),
        transfer_gap=Reason("gap.recorded", {"transfer_ms": 8.0}),
        islanded_s=601.5,
        v_min=228.0,
        v_max=231.5,
        hz_min=49.98,
        hz_max=50.4,
        battery_wh=3_412.5,
        soc_track=((start_utc_s, 80.0), (start_utc_s + 600, 76.2)),
    )
