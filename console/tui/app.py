"""The console as a Textual app: a worker listens to the gateway, every widget draws the same frozen model."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from pathlib import Path
from typing import ClassVar

from textual.actions import ActionParseResult
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.dom import DOMNode
from textual.worker import Worker

from console.display.language import say
from console.tui.alarm_controller import AlarmController, id_of
from console.tui.appearance import Appearance
from console.tui.commands import ABORT_KEY, COMMANDS, FILTERABLE, OPENS, ORDERING, Needs, key_name
from console.tui.diff_widget import DiffWidget
from console.tui.driver import BURST_S
from console.tui.gateway_feed import Client
from console.tui.key_guard import leave_warning, refused_by_lock
from console.tui.list_view import ListView, Opening
from console.tui.model_store import NOTICE_S
from console.tui.order_controller import OrderController
from console.tui.order_line import OrderLine
from console.tui.prompt import Prompt
from console.tui.status_bars import (
    MIN_COLUMNS,
    MIN_ROWS,
    AlarmLine,
    Footer,
    LinkLine,
    NextLine,
    Separator,
    StateLine,
    TooSmall,
    WhyLine,
)
from console.tui.viewing import ViewingApp

TICK_S = 0.5


class SkerryApp(ViewingApp, inherit_bindings=False):
    """The console.

    connect: gives a client, or raises LinkLost (or OSError) with a line to show; called again, with back-off, whenever
        the link is gone.
    stop: awaited before the app leaves: stops a gateway the console started.
    monotonic: the clock ages are counted on.
    appearance: theme, characters, mouse; not given: the default theme, all characters, no mouse.
    """

    TITLE = "Skerry"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    HORIZONTAL_BREAKPOINTS = [(0, "-cramped"), (MIN_COLUMNS, "-normal"), (112, "-wide"), (176, "-wider")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (MIN_ROWS, "-low"), (36, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(c.keys), c.action, c.label, id=c.id, tooltip=c.help, show=c.footer) for c in COMMANDS
    ]
    CSS_PATH = Path(__file__).with_name("console.tcss")

    def __init__(
        self,
        connect: Callable[[], Awaitable[Client]],
        stop: Callable[[], Awaitable[None]] | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        appearance: Appearance | None = None,
    ) -> None:
        super().__init__(connect, monotonic, appearance)
        self._stop, self._monotonic = stop, monotonic
        self._orders = OrderController(self.order_form, self.store, self._feed, self._start_worker, monotonic)
        self._alarms = AlarmController(self.store, self._feed)
        self._leaving = False
        self._warned_until_s = float("-inf")
        self._link_worker: Worker[None] | None = None

    # ── what is on screen ───────────────────────────────────────────────────────────────────────────────────────────

    def compose(self) -> ComposeResult:
        """The lines every view keeps, and the body."""
        yield TooSmall()
        with Vertical(id="all"):
            with Horizontal(id="state"):
                yield StateLine()
                yield LinkLine()
            yield Separator()
            with Vertical(id="body"):
                yield self._new_view("overview")
                yield Prompt()
                yield self.order_form
            yield OrderLine()
            yield WhyLine()
            yield NextLine()
            yield AlarmLine()
            yield Footer()

    def on_mount(self) -> None:
        """Draw what is known, nothing yet, and start listening."""
        self._draw()
        self._link_worker = self.run_worker(self._feed.run(), name="link")
        self.set_interval(TICK_S, self._tick)

    def _draw(self) -> None:
        """Give the model to every visible widget. A terminal that does not keep up gets the next one instead."""
        if self._must_wait():
            self._behind = True
            return
        self._behind = False
        if not self.screen_stack:  # the app is closing, and what was under way still reports
            return
        model = self.shown
        with self.batch_update():
            shown = ("prompt", "order-form", f"view-{self._shown_view}")
            for widget in self.screen.query(DiffWidget):
                if widget.display and (widget.parent is not self._body or widget.id in shown):
                    widget.model = model

    def _tick(self) -> None:
        """Count ages, remove an old notice, ask again what is allowed, catch up with a terminal that fell behind."""
        self._feed.update_age()
        self.store.expire_notice()
        self._orders.poll()
        if self._shown_view == "compute":
            self._feed.refresh_jobs()
        if self._shown_view == "alarm_history":
            self._feed.refresh_alarm_history()
        if self._shown_view == "devices" and self.screen_stack:  # the app may be closing
            self._feed.refresh_proofs()
            for view in self.screen.query("#view-devices").results():
                if isinstance(view, Opening) and view.opened:
                    self._feed.refresh_registers(view.opened)
        if self._behind:
            self._draw()

    def _view_opened(self) -> None:
        self._orders.poll()

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Do what a key or the palette asks. What orders something says why it does not while the past is shown, or
        while the console is locked.
        """
        refused = say("record.no_order") if self._record.active and action in ORDERING else ""
        if refused or (isinstance(action, str) and (refused := refused_by_lock(self.model, action))):
            self.store.notify(refused)
            return True
        return await super().run_action(action, default_namespace, namespaces)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Commands whose needs are not met do nothing."""
        needs = next((c.needs for c in COMMANDS if c.action.partition("(")[0] == action), Needs.NOTHING)
        if needs in (Needs.PLAN, Needs.LOG):
            return bool(self._shown_view == needs.value)
        if needs is Needs.OPENS:
            return self._shown_view in OPENS
        return needs is not Needs.LIST or self._shown_view in FILTERABLE

    def action_lock(self) -> None:
        """Lock the keys that command the site, or unlock them."""
        self._unless_pasted(self._lock, say("lock.pasted"))

    async def _lock(self) -> None:
        locked = not self.model.locked
        self.store.update(locked=locked)
        self.store.notify(say("lock.locked" if locked else "lock.unlocked"))

    def action_command(self, id: str) -> None:
        """Open the form of a command."""
        self._close_prompt()
        self._orders.open(id, id_of(self._selected_alarm))

    def action_abort(self) -> None:
        """Abort the drill, or withdraw a black start: at once, unless the key turns out to be part of a pasted text."""
        self._unless_pasted(self._abort, say("pasted.abort", key=key_name(ABORT_KEY)))

    def _unless_pasted(self, act: Callable[[], Awaitable[None]], refused: str, typed: str = "") -> None:
        """Act on the last key, unless it turns out to be part of a pasted text. `typed`: as of `KeyTimes.pasted`."""
        keys = getattr(self._driver, "keys", None)
        at_s = None if keys is None else keys.last_s
        if at_s is None:
            self.call_later(act)
            return

        async def known() -> None:
            if keys is not None and keys.pasted(at_s, typed):
                self.store.notify(refused)
                self.order_form.take_back()
            else:
                await act()

        self.set_timer(BURST_S, known)

    async def _abort(self) -> None:
        self.order_form.close()
        await self._orders.abort()

    def on_order_form_check_requested(self) -> None:
        """May it be done as written?"""
        self._orders.assess(confirm=True)

    def on_order_form_edited(self) -> None:
        """A field was changed."""
        self._orders.assess()

    def on_order_form_confirmed(self) -> None:
        """The confirmation word was typed."""
        word = self.order_form.form.confirm_word
        self._unless_pasted(self._execute, say("pasted.send"), word)

    async def _execute(self) -> None:
        if self.order_form.display:
            self._orders.execute()

    def on_order_form_cancelled(self) -> None:
        """Nothing is to be done."""
        self.order_form.close()

    async def on_prompt_chosen(self, message: Prompt.Chosen) -> None:
        """Run what was chosen in the palette."""
        self._close_prompt()
        await self.run_action(message.command.action)

    @property
    def _selected_alarm(self) -> Hashable | None:
        """The line that is selected in the list of alarms; None in other views."""
        return self._view.selected if self._shown_view == "alarms" and isinstance(self._view, ListView) else None

    def action_acknowledge(self) -> None:
        """Acknowledge the selected alarm; in other views the first that waits."""
        self._unless_pasted(
            lambda: self._alarms.acknowledge_one(self._selected_alarm),
            say("pasted.acknowledge", key="a"),
        )

    def action_acknowledge_group(self) -> None:
        """Acknowledge what waits of the selected alarm's group."""
        self._unless_pasted(
            lambda: self._alarms.acknowledge_group(self._selected_alarm),
            say("pasted.acknowledge", key="p"),
        )

    def action_acknowledge_all(self) -> None:
        """Acknowledge every alarm that waits."""
        self._unless_pasted(self._alarms.acknowledge_every, say("pasted.acknowledge", key="A"))

    def action_leave(self) -> None:
        """Leave; a gateway that this console started is stopped in order first. Asked twice, it does not wait.

        The key must be pressed twice while an order of this user is in force, and while only that gateway permits
        closing: off the grid and in a drill.
        """
        self._unless_pasted(self._leave, say("leave.pasted"))

    async def _leave(self) -> None:
        warning = "" if self._leaving else leave_warning(self.model, stops_gateway=self._stop is not None)
        if warning and self._monotonic() > self._warned_until_s:
            self._warned_until_s = self._monotonic() + NOTICE_S
            self.store.notify(warning)
        elif self._stop is None or self._leaving:
            self.exit()
        else:
            self._leaving = True
            self.store.notify(say("leave.stopping"), for_s=float("inf"))
            self.run_worker(self._stop_and_exit(), name="leave")

    async def _stop_and_exit(self) -> None:
        assert self._stop is not None
        if self._link_worker is not None:
            self._link_worker.cancel()
        await self._stop()
        self.exit()
