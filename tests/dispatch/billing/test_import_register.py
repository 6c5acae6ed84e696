"""Energy by register: holes, restarts, resets, roll-overs, coarse steps; the true energy is always in the bounds."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_site import T0

from dispatch.billing.billing_memory import Billing
from dispatch.billing.import_energy import REGISTER_FAULTS
from dispatch.billing.import_register import ImportRegister
from dispatch.billing.interval_budget import MeteringInterval
from dispatch.config.schema import GridConfig
from dispatch.model.metering_interval import Interval
from dispatch.model.reasons import Reason
from dispatch.wording.catalogue import words

GRID = GridConfig(fuse_a=160, contracted_peak_w=30_000)


def an_interval() -> MeteringInterval:
    return MeteringInterval(GRID, "Europe/Berlin", 250)


def seen(interval: MeteringInterval) -> Interval:
    return interval.view(interval.budget(None))


class Utility:
    """The true import, as the utility meters it, and a meter of ours that shows it in steps of `step_wh`."""

    def __init__(self, step_wh: float = 1.0, begun_wh: float = 123_456.0) -> None:
        self.step_wh, self.begun_wh = step_wh, begun_wh
        self.wh, self.interval_wh, self.start, self.w = 0.0, 0.0, 0, 0.0
        self.means_w: dict[int, float] = {}

    def second(self, t_s: int, w: float) -> None:
        """From `t_s - 1` to `t_s`, from one power to the next."""
        gone_wh = (self.w + w) / 2 / 3600 if t_s else 0.0
        self.w = w
        self.wh += gone_wh
        self.interval_wh += gone_wh
        self.means_w[self.start] = self.interval_wh * 4
        if t_s and t_s % 900 == 0:
            self.start, self.interval_wh = t_s, 0.0

    @property
    def register_wh(self) -> float:
        return self.begun_wh + self.wh // self.step_wh * self.step_wh


def run(
    interval: MeteringInterval, utility: Utility, seconds: range, w: float, read: bool = True, register: bool = True
) -> None:
    """Ticks of 1 s at this import; `read`: the meter's power answers; `register`: its register too."""
    for t_s in seconds:
        utility.second(t_s, w)
        interval.advance(T0 + t_s, t_s, w if read else None, utility.register_wh if read and register else None)


def test_the_register_fills_the_hole() -> None:
    """Case met: 5 660 Wh by register, 5 370 counted at the last import; the month's peak 22.6 kW, not 19.5."""
    interval, utility = an_interval(), Utility()
    run(interval, utility, range(600), 20_000)
    run(interval, utility, range(600, 720), 28_000, read=False)
    assert seen(interval).unknown_s == 120
    run(interval, utility, range(720, 900), 28_000)
    view = seen(interval)
    assert (view.unknown_s, view.energy_wh) == (0, pytest.approx(utility.interval_wh, abs=1.5))
    assert view.low_wh == pytest.approx(view.energy_wh, abs=9)
    run(interval, utility, range(900, 902), 20_000)
    assert interval.month_peak_w == pytest.approx(utility.means_w[0], rel=0.003)
    assert interval.month_peak_w <= utility.means_w[0]


def test_without_a_register_it_is_at_least_what_was_measured() -> None:
    interval, utility = an_interval(), Utility()
    run(interval, utility, range(600), 20_000, register=False)
    run(interval, utility, range(600, 720), 28_000, read=False)
    run(interval, utility, range(720, 899), 28_000, register=False)
    view = seen(interval)
    assert view.unknown_s == 121
    assert view.low_wh is not None
    assert view.low_wh < utility.interval_wh
    assert view.high_wh is None


@pytest.mark.parametrize("after_wh", [0.0, 500.0, 120_000.0, 9_000_000.0])
def test_a_register_that_was_reset_or_replaced_fills_nothing(after_wh: float) -> None:
    interval, utility = an_interval(), Utility()
    run(interval, utility, range(600), 20_000)
    run(interval, utility, range(600, 720), 28_000, read=False)
    utility.begun_wh, utility.wh = after_wh, 0.0
    run(interval, utility, range(720, 780), 20_000)
    assert seen(interval).unknown_s == 121
    run(interval, utility, range(780, 840), 30_000, read=False)  # the new register fills the next hole
    run(interval, utility, range(840, 850), 20_000)
    assert seen(interval).unknown_s == 121


