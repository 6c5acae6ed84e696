"""Puts many instants on the local calendar at once: a year of quarter hours takes some milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from dispatch.billing.charges.calendar import Calendar, holds_on, named, window_on
from dispatch.config.charges import Charge, TariffWindow
from dispatch.config.window_times import DAY_MIN, window_times

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY_S = 86400
EPOCH = date(1970, 1, 1).toordinal()


class LocalTimes(NamedTuple):
    """Instants by local wall time. `day_of` and `minute` are arrays: number in `days`, minute of that day."""

    days: tuple[date, ...]
    day_of: Any
    minute: Any

    def by_day(self, value: Callable[[date], object]) -> Any:
        """A value of each instant's day, computed once a day."""
        import numpy as np

        return np.array([value(day) for day in self.days])[self.day_of]


def local_times(instants_utc_s: Sequence[float] | NDArray[Any], timezone: str) -> LocalTimes:
    """Each instant's local day and minute. A day of UTC in which the offset changes is looked at one by one."""
    import numpy as np

    zone = ZoneInfo(timezone)
    at_s = np.floor(np.asarray(instants_utc_s, dtype=float)).astype(np.int64)
    utc_days, of_day = np.unique(at_s // DAY_S, return_inverse=True)
    begins = [_offset_s(int(n) * DAY_S, zone) for n in utc_days]
    offset_s = np.array(begins, dtype=np.int64)[of_day]
    for k, n in enumerate(utc_days):
        if _offset_s((int(n) + 1) * DAY_S, zone) != begins[k]:
            for index in np.flatnonzero(of_day == k):
                offset_s[index] = _offset_s(int(at_s[index]), zone)
    local_s = at_s + offset_s
    numbers, day_of = np.unique(local_s // DAY_S, return_inverse=True)
    days = tuple(date.fromordinal(EPOCH + int(n)) for n in numbers)
    return LocalTimes(days, day_of, local_s % DAY_S // 60)


def _offset_s(utc_s: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(utc_s, UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def held(charge: Charge, calendar: Calendar, times: LocalTimes) -> Any:
    """Whether the charge holds at each of the instants, as an array; `calendar.in_force` for many."""
    import numpy as np

    holds = times.by_day(lambda day: holds_on(charge, day)).astype(bool)
    if charge.windows:
        holds &= in_windows(charge.windows, calendar, times) != charge.outside
    return np.asarray(holds)


@lru_cache(maxsize=256)
def _of_day(window: TariffWindow) -> Any:
    """Whether each minute of a day lies in a window's times."""
    import numpy as np

    times = window_times(window)
    return np.array([times.has_minute(n) for n in range(DAY_MIN)])


def in_windows(ids: tuple[str, ...], calendar: Calendar, times: LocalTimes) -> Any:
    """Whether each of the instants lies in any of these windows."""
    import numpy as np

    inside = np.zeros(len(times.minute), dtype=bool)
    for window in named(ids, calendar):
        inside |= _of_day(window)[times.minute] & times.by_day(partial(window_on, window, calendar.holidays))
    return inside
