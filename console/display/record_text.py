"""Words for what the record has of a moment, and for what it lacks and why. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from console.display.formats import Zone, date_clock_zone
from storage.moment import Gap, Moment

HOW = {
    "raw": "samples",
    "1m": "means of the minute: samples of then are not on record",
    "15m": "means of the quarter hour: samples and minutes of then are not on record",
    "": "nothing is on record",
}
RESOLUTIONS = {"raw": "samples", "1m": "minutes", "15m": "quarter hours"}
REASONS = {
    "disk-cap": "they did not fit under disk_cap_mb",
    "hold-reserve": "they did not fit into unsent_max_mb",
    "damaged": "they were damaged",
}


def how_text(moment: Moment) -> str:
    """What the values of a moment are: samples, or means of what time."""
    return HOW.get(moment.resolution, moment.resolution)


def gap_text(gap: Gap, zone: Zone) -> str:
    """What was deleted before its time, and why."""
    what, why = RESOLUTIONS.get(gap.resolution, gap.resolution), REASONS.get(gap.reason, gap.reason)
    begin, end = (date_clock_zone(t, zone) for t in (gap.begin_utc_s, gap.end_utc_s))
    return f"{what} from {begin} to {end} were deleted before their time: {why}"


def hole_text(moment: Moment, zone: Zone) -> str:
    """Between which rows nothing is on record."""
    before, after = moment.before_utc_s, moment.after_utc_s
    if before is not None and after is not None:
        between = (
            f"the row before it is of {date_clock_zone(before, zone)}, the next one of {date_clock_zone(after, zone)}"
        )
        return f"{between}: no gateway ran in between, or it could not write"
    if after is not None:
        return f"nothing is kept before {date_clock_zone(after, zone)}"
    return "the record is empty" if before is None else f"the last row on record is of {date_clock_zone(before, zone)}"


def gap_texts(moment: Moment, zone: Zone) -> Iterator[str]:
    """Everything that the record lacks of a moment, and why; nothing where it lacks nothing."""
    for gap in moment.gaps:
        yield gap_text(gap, zone)
    if not moment.resolution:
        yield hole_text(moment, zone)
