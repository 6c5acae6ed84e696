"""The utility's intervals against the record: what made them differ is found again, and nothing else is claimed."""

from __future__ import annotations

import csv
import gzip
import importlib.resources
import math
import re
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dispatch.evaluation import meter_comparison
from dispatch.evaluation.measured_energy import measured
from dispatch.evaluation.meter_clock import Power
from dispatch.evaluation.meter_comparison import Comparison, MeterValues, compare
from dispatch.wording.catalogue import ENGLISH, words

BEGIN = 1_768_345_200  # 2026-01-14T00:00+01:00
TRUE_S, RECORD_S, INTERVAL_S = 10, 60, 900  # the power itself, its record, the meter
MARGIN_S = 7200


@cache
def real_w() -> tuple[float, ...]:
    """A real load: the trace that comes along has a value a minute; each is taken for ten seconds, 84 h in all."""
    file = importlib.resources.files("drivers.twin") / "data" / "helios.csv.gz"
    rows = csv.reader(gzip.decompress(file.read_bytes()).decode().splitlines())
    return tuple(float(row[1]) for row in rows if len(row) == 2 and row[1].isdigit())


def recorded(w: tuple[float, ...], step_s: int = RECORD_S) -> list[float]:
    """Means, coarser than the power itself."""
    each = step_s // TRUE_S
    return [sum(w[k : k + each]) / each for k in range(0, len(w) - each + 1, each)]


def metered(
    w: tuple[float, ...], ahead_s: float = 0.0, scale: float = 1.0, digits: int = 2, label_s: int = 0
) -> MeterValues:
    """What a meter counts whose clock is ahead; its display has so many digits. label_s: added to its times."""
    import numpy as np

    sums = np.concatenate(([0.0], np.cumsum(w))) * TRUE_S / 3.6e6
    at = np.arange(len(sums)) * TRUE_S
    begins = np.arange(MARGIN_S, len(w) * TRUE_S - MARGIN_S - INTERVAL_S, INTERVAL_S)
    kwh = np.interp(begins + INTERVAL_S - ahead_s, at, sums) - np.interp(begins - ahead_s, at, sums)
    starts = [BEGIN + int(t) + label_s for t in begins]
    return MeterValues(interval_s=INTERVAL_S, start_utc_s=starts, kwh=np.round(scale * kwh, digits).tolist())


def power(w: list[float], step_s: int = RECORD_S) -> Power:
    return Power(start_utc_s=BEGIN, step_s=step_s, w=w)


def said(found: Comparison) -> str:
    return "; ".join(map(words, found.findings))


@pytest.mark.parametrize("ahead_s", [21.0, -47.0, 130.0])
def test_the_clock_is_found_within_its_uncertainty(ahead_s: float) -> None:
    found = compare(power(recorded(real_w())), metered(real_w(), ahead_s))
    assert found.fit.known
    assert abs(found.fit.ahead_s - ahead_s) <= 1.5 * found.fit.error_s
    assert found.fit.error_s < 12
    assert found.fit.by_clock > 0.7
    word = "ahead of" if ahead_s > 0 else "behind"
    assert f"the meter's clock may be {word} this site's by" in said(found)
    assert {words(row.reason) for row in found.largest[:3]} == {"fits the offset of the clock"}


def test_a_ratio_is_found_beside_the_clock() -> None:
    found = compare(power(recorded(real_w())), metered(real_w(), 0.0, 4 / 3))
    assert found.fit.scale_alone == pytest.approx(4 / 3, abs=0.001)
    assert "1.333" in said(found)
    assert "ratio of the current transformers" in said(found)
    assert found.meter_kwh == pytest.approx(found.record_kwh * 4 / 3, rel=0.001)
    both = compare(power(recorded(real_w())), metered(real_w(), 300.0, 1.05))
    assert both.fit.ahead_s == pytest.approx(300, abs=10)
    assert both.fit.scale == pytest.approx(1.05, abs=0.003)


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        (4.0, "are they kW, not kWh"),
        (0.25, "are they kWh, not kW"),
        (1000.0, "is the unit another"),
        (1.015, "accuracy"),
        (-1.0, "is the sign reversed"),
    ],
)
def test_ratios_with_a_name(scale: float, text: str) -> None:
    assert text in said(compare(power(recorded(real_w())), metered(real_w(), 0.0, scale, digits=4)))


@pytest.mark.parametrize(
    ("label_s", "text"),
    [
        (900, "15 min too late, by whole intervals"),
        (-900, "15 min too early"),
        (3600, "1 h too late: are they of another zone"),
        (-7200 + 60, "2 h too early"),
    ],
)
def test_times_of_another_place_or_zone(label_s: int, text: str) -> None:
    found = compare(power(recorded(real_w())), metered(real_w(), label_s=label_s))
    assert text in said(found)
    assert found.fit.by_clock > 0.9


