"""What is said of the SoC that a BMS reports."""

from __future__ import annotations

TEMPLATES = {
    "soc.counted": "{reason} (counted from energy; {reports:comma})",
    "soc.report": "{battery} reports {reported_pct:.1f} %",
}
