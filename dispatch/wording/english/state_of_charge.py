"""What is said of the SoC that a BMS reports."""

from __future__ import annotations

TEMPLATES = {
    "doubt.soc_range": "SoC {reported_pct:.1f} % is outside 0 to {most_pct:g} %",
    "doubt.soc": "SoC {reported_pct:.1f} %, {expected_pct:.1f} % by the last report and the energy moved since",
    "soc.recalibrated": (
        "SoC {reported_pct:.1f} % is taken as a recalibration of the BMS ({by}); by energy it was {expected_pct:.1f} %"
    ),
    "soc.by_limits": "its own limits agree",
    "soc.by_reports": "its reports have agreed for {for_s:g} s",
    "soc.jump_was_none": "SoC {reported_pct:.1f} % again, as the energy moved explains: it was no recalibration",
    "soc.stands_still": (
        "SoC stands still at {reported_pct:.1f} % although {moved_pct:.1f} points were {way} since it was "
        "{from_pct:.1f} %: it is counted from energy now"
    ),
    "soc.charged": "charged",
    "soc.discharged": "discharged",
    "soc.as_counted": "SoC {reported_pct:.1f} % is what energy explains: the BMS is believed again",
    "soc.moves_again": (
        "SoC {reported_pct:.1f} % follows the energy again: the BMS is believed again; counted from energy it was "
        "{counted_pct:.1f} %"
    ),
    "soc.counted": "{reason} (counted from energy; {reports:comma})",
    "soc.report": "{battery} reports {reported_pct:.1f} %",
}