@pytest.mark.parametrize("end_wh", [1e6, 1e8, 2.0**32, 2.0**32 * 10])
def test_a_register_that_runs_over_goes_on_counting(end_wh: float) -> None:
    interval, utility = an_interval(), Utility(begun_wh=end_wh - 3_500)
    run(interval, utility, range(600), 20_000)  # 3.3 kWh
    for t_s in range(600, 720):
        utility.second(t_s, 28_000)
        interval.advance(T0 + t_s, t_s, None, None)
    utility.begun_wh -= end_wh
    run(interval, utility, range(720, 800), 28_000)
    assert seen(interval).energy_wh == pytest.approx(utility.interval_wh, abs=2)
    assert seen(interval).unknown_s == 0


def test_a_coarse_register_gives_a_band() -> None:
    """A transformer ratio of 40 on a register of 1 Wh: each reading hides up to 40 Wh."""
    interval, utility = an_interval(), Utility(step_wh=40.0, begun_wh=40_000)
    run(interval, utility, range(600), 20_000)
    run(interval, utility, range(600, 720), 28_000, read=False)
    run(interval, utility, range(720, 730), 28_000)
    view = seen(interval)
    assert view.low_wh is not None
    assert view.high_wh is not None
    assert view.low_wh <= utility.interval_wh <= view.high_wh
    assert view.high_wh - view.low_wh == pytest.approx(80)


def test_many_short_holes_are_no_less_sure_than_one() -> None:
    interval, utility = an_interval(), Utility()
    for t_s in range(890):
        run(interval, utility, range(t_s, t_s + 1), 20_000 + 10 * t_s, read=t_s % 7 != 3)
    view = seen(interval)
    assert view.unknown_s == 0
    assert view.low_wh is not None
    assert view.high_wh is not None
    assert view.low_wh <= utility.interval_wh <= view.high_wh
    assert view.high_wh - view.low_wh < 30


def test_a_hole_across_the_end_gives_bounds_for_each_and_no_peak() -> None:
    interval, utility = an_interval(), Utility()
    run(interval, utility, range(780), 20_000)
    run(interval, utility, range(780, 960), 28_000, read=False)
    before_w = interval.month_peak_w
    assert before_w <= utility.means_w[0]
    run(interval, utility, range(960, 970), 20_000)
    view = seen(interval)
    assert view.unknown_s == pytest.approx(60)
    assert view.low_wh is not None
    assert view.high_wh is not None
    assert view.low_wh <= utility.interval_wh <= view.high_wh < 2_000
    assert before_w <= interval.month_peak_w <= utility.means_w[0]
    (notice,) = interval.notices()
    text = words(notice)
    assert "metering interval of 10:00" in text
    low_w, high_w = notice.figures["low_w"], notice.figures["high_w"]
    assert low_w <= utility.means_w[0] <= high_w
    assert interval.month_unmeasured_s > 0
    assert not interval.notices()


@pytest.mark.parametrize("at_s", [895, 899, 900, 901, 450])
@pytest.mark.parametrize("step_wh", [1.0, 1000.0])
def test_one_rejected_sample_costs_no_interval_its_peak(at_s: int, step_wh: float) -> None:
    """Case met: the sample at the end of an interval was told as "not read", and the peak was 6 W lower."""
    interval, utility = an_interval(), Utility(step_wh)
    for t_s in range(905):
        run(interval, utility, range(t_s, t_s + 1), 20_000 + (t_s % 5) * 10, read=t_s != at_s)
    assert interval.month_peak_w == pytest.approx(utility.means_w[0], abs=0.1)
    view = seen(interval)
    assert (view.unknown_s, interval.notices()) == (0, ())
    assert view.low_wh is not None
    assert view.high_wh is not None
    assert view.low_wh - 0.01 <= utility.interval_wh <= view.high_wh + 0.01


def test_a_step_beside_a_rejected_sample_is_bounded_by_the_readings_on_both_sides() -> None:
    interval, utility = an_interval(), Utility()
    run(interval, utility, range(899), 20_000)
    run(interval, utility, range(899, 900), 40_000, read=False)
    run(interval, utility, range(900, 905), 40_000)
    assert interval.month_peak_w <= utility.means_w[0] <= interval.month_peak_w + 30


