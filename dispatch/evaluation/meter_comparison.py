"""Compares the utility's meter values with the record, interval by interval, and gives possible reasons with figures.

A reason is a hypothesis: it says how much of the squared differences it would explain, and nothing beyond that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dispatch.evaluation.meter_clock import ClockFit, Energies, Power, clock_fit
from dispatch.model.reasons import Phrase, Reason

NEAR_KWH = 0.02  # a difference up to this is that of two meters' last digits
NEAR_SHARE = 0.01  # of the interval's energy: IEC 62053-21 class 1
LEAST_EXPLAINED = 0.2  # of the differences, or a reason is not worth telling
BOTH_GAIN = 0.05  # what clock and scale together must explain beyond the better of them
WHOLE_SHARE = 0.2  # an offset this near to whole intervals is one of them
SURE = 0.002  # a scale this near to 1 is none
CLOSE = 0.25  # a correction that leaves less than this of a difference is its reason
LARGEST = 10
Figures = dict[str, float | str | Reason | list[Reason] | None]
RATIOS = {4.0: "meter.kw_as_kwh", 0.25: "meter.kwh_as_kw", 1000.0: "meter.thousand", 0.001: "meter.thousand"}


class MeterValues(msgspec.Struct, frozen=True, kw_only=True):
    """The meter's energy by interval, kWh; `start_utc_s` by the meter's clock, sorted. Below 0: export."""

    interval_s: int
    start_utc_s: Sequence[int]
    kwh: Sequence[float]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One interval in which they differ."""

    start_utc_s: int
    meter_kwh: float
    record_kwh: float
    reason: Reason


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The result. Energies are those of the intervals that both know, kWh."""

    interval_s: int
    intervals: int  # that both know
    meter_kwh: float
    record_kwh: float
    differing: int  # intervals that differ by more than two meters may
    not_in_file_h: float
    not_on_record_h: float
    fit: ClockFit
    findings: tuple[Reason, ...]
    largest: tuple[Difference, ...]
    known_utc_s: tuple[int, ...]  # the intervals that both know
    known_meter_kwh: tuple[float, ...]
    known_record_kwh: tuple[float, ...]


def compare(power: Power, meter: MeterValues) -> Comparison:
    """Compare a meter's intervals with the record's power. Raises ValueError where there is nothing to compare."""
    flow = "net" if min(meter.kwh, default=0.0) < 0 else "import"
    energies = Energies(power, flow)
    np = energies.np
    starts, kwh = np.asarray(meter.start_utc_s, dtype=float), np.asarray(meter.kwh, dtype=float)
    whole = energies.whole(starts, meter.interval_s)
    if not whole.any():
        raise ValueError("no interval of the file is wholly on record")
    fit = clock_fit(energies, meter.start_utc_s, meter.kwh, meter.interval_s)
    begins, read = starts[whole], kwh[whole]
    record = energies.over(begins, meter.interval_s)
    apart = np.abs(read - record) > np.maximum(NEAR_KWH, NEAR_SHARE * np.abs(record))
    swapped = flow == "import" and _swapped(power, meter, fit)
    intervals = round((meter.start_utc_s[-1] - meter.start_utc_s[0]) / meter.interval_s) + 1
    return Comparison(
        interval_s=meter.interval_s,
        intervals=int(whole.sum()),
        meter_kwh=float(read.sum()),
        record_kwh=float(record.sum()),
        differing=int(apart.sum()),
        not_in_file_h=(intervals - len(starts)) * meter.interval_s / 3600,
        not_on_record_h=int((~whole).sum()) * meter.interval_s / 3600,
        fit=fit,
        findings=tuple(_findings(fit, meter.interval_s, int(apart.sum()), swapped=swapped)),
        largest=tuple(_largest(energies, meter.interval_s, begins, read, record, fit)),
        known_utc_s=tuple(int(at) for at in begins),
        known_meter_kwh=tuple(read.tolist()),
        known_record_kwh=tuple(record.tolist()),
    )


def _swapped(power: Power, meter: MeterValues, fit: ClockFit) -> bool:
    """Whether the meter's import follows the record's export, and not its import."""
    if fit.intervals == 0 or (fit.known and fit.by_both > 0.5 and fit.scale > 0):
        return False
    other = clock_fit(Energies(power, "export"), meter.start_utc_s, meter.kwh, meter.interval_s)
    # squared differences from the record's export are a small part of those from its import
    return other.known and abs(other.scale - 1) < 0.1 and _left(power, meter, "export") < 0.1 * _left(power, meter)


def _left(power: Power, meter: MeterValues, flow: str = "import") -> float:
    energies = Energies(power, flow)
    np = energies.np
    starts, kwh = np.asarray(meter.start_utc_s, dtype=float), np.asarray(meter.kwh, dtype=float)
    whole = energies.whole(starts, meter.interval_s)
    return float(((kwh[whole] - energies.over(starts[whole], meter.interval_s)) ** 2).sum())


def _findings(fit: ClockFit, interval_s: int, differing: int, *, swapped: bool) -> list[Reason]:
    """What the figures suggest, the likeliest first."""
    found: list[Reason] = []
    if swapped:
        found.append(Phrase("meter.swapped", {}))
    if not differing:
        found.append(Phrase("meter.agrees", {"intervals": fit.intervals}))
    elif not swapped:
        found += _reasons(fit, interval_s)
    if not fit.known:
        code = {"few": "meter.clock_few", "constant": "meter.clock_constant"}.get(fit.why, "meter.clock_ambiguous")
        found.append(Phrase(code, {"intervals": fit.intervals, "ahead_s": fit.ahead_s, "other_s": fit.other_s}))
    elif not differing or swapped or not _uses(fit)[0]:
        found.append(Phrase("meter.clock_figure", {"ahead_s": _whole(fit.ahead_s), "error_s": fit.error_s}))
    return found


def _reasons(fit: ClockFit, interval_s: int) -> list[Reason]:
    clock, scale = _uses(fit)
    share = fit.by_both if clock and scale else fit.by_clock if clock else fit.by_scale
    if not (clock or scale):
        return [Phrase("meter.not_explained", {})]
    found = []
    if clock:
        found.append(_clock(fit, interval_s))
    if scale:
        found.append(_scale(fit.scale if clock else fit.scale_alone, fit.scale_error))
    return [*found, Phrase("meter.explained", {"share_pct": 100 * share})]


def _whole(seconds: float) -> float:
    """Whole seconds; never -0."""
    return round(seconds) + 0.0


def _uses(fit: ClockFit) -> tuple[bool, bool]:
    """Whether the clock and the scale are reasons: the simplest that explains about as much as both."""
    off = fit.known and abs(fit.ahead_s) > fit.error_s
    scaled = abs(fit.scale - 1) > max(fit.scale_error, SURE)
    scaled_alone = abs(fit.scale_alone - 1) > SURE
    shares = {
        (True, False): fit.by_clock if off else 0.0,
        (False, True): fit.by_scale if scaled_alone else 0.0,
    }
    best = max(shares, key=lambda one: shares[one])
    if off and scaled and fit.by_both > shares[best] + BOTH_GAIN:
        return True, True
    return best if shares[best] >= LEAST_EXPLAINED else (False, False)


def _clock(fit: ClockFit, interval_s: int) -> Reason:
    """The meter's clock is off; or its times are those of another place of the interval, or of another zone."""
    wholes = round(fit.ahead_s / interval_s)
    figures: Figures = {"ahead_s": abs(fit.ahead_s), "error_s": fit.error_s}
    if wholes and abs(fit.ahead_s - wholes * interval_s) < WHOLE_SHARE * interval_s:
        rest_s = fit.ahead_s - wholes * interval_s
        later = "late" if wholes > 0 else "early"
        hours = abs(wholes * interval_s) % 3600 == 0 and interval_s < 3600
        code = "meter.clock_zone" if hours else "meter.clock_shifted"
        return Phrase(code, figures | {"shift_s": abs(wholes) * interval_s, "later": later, "rest_s": rest_s})
    return Phrase("meter.clock_ahead" if fit.ahead_s > 0 else "meter.clock_behind", figures)


