"""The console as a Textual app: a worker listens to the gateway, every widget draws the same frozen model."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import msgspec
from textual.actions import ActionParseResult
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.dom import DOMNode
from textual.widget import Widget
from textual.worker import Worker

from console.display.status_text import why_text
from console.display.viewmodel import Model
from console.tui.alarm_controller import AlarmController, id_of
from console.tui.appearance import Appearance
from console.tui.commands import ABORT_KEY, COMMANDS, FILTERABLE, OPENS, ORDERING, Needs, key_name
from console.tui.diff_widget import DiffWidget
from console.tui.driver import BURST_S
from console.tui.gateway_feed import Client, GatewayFeed
from console.tui.key_guard import leave_warning, refused_by_lock
from console.tui.list_view import ByKind, ListView, Opening
from console.tui.model_store import NOTICE_S, ModelStore
from console.tui.order_controller import OrderController
from console.tui.order_form import OrderForm
from console.tui.prompt import FILTER, PALETTE, TIME, Prompt
from console.tui.record_view import NO_ORDER, RecordView
from console.tui.status_bars import (
    MIN_COLUMNS,
    MIN_ROWS,
    AlarmLine,
    Footer,
    LinkLine,
    NextLine,
    OrderLine,
    Separator,
    StateLine,
    TooSmall,
    WhyLine,
)
from console.tui.terminal_app import TerminalApp

VIEW_CLASSES = {
    "overview": ("console.tui.overview", "Overview"),
    "compute": ("console.tui.compute", "Compute"),
    "plan": ("console.tui.plan_view", "PlanView"),
    "island": ("console.tui.island", "Island"),
    "alarms": ("console.tui.alarm_list", "AlarmList"),
    "alarm_history": ("console.tui.alarm_history", "AlarmHistory"),
    "log": ("console.tui.event_log", "EventLog"),
    "devices": ("console.tui.devices", "Devices"),
    "help": ("console.tui.help_page", "HelpPage"),
}
TICK_S = 0.5
FRAME_S = 1 / 60
SLOW_FRAME_S = 0.2  # over a slow link the footer's answer must not come behind the rows of a view
LAST_LINE = 100_000  # beyond any


@runtime_checkable
class Movable(Protocol):
    """A view with something to move: a selected line, a cursor."""

    def move(self, by: int) -> None:
        """Move by lines or steps, stopping at the ends."""


class SkerryApp(TerminalApp, inherit_bindings=False):
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
    HORIZONTAL_BREAKPOINTS = [(0, "-cramped"), (MIN_COLUMNS, "-normal"), (112, "-wide")]  # noqa: RUF012
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
        super().__init__(appearance)
        self._stop, self._monotonic = stop, monotonic
        self.order_form = OrderForm()
        self.store = ModelStore(self._draw, monotonic)
        self._feed = GatewayFeed(connect, self.store, self._start_worker, monotonic)
        self._orders = OrderController(self.order_form, self.store, self._feed, self._start_worker, monotonic)
        self._record = RecordView(self.store, self._feed, self._start_worker, self._draw)
        self._alarms = AlarmController(self.store, self._feed)
        self._leaving = False
        self._warned_until_s = float("-inf")
        self._shown_view = self.model.view
        self._link_worker: Worker[None] | None = None

    @property
    def model(self) -> Model:
        """The present."""
        return self.store.model

    @property
    def shown(self) -> Model:
        """What is on screen: the present, or a moment of the record."""
        return self._record.shown()

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

    @staticmethod
    def _new_view(name: str) -> Widget:
        module, class_name = VIEW_CLASSES[name]
        view: Widget = getattr(import_module(module), class_name)()
        view.id = f"view-{name}"
        return view

    @property
    def _view(self) -> Widget:
        """The view on screen."""
        return self.query_one(f"#view-{self._shown_view}")

    @property
    def _prompt(self) -> Prompt:
        return self.query_one(Prompt)

    def _say(self, text: str) -> None:
        self.store.notify(text)

    def _link_is(self, slow: bool) -> None:
        self.store.update(slow_link=slow)

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

    @property
    def _body(self) -> Widget:
        return self.query_one("#body")

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

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_worker(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> Worker[None]:
        """Start a coroutine that runs while the app goes on. Of one name only the latest goes on."""
        return self.run_worker(cast(Any, work), name=name, group=name, exclusive=True)

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Do what a key or the palette asks. What orders something says why it does not while the past is shown, or
        while the console is locked.
        """
        refused = NO_ORDER if self._record.active and action in ORDERING else ""
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
        self._unless_pasted(self._lock, "a pasted text locks and unlocks nothing: press R alone")

    async def _lock(self) -> None:
        locked = not self.model.locked
        self.store.update(locked=locked)
        self.store.notify("read only: R unlocks" if locked else "unlocked: commands are possible again")

    def action_view(self, name: str) -> None:
        """Show a view; it is created at the first use. The footer changes at once, the view when it is drawn."""
        self._close_prompt()
        self.order_form.close()
        if name == self.model.view:
            return
        self.store.replace(msgspec.structs.replace(self.model, view=name), draw=False)
        self.query_one(Footer).model = self.shown
        self.set_timer(SLOW_FRAME_S if self.model.slow_link else FRAME_S, self._open_view)

    async def _open_view(self) -> None:
        """Show the view the model names, hide the one before."""
        name = self.model.view
        if name == self._shown_view:
            return
        found = self.query(f"#view-{name}")
        view = found.first() if found else self._new_view(name)
        view.display = True
        if not found:
            await self._body.mount(view, before=self._prompt)
        self._view.display = False
        self._shown_view = name
        self._draw()
        self._orders.poll()

    def action_move(self, by: int) -> None:
        """Move the selection of the open view's list, or the plan's cursor."""
        if isinstance(self._view, Movable):
            self._view.move(by)

    def action_record(self, by_s: int) -> None:
        """Show the record so much earlier or later."""
        self._close_prompt()
        self._record.step(by_s)

    def action_go(self) -> None:
        """Type a time to show."""
        self._open_prompt(TIME)

    def action_end(self) -> None:
        """Back to the present; where it is shown, the last line."""
        if self._record.active:
            self._record.leave()
        else:
            self.action_move(LAST_LINE)

    def on_prompt_time_given(self, message: Prompt.TimeGiven) -> None:
        """Show that time; the prompt stays open with what is wrong."""
        if wrong := self._record.go(message.text):
            self.store.notify(wrong)
        else:
            self._close_prompt()

    def action_sort(self) -> None:
        """List in the next order."""
        if isinstance(self._view, ListView):
            self._view.sort_next()

    def action_kind(self) -> None:
        """List the next kind of events."""
        if isinstance(self._view, ByKind):
            self._view.next_kind()

    def action_page(self, by: int) -> None:
        """A page of the open list up or down; in other views ten lines or steps."""
        if isinstance(self._view, ListView):
            self._view.page(by)
        else:
            self.action_move(10 * by)

    def action_cursor(self, by: int) -> None:
        """Move the plan's cursor by steps."""
        self.action_move(by)

    def action_palette(self) -> None:
        """Type a part of a command's name."""
        self._open_prompt(PALETTE)

    def action_filter(self) -> None:
        """Open the filter: only lines that contain the typed text are shown."""
        self._open_prompt(FILTER, getattr(self._view, "filter_text", ""))

    def _open_prompt(self, kind: str, text: str = "") -> None:
        self.order_form.close()
        self._prompt.model = self.shown
        self._prompt.open(kind, text)

    def _close_prompt(self) -> None:
        if self._prompt.display:
            self._prompt.close()
            self.screen.set_focus(None)

    def action_command(self, id: str) -> None:
        """Open the form of a command."""
        self._close_prompt()
        self._orders.open(id, id_of(self._selected_alarm))

    def action_abort(self) -> None:
        """Abort the drill, or withdraw a black start: at once, unless the key turns out to be part of a pasted text."""
        self._unless_pasted(self._abort, f"a pasted text does not abort: press {key_name(ABORT_KEY)} alone")

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
        self._unless_pasted(self._execute, "a pasted text sends nothing: press enter alone", word)

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

    def on_prompt_typed(self, message: Prompt.Typed) -> None:
        """Filter as one types."""
        self._set_filter(message.text)
        if message.done:
            self._close_prompt()

    def on_prompt_closed(self) -> None:
        """Nothing was chosen; a filter that was being typed is cleared."""
        if self._prompt.kind == FILTER:
            self._set_filter("")
        self._close_prompt()

    def _set_filter(self, text: str) -> None:
        view = self._view
        if self._shown_view in FILTERABLE and isinstance(view, ListView):
            view.filter_text = text
            view.redraw()

    def action_step_back(self) -> None:
        """Clear the filter, else return to the overview."""
        if getattr(self._view, "filter_text", ""):
            self._set_filter("")
        elif not (isinstance(self._view, Opening) and self._view.close_opened()):
            self.action_view("overview")

    def action_open(self) -> None:
        """Open the selected line: the registers of a device, the GPUs of a node, its jobs."""
        opened = self._view.open_selected() if isinstance(self._view, Opening) else ""
        if opened and self._shown_view == "devices":
            self._feed.show_registers(opened)

    def on_event_log_older_wanted(self) -> None:
        """The log's end was reached."""
        self.run_worker(self._feed.load_older(), exclusive=True, group="older")

    @property
    def _selected_alarm(self) -> Hashable | None:
        """The line that is selected in the list of alarms; None in other views."""
        return self._view.selected if self._shown_view == "alarms" and isinstance(self._view, ListView) else None

    def action_acknowledge(self) -> None:
        """Acknowledge the selected alarm; in other views the first that waits."""
        self._unless_pasted(
            lambda: self._alarms.acknowledge_one(self._selected_alarm),
            "a pasted text acknowledges nothing: press a alone",
        )

    def action_acknowledge_group(self) -> None:
        """Acknowledge what waits of the selected alarm's group."""
        self._unless_pasted(
            lambda: self._alarms.acknowledge_group(self._selected_alarm),
            "a pasted text acknowledges nothing: press p alone",
        )

    def action_acknowledge_all(self) -> None:
        """Acknowledge every alarm that waits."""
        self._unless_pasted(self._alarms.acknowledge_every, "a pasted text acknowledges nothing: press A alone")

    def action_copy(self) -> None:
        """Copy the line under the cursor; in a view without one the why line."""
        view = self._view
        self.copy_line((view.copied() if isinstance(view, DiffWidget) else "") or why_text(self.model))

    def on_mouse_scroll_down(self) -> None:
        """With the mouse reported: one line down."""
        self.action_move(1)

    def on_mouse_scroll_up(self) -> None:
        """With the mouse reported: one line up."""
        self.action_move(-1)

    def action_leave(self) -> None:
        """Leave; a gateway that this console started is stopped in order first. Asked twice, it does not wait.

        The key must be pressed twice while an order of this user is in force, and while only that gateway permits
        closing: off the grid and in a drill.
        """
        self._unless_pasted(self._leave, "a pasted text does not leave: press q alone")

    async def _leave(self) -> None:
        warning = "" if self._leaving else leave_warning(self.model, stops_gateway=self._stop is not None)
        if warning and self._monotonic() > self._warned_until_s:
            self._warned_until_s = self._monotonic() + NOTICE_S
            self.store.notify(warning)
        elif self._stop is None or self._leaving:
            self.exit()
        else:
            self._leaving = True
            self.store.notify("stopping the gateway in order", for_s=float("inf"))
            self.run_worker(self._stop_and_exit(), name="leave")

    async def _stop_and_exit(self) -> None:
        assert self._stop is not None
        if self._link_worker is not None:
            self._link_worker.cancel()
        await self._stop()
        self.exit()
