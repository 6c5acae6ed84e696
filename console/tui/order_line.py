"""The line across with orders in force, else grid events and signals; in the past also how the site stands now."""

from __future__ import annotations

from console.display.event_text import event_words, most_pressing_event
from console.display.formats import countdown, hour_minute
from console.display.ink import Ink
from console.display.language import say, say_n
from console.display.language import words as reason_words
from console.display.signal_text import NEAR_W, most_pressing, short_words
from console.display.viewmodel import Link, Model, PastMark, not_kept
from console.display.wrapping import columns, cut, wrap
from console.tui.canvas import Canvas
from console.tui.status_bars import Separator
from dispatch.model.orders import Order
from dispatch.orders.book import asked
from gateway.api.protocol import Published

ORDER_ROWS = 4  # a reason has 200 characters at most


class OrderLine(Separator):
    """A line across, and on it the manual orders in force: what, who, how long, why; else grid events, else signals.

    A reason that is too long for the line goes on below it.
    """

    fresh_only = False

    def watch_model(self) -> None:
        """A new model: take as many rows as the order's text needs."""
        rows = 1
        model = self.model
        if model is not None and model.past is None and model.published is not None and model.published.orders:
            rows = len(order_rows(model, model.published, self.size.width))
        if self.styles.height is None or self.styles.height.value != rows:
            self.styles.height = rows
        super().watch_model()

    def paint(self, canvas: Canvas, model: Model) -> None:
        """The battery's order first, how many more there are, and the key that ends one."""
        super().paint(canvas, model)
        if model.past is not None:
            x = canvas.put(2, 0, f" {now_text(model, model.past)} ", Ink.BOLD)
            canvas.fit(x + 2, 0, [*order_then_texts(model), ""], Ink.DIM)
            return
        if model.published is None:
            return
        orders = model.published.orders
        if not orders:
            self._paint_event_or_signal(canvas, model, model.published)
            return
        ink = Ink.DIM if model.stale else Ink.BOLD
        for y, row in enumerate(order_rows(model, model.published, canvas.width)):
            canvas.put(2, y, f" {row} ", ink)
        canvas.right(canvas.width - 2, 0, order_hint(model.published), Ink.DIM)

    def _paint_event_or_signal(self, canvas: Canvas, model: Model, published: Published) -> None:
        """The grid event that is furthest; without one, the signal that matters most."""
        state = most_pressing_event(published.grid_events)
        if state is None:
            self._paint_signal(canvas, model, published)
            return
        more = _more(len(published.grid_events))
        what = event_words(state, published.snapshot.utc_s, model.timezone)
        text = f" {say('order.event_head', what=what)}"
        ink = Ink.DIM if model.stale else Ink.MEDIUM if (state.over_limit_w or 0.0) > NEAR_W else Ink.BOLD
        canvas.put(2, 0, cut(text, canvas.width - 5 - columns(more)) + more + " ", ink)

    @staticmethod
    def _paint_signal(canvas: Canvas, model: Model, published: Published) -> None:
        """The signal that matters most, with what the site does under it; how many more there are."""
        utc_s = published.snapshot.utc_s
        view = most_pressing(published.signals, utc_s)
        if view is None:
            return
        text = f" {say('order.signal_head', what=short_words(view, model.timezone))}{_more(len(published.signals))} "
        short = (view.shortfall_w or 0.0) > NEAR_W
        ink = Ink.DIM if model.stale else Ink.MEDIUM if short else Ink.BOLD
        canvas.put(2, 0, cut(text, canvas.width - 4), ink)


def _more(count: int) -> str:
    """How many there are besides the one that is shown."""
    return f" {say('order.more', n=count - 1)}" if count > 1 else ""


def now_text(model: Model, past: PastMark) -> str:
    """How the site stands now, while the past is shown: the link, the state at the PCC, the alarms that wait."""
    link = say("link.none") if model.link is not Link.LIVE else ""
    alarms = say_n("past.waiting", past.now_waiting) if past.now_waiting else say("past.none_waits")
    state = say(f"head.{past.now_state}") if past.now_state else ""
    return say("past.now", what=" · ".join(filter(None, (link or state, alarms))))


def order_then_texts(model: Model) -> list[str]:
    """The order that was in force in the past that is shown, the longest text first; none where there was none."""
    if model.published is None:
        return []
    if not_kept(model, "orders"):
        return [f" {say('order.then_not_kept')} "]
    if not model.published.orders:
        return []
    first, others = first_order(model.published), _more(len(model.published.orders))
    what, until = order_words(first), hour_minute(first.ends_utc_s, model.timezone)
    by = say("order.by_until", who=first.who, until=until)
    ends = (f" {by}, {first.reason}", f" {by}", f" {say('order.until', until=until)}", "")
    return [f" {say('order.then', what=what)}{end}{others} " for end in ends]


def order_words(order: Order) -> str:
    """What an order asks for."""
    return reason_words(asked(order.kind, order.value, order.target))


def first_order(published: Published) -> Order:
    """The order on the battery, else the first."""
    return min(published.orders, key=lambda o: o.slot != "battery")


def order_hint(published: Published) -> str:
    """What else is in force beside the order shown, and the key that ends one."""
    events, signals = len(published.grid_events), len(published.signals)
    told = [say_n("order.event", events)] if events else []
    told += [say_n("order.signal", signals)] if signals else []
    return f"{' '.join([_more(len(published.orders)), *told])}  {say('order.x_end')} "


def order_rows(model: Model, published: Published, width: int) -> list[str]:
    """The order on the battery, else the first, in as few rows as hold its whole reason.

    The words before the reason give way first: how long is left, then whose it is.
    """
    first = first_order(published)
    reason = f", {first.reason}" if first.reason else ""
    until = hour_minute(first.ends_utc_s, model.timezone)
    what, left = order_words(first), countdown(first.left_s(published.snapshot.mono_s))
    ends = (
        say("order.by_until_left", who=first.who, until=until, left=left),
        say("order.by_until", who=first.who, until=until),
        say("order.until", until=until),
    )
    room = width - 5 - columns(order_hint(published)) - 1
    texts = [say("order.head", what=what, end=end) + reason for end in ends]
    fitting = next((text for text in texts if columns(text) <= room), None)
    if fitting is not None or room <= 0:
        return [fitting or texts[-1]]
    text = " ".join(texts[-1].split())
    head = wrap(text, room, ORDER_ROWS)[0]
    return [head, *wrap(text[len(head) :], width - 5, ORDER_ROWS - 1)]
