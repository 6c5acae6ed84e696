"""Words for what the record has of a moment, and for what it lacks and why. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from console.display.formats import Zone, date_clock_zone
from console.display.language import say, say_of
from storage.moment import Gap, Moment


def how_text(moment: Moment) -> str:
    """What the values of a moment are: samples, or means of what time."""
    return say_of("moment", moment.resolution) if moment.resolution else say("moment.none")


def gap_text(gap: Gap, zone: Zone) -> str:
    """What was deleted before its time, and why."""
    what, why = say_of("kept", gap.resolution), say_of("deleted", gap.reason)
    begin, end = (date_clock_zone(t, zone) for t in (gap.begin_utc_s, gap.end_utc_s))
    return say("moment.deleted", what=what, begin=begin, end=end, why=why)


def hole_text(moment: Moment, zone: Zone) -> str:
    """Between which rows nothing is on record."""
    before, after = moment.before_utc_s, moment.after_utc_s
    if before is not None and after is not None:
        return say("moment.hole", before=date_clock_zone(before, zone), after=date_clock_zone(after, zone))
    if after is not None:
        return say("moment.nothing_before", time=date_clock_zone(after, zone))
    return say("moment.empty") if before is None else say("moment.last", time=date_clock_zone(before, zone))


def gap_texts(moment: Moment, zone: Zone) -> Iterator[str]:
    """Everything that the record lacks of a moment, and why; nothing where it lacks nothing."""
    for gap in moment.gaps:
        yield gap_text(gap, zone)
    if not moment.resolution:
        yield hole_text(moment, zone)