def test_what_lies_before_a_start_has_no_bounds_beside_a_hole() -> None:
    """Case met: an interval half of which lies before the start was told as "between 0.9 and 323 kW"."""
    interval, utility = an_interval(), Utility()
    for t_s in range(870):
        utility.second(t_s, 20_000)
    run(interval, utility, range(870, 895), 20_000)
    run(interval, utility, range(895, 910), 20_000, read=False)
    run(interval, utility, range(910, 920), 20_000)
    (notice,) = interval.notices()
    assert words(notice) == (
        "metering interval of 10:00: mean import at least 0.5 kW; import is not known for 15 min of it"
    ).replace("15 min", words(Reason("caps.import_unknown", {"unknown_s": 870.0})).split(" for ")[1])


@pytest.mark.parametrize("odd_wh", [0.0, 4_294_967_295.0, 123_000.0, 200_000.0])
@pytest.mark.parametrize("hole", [False, True])
def test_a_register_reading_that_cannot_be_true_fills_nothing(odd_wh: float, hole: bool) -> None:
    """One sample in one refresh of the register, with and without a hole beside it: told once, and passed over."""
    interval, utility = an_interval(), Utility()
    run(interval, utility, range(600), 20_000)
    run(interval, utility, range(600, 630), 20_000, read=not hole)
    for t_s in range(630, 632):
        utility.second(t_s, 20_000)
        interval.advance(T0 + t_s, t_s, 20_000, odd_wh)
    run(interval, utility, range(632, 700), 20_000)
    (notice,) = interval.notices()
    assert "the import register says" in words(notice)
    run(interval, utility, range(700, 720), 28_000, read=False)  # and the next holes are filled as ever
    run(interval, utility, range(720, 730), 28_000)
    run(interval, utility, range(730, 750), 28_000, read=False)
    run(interval, utility, range(750, 890), 28_000)
    view = seen(interval)
    assert (view.unknown_s, interval.notices()) == (0, ())
    assert view.energy_wh == pytest.approx(utility.interval_wh, abs=4)


@pytest.mark.parametrize("after_wh", [0.0, 9_000_000.0])
def test_a_register_that_begins_anew_is_told_and_counts_on(after_wh: float) -> None:
    """Between readings, without a hole: what it jumped by is in no interval."""
    interval, utility = an_interval(), Utility()
    run(interval, utility, range(300), 20_000)
    run(interval, utility, range(300, 320), 20_000, read=False)
    run(interval, utility, range(320, 330), 20_000)
    utility.begun_wh = after_wh - utility.wh
    run(interval, utility, range(330, 400), 20_000)
    assert [notice.code for notice in interval.notices()] == ["register.impossible", "register.reset"]
    run(interval, utility, range(400, 420), 20_000, read=False)
    run(interval, utility, range(420, 905), 20_000)
    assert 19_950 <= interval.month_peak_w <= utility.means_w[0] + 0.1
    assert interval.notices() == ()


@pytest.mark.parametrize("every_s", [60, 300])
def test_a_register_that_moves_seldom_is_none_that_jumps(every_s: int) -> None:
    interval, utility = an_interval(), Utility()
    shown_wh = utility.register_wh
    for t_s in range(1_800):
        utility.second(t_s, 90_000)
        shown_wh = utility.register_wh if t_s % every_s == 0 else shown_wh
        interval.advance(T0 + t_s, t_s, 90_000, shown_wh)
    assert interval.notices() == ()


def test_the_hole_of_a_restart_is_filled() -> None:
    first, utility = an_interval(), Utility()
    run(first, utility, range(600), 20_000)
    saved = msgspec.json.decode(msgspec.json.encode(first.billing()), type=Billing)
    for t_s in range(600, 700):
        utility.second(t_s, 28_000)
    restarted = an_interval()
    restarted.restore(saved)
    for t_s in range(700, 800):
        utility.second(t_s, 28_000)
        restarted.advance(T0 + t_s, t_s - 700, 28_000, utility.register_wh)
    assert seen(restarted).unknown_s == 0
    assert seen(restarted).energy_wh == pytest.approx(utility.interval_wh, abs=2)
    later = an_interval()
    later.restore(saved)
    later.advance(T0 + 1_000, 0, 28_000, utility.register_wh + 1_500)
    (notice,) = later.notices()
    assert notice.figures["low_w"] <= 20_000 * 600 / 900 <= notice.figures["high_w"]


def test_what_a_frozen_meter_said_is_no_measurement() -> None:
    interval, utility = an_interval(), Utility()
    run(interval, utility, range(600), 20_000)
    frozen_wh = utility.register_wh
    for t_s in range(600, 603):  # it shows the 20 kW of before
        utility.second(t_s, 45_000)
        interval.advance(T0 + t_s, t_s, 20_000, frozen_wh)
    interval.doubt(since_mono_s=599)
    assert seen(interval).unknown_s == 3
    run(interval, utility, range(603, 640), 45_000, read=False)
    run(interval, utility, range(640, 650), 45_000)
    assert seen(interval).unknown_s == 0
    assert seen(interval).energy_wh == pytest.approx(utility.interval_wh, abs=8)


