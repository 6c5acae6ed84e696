"""Shows moments of the record in place of the present: steps through it, jumps to a time, returns to now.

What it needs for that is loaded when the past is first shown: a console starts without it.
"""

from __future__ import annotations

from collections.abc import Callable

from console.display.formats import DAY_S, date_clock_zone, zone_named
from console.display.language import say
from console.display.viewmodel import Model
from console.tui.answers import Requester, asked
from console.tui.gateway_feed import StartWorker
from console.tui.model_store import ModelStore
from gateway.errors import LinkLost, RequestFailed

MINUTE_S = 60


class RecordView:
    """Which moment is shown. The live model goes on in the store meanwhile.

    changed: called when another moment is to be drawn, or the present again.
    """

    def __init__(
        self, store: ModelStore, requester: Requester, start_worker: StartWorker, changed: Callable[[], None]
    ) -> None:
        self._store, self._requester, self._start_worker, self._changed = store, requester, start_worker, changed
        self._past: Model | None = None
        self._wanted_utc_s: float | None = None  # asked for, whether it is there yet or not; None: the present
        self._loading = False  # a request is under way: while a key is held down the next one waits for its answer

    @property
    def active(self) -> bool:
        """Whether the past is shown, or about to be."""
        return self._wanted_utc_s is not None

    def shown(self) -> Model:
        """What is to be drawn."""
        if self._past is None:
            return self._store.model
        from console.display.past_model import seen_from

        return seen_from(self._store.model, self._past)

    def step(self, by_s: int) -> None:
        """Go on by so many whole minutes; beyond now, to the present."""
        now_s = self._store.model.now_utc_s
        if now_s is None:
            self._store.notify(say("record.nothing_yet"))
            return
        if self._wanted_utc_s is None and by_s > 0:
            return  # the present is shown
        at_s = now_s if self._wanted_utc_s is None else self._wanted_utc_s
        whole_s = -(-at_s // MINUTE_S) * MINUTE_S if by_s < 0 else at_s // MINUTE_S * MINUTE_S
        self._show(whole_s + by_s)

    def go(self, text: str) -> str:
        """Go to a time as it is typed; why not, or nothing."""
        from click import BadParameter

        from console.value_parsers import TIME_OF_DAY, moment

        model = self._store.model
        if model.now_utc_s is None:
            return say("record.nothing_yet")
        zone = zone_named(model.timezone)
        try:
            utc_s = moment(text, model.now_utc_s, zone)
        except BadParameter as error:
            return error.message
        if utc_s > model.now_utc_s and TIME_OF_DAY.fullmatch(text.strip()):
            utc_s = moment(text, model.now_utc_s - DAY_S, zone)  # that of yesterday
        if utc_s > model.now_utc_s:
            return say("record.not_come", time=date_clock_zone(utc_s, zone))
        self._show(utc_s)
        return ""

    def leave(self) -> None:
        """Return to the present."""
        self._wanted_utc_s = self._past = None
        self._changed()

    def _show(self, utc_s: float) -> None:
        if utc_s >= (self._store.model.now_utc_s or utc_s):
            self.leave()
            return
        self._wanted_utc_s = utc_s
        if not self._loading:
            self._loading = True
            self._start_worker(self._load_wanted, "past")

    async def _load_wanted(self) -> None:
        """Load the moment that is wanted; what was passed over meanwhile is not asked for."""
        loaded_s: float | None = None
        try:
            while self._wanted_utc_s not in (None, loaded_s):
                loaded_s = self._wanted_utc_s
                await self._load(loaded_s)
        finally:
            self._loading = False

    async def _load(self, utc_s: float | None) -> None:
        """Ask for a moment. Without an answer what is on screen stays."""
        from console.display.past_model import past_model
        from storage.past import Past

        try:
            found = await asked(self._requester, Past, "past", utc_s=utc_s)
        except (RequestFailed, LinkLost) as error:
            self._wanted_utc_s = None if self._past is None else self._past.now_utc_s
            self._store.notify(
                say("record.earlier_gateway")
                if "unknown method" in str(error)
                else say("record.not_read", why=str(error))
            )
            return
        if self._wanted_utc_s is not None:
            self._past = past_model(self._store.model, found)
            self._changed()
