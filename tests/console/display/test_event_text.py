"""A grid event in one line, in each of its phases."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec

from console.display.event_text import event_words
from dispatch.events.life_cycle import Moment, advanced
from dispatch.events.model import EventState, GridEvent

T0 = 1_758_009_600.0  # 2025-09-16 10:00 CEST
ZONE = ZoneInfo("Europe/Berlin")
EVENT = GridEvent(
    id="e1",
    source="order",
    who="otto",
    reason="the utility called",
    drop_w=12_000.0,
    given_utc_s=T0,
    notice_utc_s=T0 + 3600,
    start_utc_s=T0 + 7200,
    end_utc_s=T0 + 10_800,
)


def line(state: EventState, t_s: float, import_w: float = 20_000.0) -> str:
    moment = Moment(utc_s=T0 + t_s, import_w=import_w, without_battery_w=32_000.0, contracted_peak_w=60_000.0)
    return event_words(advanced(state, moment), T0 + t_s, ZONE)


def test_each_phase_says_what_is_to_be_kept_and_until_when() -> None:
    state = EventState(event=EVENT)
    whose = ", asked by otto: the utility called"
    assert (
        line(state, 0) == f"import 12.0 kW lower from 12:00 CEST until 13:00 CEST, prepared for from 11:00 CEST{whose}"
    )
    known = "import at most 20.0 kW (12.0 kW lower)"
    assert line(state, 3600) == f"{known} from 12:00 CEST until 13:00 CEST, the site prepares{whose}"
    assert line(state, 7200, 20_400.0) == f"{known} until 13:00 CEST{whose}"
    assert line(state, 7200, 23_000.0) == f"{known} until 13:00 CEST, 3.0 kW over{whose}"
    held = advanced(state, Moment(utc_s=T0 + 7200, without_battery_w=32_000.0, contracted_peak_w=60_000.0))
    assert line(held, 10_800) == f"{known} is over, the limit rises until 13:15 CEST{whose}"
    followed = msgspec.structs.replace(EVENT, drop_w=None, limit_w=9_000.0, signal="s3", who="acme", reason="")
    assert (
        line(EventState(event=followed), 7200)
        == "import at most 9.0 kW until 13:00 CEST, 11.0 kW over, signal s3 of acme"
    )