def test_what_agrees_is_not_explained() -> None:
    found = compare(power(recorded(real_w())), metered(real_w()))
    assert found.differing == 0
    assert found.largest == ()
    assert said(found).startswith("no interval differs by more than two meters may; the meter's clock: ")
    assert abs(found.fit.ahead_s) <= found.fit.error_s + 1


def test_a_constant_load_tells_nothing_of_the_clock() -> None:
    w = (20_000.0,) * len(real_w())
    found = compare(power(recorded(w)), metered(w, 40.0, 1.1))
    assert not found.fit.known
    assert "the load changes too little" in said(found)
    assert "1.1000" in said(found), "the ratio does not need the clock"


def test_a_load_that_repeats_itself_tells_no_single_offset() -> None:
    w = tuple(30_000.0 if k % 360 < 120 else 10_000.0 for k in range(len(real_w())))
    found = compare(power(recorded(w)), metered(w))
    assert found.fit.why == "ambiguous"
    assert "the load repeats itself" in said(found)


def test_differences_of_another_kind_are_not_explained() -> None:
    meter = metered(real_w())
    kwh = [0.0 if k % 11 == 5 else value for k, value in enumerate(meter.kwh)]
    found = compare(
        power(recorded(real_w())), MeterValues(interval_s=INTERVAL_S, start_utc_s=meter.start_utc_s, kwh=kwh)
    )
    assert "neither an offset of the clock nor a constant ratio explains the differences" in said(found)
    assert words(found.largest[0].reason) == "the meter says 0"
    assert found.differing == sum(value == 0 for value in kwh)


def test_missing_time_is_counted_on_both_sides() -> None:
    meter = metered(real_w())
    record = recorded(real_w())
    record[1000:1240] = [math.nan] * 240  # four hours; they begin within a quarter hour and end within one
    keep = [k for k in range(len(meter.kwh)) if not 200 <= k < 296]
    found = compare(
        power(record),
        MeterValues(
            interval_s=INTERVAL_S,
            start_utc_s=[meter.start_utc_s[k] for k in keep],
            kwh=[meter.kwh[k] for k in keep],
        ),
    )
    assert found.not_in_file_h == 24
    assert found.not_on_record_h == 4.25
    assert found.intervals == len(keep) - 17


def test_the_direction_may_be_reversed() -> None:
    exported = [-w for w in recorded(real_w())]
    assert "the direction is reversed" in said(compare(power(exported), metered(real_w())))


def test_too_little_is_said_and_nothing_to_compare_is_an_error() -> None:
    meter = metered(real_w())
    short = MeterValues(interval_s=INTERVAL_S, start_utc_s=meter.start_utc_s[:8], kwh=meter.kwh[:8])
    assert "only 8 intervals" in said(compare(power(recorded(real_w())), short))
    with pytest.raises(ValueError, match="no interval of the file is wholly on record"):
        compare(power([math.nan] * 5000), short)


def test_a_year_of_quarter_hours_takes_less_than_two_seconds() -> None:
    import numpy as np

    minutes = np.tile(np.asarray(real_w()), 18)[: 365 * 1440]
    kwh = minutes.reshape(-1, 15).sum(axis=1) / 60_000
    starts = list(range(BEGIN, BEGIN + 365 * 86_400, 900))
    begun = time.process_time()
    found = compare(
        Power(start_utc_s=BEGIN, step_s=60, w=minutes),
        MeterValues(interval_s=900, start_utc_s=starts, kwh=np.round(kwh, 2).tolist()),
    )
    assert found.intervals == 35_040
    assert time.process_time() - begun < 2


def test_every_finding_has_words_and_every_word_a_finding() -> None:
    given = set(re.findall(r'"(meter\.\w+)"', Path(meter_comparison.__file__).read_text(encoding="utf-8")))
    assert {code for code in ENGLISH.phrases if code.startswith("meter.")} == given


# ── energy of the record ────────────────────────────────────────────────────────────────────────────────────────────


def energy(w: list[float], step_s: int = 900) -> Any:
    return measured(Power(start_utc_s=BEGIN, step_s=60, w=w), step_s)


def test_import_and_export_do_not_cancel_over_minutes() -> None:
    found = energy([6000.0] * 5 + [-3000.0] * 10)
    assert found.import_kwh == pytest.approx([0.5])
    assert found.export_kwh == pytest.approx([0.5])
    assert found.unmeasured == ()


def test_what_is_not_measured_is_told_and_not_billed() -> None:
    gap = [math.nan]
    found = energy([4000.0] * 15 + [4000.0] * 7 + gap * 8 + gap * 15 + [4000.0] * 8 + gap * 7)
    assert found.import_kwh == pytest.approx([1.0, 0.0, 0.0, 1.0])
    assert [(one.begin_utc_s - BEGIN, one.end_utc_s - BEGIN) for one in found.unmeasured] == [(900, 2700)]
    assert found.unmeasured_s == 1800
    assert found.filled_s == 420


def test_power_that_does_not_fit_the_intervals_is_refused() -> None:
    with pytest.raises(ValueError, match="expected power in steps that divide whole intervals of 900 s"):
        energy([1.0] * 14)