def _scale(scale: float, error: float) -> Reason:
    """The meter's values are a constant times the record's."""
    for ratio, code in RATIOS.items():
        if abs(scale / ratio - 1) < 0.02:
            return Phrase(code, {"scale": scale, "error": error})
    if scale < 0:
        return Phrase("meter.sign", {"scale": scale, "error": error})
    return Phrase("meter.ratio" if abs(scale - 1) > 0.02 else "meter.accuracy", {"scale": scale, "error": error})


def _largest(
    energies: Energies, interval_s: int, begins: Any, read: Any, record: Any, fit: ClockFit
) -> list[Difference]:
    """The intervals that differ most, each with what would explain it."""
    np = energies.np
    clock, scale = _uses(fit)
    factor = (fit.scale if clock else fit.scale_alone) if scale else 1.0
    moved = factor * energies.over(begins - (fit.ahead_s if clock else 0.0), interval_s)
    found = []
    for k in np.argsort(-np.abs(read - record), kind="stable")[:LARGEST]:
        apart = float(abs(read[k] - record[k]))
        if apart <= max(NEAR_KWH, NEAR_SHARE * abs(float(record[k]))):
            break
        left = float(abs(read[k] - moved[k]))
        reason = Phrase(_row_code(float(read[k]), left / apart, clock=clock, scale=scale), {"left_kwh": left})
        one = Difference(
            start_utc_s=int(begins[k]), meter_kwh=float(read[k]), record_kwh=float(record[k]), reason=reason
        )
        found.append(one)
    return found


def _row_code(meter_kwh: float, left_share: float, *, clock: bool, scale: bool) -> str:
    """What explains a difference of which so much is left with the corrections."""
    if (clock or scale) and left_share < CLOSE:
        return "meter.row_both" if clock and scale else "meter.row_clock" if clock else "meter.row_scale"
    return "meter.row_zero" if meter_kwh == 0 else "meter.row_unexplained"