def test_a_meter_that_froze_before_the_end_of_an_interval_sets_no_peak() -> None:
    interval, utility = an_interval(), Utility()
    run(interval, utility, range(895), 20_000)
    frozen_wh = utility.register_wh
    for t_s in range(895, 903):
        utility.second(t_s, 5_000)
        interval.advance(T0 + t_s, t_s, 20_000, frozen_wh)
    assert interval.month_peak_w > utility.means_w[0]
    interval.doubt(since_mono_s=894)
    assert interval.month_peak_w <= utility.means_w[0]
    assert interval.month_peak_w == pytest.approx(20_000 * 894 / 900, rel=0.001)
    assert seen(interval).unknown_s == pytest.approx(2, abs=0.1)
    run(interval, utility, range(903, 910), 5_000)
    assert interval.month_peak_w <= utility.means_w[0]
    (notice,) = interval.notices()
    assert notice.figures["low_w"] <= utility.means_w[0] <= notice.figures["high_w"]


def test_import_that_others_prove_is_what_is_assumed() -> None:
    interval = an_interval()
    for t_s in range(60):
        interval.advance(T0 + t_s, t_s, 31_800)
    for t_s in range(60, 120):  # the switch is open
        interval.advance(T0 + t_s, t_s, None, None, assumed_w=0.0)
    assert seen(interval).energy_wh == pytest.approx(31_800 * 60 / 3600, rel=0.02)
    assert seen(interval).unknown_s == 60


def test_a_meter_that_never_answered_is_missing() -> None:
    interval = an_interval()
    for t_s in range(10):
        interval.advance(T0 + t_s, t_s, None)
    assert seen(interval).never_read
    interval.advance(T0 + 10, 10, 5_000)
    assert not seen(interval).never_read


def test_the_step_is_learnt_and_never_too_small() -> None:
    register = ImportRegister(1e6)
    for n in range(50):
        register.read(n, 7_040 + n // 3 * 40)
    assert register.step_wh == 40
    young = ImportRegister(1e6)
    young.read(0, 7_040)
    assert young.step_wh >= 40


power = st.floats(0, 80_000)
holes = st.lists(st.tuples(st.integers(5, 1_900), st.integers(1, 400), st.booleans()), max_size=4)


@given(
    powers=st.lists(power, min_size=8, max_size=8),
    holes=holes,
    step_wh=st.sampled_from([0.1, 1.0, 10.0, 40.0, 1_000.0]),
)
@settings(max_examples=12)
def test_the_true_energy_is_always_within_the_bounds(
    powers: list[float], holes: list[tuple[int, int, bool]], step_wh: float
) -> None:
    """Random holes, some with a register that begins anew in them, across ends of intervals; true means and peaks."""
    interval, utility = an_interval(), Utility(step_wh, 400_000.0)
    crossed = reset = False
    for t_s in range(2_000):
        utility.second(t_s, powers[t_s // 250])
        away = False
        for start, length, anew in holes:
            away = away or start <= t_s < start + length
            crossed = crossed or (away and t_s % 900 == 0)
            if anew and t_s == start and not reset:
                utility.begun_wh, utility.wh, reset = 77.0, 0.0, True
        w, wh = (None, None) if away else (utility.w, utility.register_wh)
        interval.advance(T0 + t_s, t_s, w, wh)
        if t_s % 900 and t_s % 7 == 0:
            view = seen(interval)
            assert view.low_wh is not None
            assert view.high_wh is not None or away or reset
            assert view.low_wh <= utility.interval_wh + 0.01
            assert (view.high_wh or math.inf) >= utility.interval_wh - 0.01
            if not away and not crossed and not reset:
                assert view.unknown_s == 0
                assert view.high_wh is not None
                band_wh = (view.high_wh - view.low_wh) / 2
                assert view.energy_wh == pytest.approx(utility.interval_wh, abs=band_wh + 0.01)
    for notice in interval.notices():
        assert notice.code in REGISTER_FAULTS or notice.figures["low_w"] <= notice.figures.get("high_w", math.inf)
    over = [w for start, w in utility.means_w.items() if start + 900 <= 2_000]
    assert interval.month_peak_w <= max(over) + 0.1
