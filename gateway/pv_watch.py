"""Reports PV inverters that give next to nothing although the sun is up, and when they work again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dispatch.config.schema import DispatchConfig
from dispatch.forecasting.clear_sky import PvSite, clear_quarter_w
from dispatch.forecasting.pv_yield import YieldWatch
from dispatch.model.forecast import QUARTER_S
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from dispatch.planning.order_projection import local_time
from dispatch.planning.pipeline import pv_site
from dispatch.wording.catalogue import words
from gateway.event_sink import EventSink
from gateway.quarter_mean import QuarterMean


class PvWatch:
    """Compares each inverter whose planes are known with a clear sky, a quarter hour at a time."""

    def __init__(
        self,
        config: DispatchConfig,
        events: EventSink,
        clearness: Callable[[int], float | None] = lambda _quarter: None,
    ) -> None:
        """`clearness`: of a clear sky, what a weather service expected of a quarter hour."""
        self._config, self._events, self._clearness = config, events, clearness
        self._watches: dict[str, YieldWatch] = {}
        self._means: dict[str, QuarterMean] = {}
        for pv in config.pv:
            panels = pv_site(config, pv.id)
            if panels is not None:
                self._watches[pv.id] = YieldWatch(panels.peak_w)
                self._means[pv.id] = QuarterMean(partial(self._take, pv.id, panels))

    def add(self, snapshot: Snapshot, free: bool) -> None:
        """Take one tick. Not `free`: the power is limited, and tells nothing of the sun."""
        for pv in snapshot.pv:
            if pv.id in self._means:
                self._means[pv.id].add(snapshot.utc_s, pv.w.good if free else None)

    def _take(self, pv_id: str, panels: PvSite, start_s: int, mean_w: float, _latest_w: float | None) -> None:
        watch, quarter = self._watches[pv_id], start_s // QUARTER_S
        before = watch.trouble
        clear_w, clearness = clear_quarter_w(panels, quarter), self._clearness(quarter)
        watch.take(quarter, mean_w, clear_w, None if clearness is None else clearness * clear_w)
        if watch.trouble is not None and before is None:
            since = local_time(watch.trouble.since_utc_s, self._config)
            why = Reason("pv.no_yield", {"share_pct": 100 * watch.trouble.share, "since": since})
            self._events.event("device", "warning", pv_id, words(why))
        elif watch.trouble is None and before is not None:
            self._events.event("device", "info", pv_id, words(Reason("pv.yields_again")))
