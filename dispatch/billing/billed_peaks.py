"""Gathers the peaks that earlier periods were billed, as evidence of where the running one will end.

They come from the owner's bills (`[grid] billed_peaks_kw`) and from the record. The site file wins for a period that
both name: the bill is by the utility's meter. How much a period says, its weight, halves with each year that has passed
since; a peak from before `[grid] battery_since` counts half again, and as one that no battery has lowered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from dispatch.billing.peak_charges import main_charge
from dispatch.config.schema import DispatchConfig
from dispatch.model.reasons import Reason

MONTH = re.compile(r"[12]\d{3}-(0[1-9]|1[0-2])")
YEAR = re.compile(r"[12]\d{3}(-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01]))?")
KEPT_PER_YEAR = 0.5  # of a period's weight
WITHOUT_BATTERY = 0.5  # of the weight of one that was billed before the battery

Finding = tuple[str, object, str]  # key, value, what was expected


class BilledPeak(msgspec.Struct, frozen=True):
    """What one period was billed."""

    period: str  # "2026-03", of a yearly charge "2025"
    peak_w: float
    weight: float  # 0..1
    with_battery: bool = True
    on_record: bool = False  # of the site's record; else of its file


def evidence(config: DispatchConfig, recorded_w: Mapping[str, float], running: str) -> tuple[BilledPeak, ...]:
    """The periods before the `running` one, the oldest first. `recorded_w`: of those on record, W."""
    told_w = {period: 1000 * kw for period, kw in config.grid.billed_peaks_kw.items()}
    since, form = config.grid.battery_since, _form(config)
    peaks = []
    for period, w in sorted({**recorded_w, **told_w}.items()):
        if period >= running or not form.fullmatch(period) or not form.fullmatch(running):
            continue
        ours = period not in told_w
        held = ours or not config.batteries or since <= period
        weight = KEPT_PER_YEAR ** _years(period, running) * (1.0 if held else WITHOUT_BATTERY)
        peaks.append(BilledPeak(period, w, weight, held, ours))
    return tuple(peaks)


def remarks(config: DispatchConfig, running: str) -> list[Reason]:
    """What is no error and should be known: peaks of periods that are not over."""
    early = sorted(period for period in config.grid.billed_peaks_kw if period >= running)
    return [Reason("billed.not_over", {"period": period}) for period in early]


def findings(config: DispatchConfig) -> Iterator[Finding]:
    """What contradicts itself in `[grid] billed_peaks_kw` and `battery_since`."""
    grid, form = config.grid, _form(config)
    like = '"2026-03" = 55.2' if form is MONTH else '"2025" = 58.1, as the charge is per year'
    for period, kw in grid.billed_peaks_kw.items():
        key = f"grid.billed_peaks_kw.{period}"
        if not form.fullmatch(period):
            yield key, period, f"a period and its peak such as {like}"
        elif kw > grid.fuse_w / 1000:
            expected = f"at most {grid.fuse_w / 1000:g}, what the fuse carries; leave out months of another connection"
            yield key, kw, expected
    if grid.battery_since and not form.fullmatch(grid.battery_since):
        yield "grid.battery_since", grid.battery_since, f"a period such as {like.partition(' ')[0]}"
    if grid.billed_peaks_kw and config.batteries and not grid.battery_since:
        yield (
            "grid.battery_since",
            grid.battery_since,
            "the first whole period billed with the battery in use as it is now, beside billed_peaks_kw: peaks from "
            "before it were not lowered by a battery",
        )


def _form(config: DispatchConfig) -> re.Pattern[str]:
    """How the periods of the main charge are named."""
    return YEAR if main_charge(config).per == "year" else MONTH


def _years(period: str, running: str) -> float:
    """From one period to another of the same form, years."""

    def at(name: str) -> float:
        return int(name[:4]) + (int(name[5:7]) / 12 if len(name) > len("2025") else 0.0)

    return at(running) - at(period)
