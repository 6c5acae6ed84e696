"""Caps as ski-rental: never more rent than the purchase, bounded in depth, minutes and ramp."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import CapsConfig
from dispatch.power_caps.ski_rental import CapInputs, CapsLedger, decide
from dispatch.wording.catalogue import words

CAPS = CapsConfig(value_eur_per_kwh=0.3, max_share=0.25, idle_w=20_000)
NOON = 1_758_024_000.0
BERLIN = "Europe/Berlin"
TEN, ONE = [DemandTerms(eur_per_kw=10.0)], [DemandTerms(eur_per_kw=1.0)]


def need(**changes: float) -> CapInputs:
    values = {
        "utc_s": NOON,
        "step_s": 900.0,
        "load_w": 60_000.0,
        "import_w": 56_000.0,
        "import_max_w": 50_000.0,
        "month_peak_w": 50_000.0,
    }
    return CapInputs(**(values | changes))


def test_caps_take_what_the_battery_cannot_hold() -> None:
    decided = decide(CAPS, TEN, BERLIN, need(), CapsLedger())
    assert decided.cap_w == pytest.approx(6_000)
    assert decided.ledger.rent_eur == pytest.approx(6 * 0.25 * 0.3)
    assert decided.ledger.minutes == pytest.approx(15)
    assert "cap GPUs by 6.0 kW" in words(decided.reason)


def test_no_cap_without_need_or_permission() -> None:
    assert decide(CAPS, TEN, BERLIN, need(import_w=49_000), CapsLedger()).cap_w == 0
    assert decide(CapsConfig(), TEN, BERLIN, need(), CapsLedger()).cap_w == 0
    idle = decide(CAPS, TEN, BERLIN, need(load_w=20_000), CapsLedger())
    assert (idle.cap_w, words(idle.reason)) == (0, "nothing left to cap: the load is idle")


def test_the_cap_is_bounded_in_depth_and_ramp() -> None:
    deep = need(import_w=90_000)
    assert decide(CAPS, TEN, BERLIN, deep, CapsLedger()).cap_w == pytest.approx(10_000)  # 25 % of 40 kW
    slow = msgspec.structs.replace(CAPS, ramp_w_per_s=2.0)
    first = decide(slow, TEN, BERLIN, deep, CapsLedger())
    assert first.cap_w == pytest.approx(1_800)
    assert decide(slow, TEN, BERLIN, deep, first.ledger).cap_w == pytest.approx(3_600)


def test_the_minutes_of_a_day_end_and_come_back_tomorrow() -> None:
    short = msgspec.structs.replace(CAPS, minutes_per_day=30.0)
    ledger = CapsLedger()
    caps = []
    for step in range(4):
        decided = decide(short, TEN, BERLIN, need(utc_s=NOON + 900 * step), ledger)
        ledger = decided.ledger
        caps.append(decided.cap_w)
    assert caps == [6_000, 6_000, 0, 0]
    assert decide(short, TEN, BERLIN, need(utc_s=NOON + 86_400), ledger).cap_w == 6_000


def test_a_clock_that_is_wrong_for_a_while_begins_no_day_and_no_month_anew() -> None:
    """Found: a day ahead and back at the end of a month, and the month's rent and the day's minutes were 0 again."""
    ledger = CapsLedger().at("2025-09-30", "2025-09")
    ledger = msgspec.structs.replace(ledger, minutes=17.0, rent_eur=4.0, would_be_w=50_000.0)
    ahead = ledger.at("2025-10-01", "2025-10")
    assert (ahead.minutes, ahead.rent_eur, ahead.would_be_w) == (0.0, 0.0, 0.0)
    back = ahead.at("2025-09-30", "2025-09")
    assert (back.minutes, back.rent_eur, back.would_be_w) == (17.0, 4.0, 50_000.0)
    for n in range(1, 9):
        back = back.at(f"2026-0{n}-01", f"2026-0{n}")
    assert max(len(back.other_days), len(back.other_months)) <= 3
    assert msgspec.convert(msgspec.to_builtins(back), CapsLedger) == back


def test_rent_ends_at_the_purchase_and_what_is_let_go_no_longer_counts() -> None:
    ledger, held = CapsLedger(), 0
    while (decided := decide(CAPS, ONE, BERLIN, need(), ledger)).cap_w:
        ledger, held = decided.ledger, held + 1
    assert held == 14  # 0.45 EUR a quarter against 6.00
    assert words(decided.reason).startswith("let the peak rise: caps have cost 6.30 EUR")
    risen = decide(CAPS, ONE, BERLIN, need(month_peak_w=52_000, import_max_w=52_000), ledger)
    assert risen.cap_w == 0  # 6.30 EUR were paid, 4 kW are still spared
    worse = decide(CAPS, ONE, BERLIN, need(month_peak_w=52_000, import_max_w=52_000, import_w=59_000), ledger)
    assert worse.cap_w == pytest.approx(7_000)
    october = decide(CAPS, ONE, BERLIN, need(utc_s=NOON + 20 * 86_400), ledger)
    assert october.cap_w == pytest.approx(6_000)
    assert october.ledger.rent_eur == pytest.approx(0.45)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 30_000), min_size=1, max_size=300), st.floats(0.1, 20))
def test_rent_never_passes_the_purchase_by_more_than_one_step(excess_w: list[float], demand: float) -> None:
    ledger, peak_w = CapsLedger(), 50_000.0
    for step, over_w in enumerate(excess_w):
        at = need(utc_s=NOON + 900 * step, import_w=50_000 + over_w, import_max_w=peak_w, month_peak_w=peak_w)
        decided = decide(CAPS, [DemandTerms(eur_per_kw=demand)], BERLIN, at, ledger)
        assert 0 <= decided.cap_w <= CAPS.max_share * (at.load_w - CAPS.idle_w) + 1e-6
        ledger = decided.ledger
        assert ledger.rent_eur <= demand * max(0.0, ledger.would_be_w - 50_000) / 1000 + 10 * 0.25 * 0.3 + 1e-9
        peak_w = max(peak_w, 50_000 + over_w - decided.cap_w)
