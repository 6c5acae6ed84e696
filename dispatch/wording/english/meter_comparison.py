"""What the comparison with the utility's meter values suggests. Each is a hypothesis with its figures."""

from __future__ import annotations

PHRASES = {
    "meter.agrees": "no interval differs by more than two meters may",
    "meter.explained": "this would explain {share_pct:.0f} % of the differences (of their squares)",
    "meter.not_explained": "neither an offset of the clock nor a constant ratio explains the differences",
    "meter.swapped": "the meter's import follows the record's export: the direction is reversed in one of the two",
    "meter.clock_ahead": "the meter's clock may be ahead of this site's by {ahead_s:.0f} ± {error_s:.0f} s",
    "meter.clock_behind": "the meter's clock may be behind this site's by {ahead_s:.0f} ± {error_s:.0f} s",
    "meter.clock_shifted": (
        "the file's times may be {shift_s:span} too {later}, by whole intervals: do they mark the other end of the "
        "interval (--stamps)?"
    ),
    "meter.clock_zone": (
        "the file's times may be {shift_s:span} too {later}: are they of another zone, or without summer time (--zone)?"
    ),
    "meter.clock_figure": "the meter's clock: {ahead_s:+.0f} ± {error_s:.0f} s against this site's (> 0: ahead)",
    "meter.clock_few": (
        "the meter's clock cannot be estimated: only {intervals} intervals with the time around them are known"
    ),
    "meter.clock_constant": (
        "the meter's clock cannot be estimated: the load changes too little between the ends of intervals"
    ),
    "meter.clock_ambiguous": (
        "the meter's clock cannot be estimated: offsets of {ahead_s:+.0f} s and {other_s:+.0f} s fit "
        "equally well, the load repeats itself"
    ),
    "meter.ratio": (
        "the meter's values are {scale:.4f} ± {error:.4f} times the record's: is the ratio of the "
        "current transformers "
        "set wrongly on one side, or does one of the two see loads that the other does not?"
    ),
    "meter.accuracy": (
        "the meter's values are {scale:.4f} ± {error:.4f} times the record's: within the accuracy of "
        "meters and transformers"
    ),
    "meter.sign": (
        "the meter's values are {scale:.3f} times the record's: is the sign reversed on one side, or the column "
        "one of export?"
    ),
    "meter.kw_as_kwh": "the meter's values are {scale:.3f} times the record's: are they kW, not kWh (--unit kW)?",
    "meter.kwh_as_kw": "the meter's values are {scale:.3f} times the record's: are they kWh, not kW (--unit kWh)?",
    "meter.thousand": "the meter's values are {scale:g} times the record's: is the unit another (--unit)?",
    "meter.row_clock": "fits the offset of the clock",
    "meter.row_scale": "fits the constant ratio",
    "meter.row_both": "fits offset and ratio together",
    "meter.row_zero": "the meter says 0",
    "meter.row_unexplained": "not explained: {left_kwh:.2f} kWh are left with the corrections above",
}
