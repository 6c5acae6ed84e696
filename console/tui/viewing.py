"""What looks at the site and orders nothing: which view is open, its lines, and which moment of the record is shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from importlib import import_module
from typing import Any, Protocol, cast, runtime_checkable

import msgspec
from textual.widget import Widget
from textual.worker import Worker

from console.display.status_text import why_text
from console.display.viewmodel import Model
from console.tui.appearance import Appearance
from console.tui.commands import FILTERABLE
from console.tui.diff_widget import DiffWidget
from console.tui.gateway_feed import Client, GatewayFeed
from console.tui.list_view import ByKind, ListView, Opening
from console.tui.model_store import ModelStore
from console.tui.order_form import OrderForm
from console.tui.prompt import FILTER, PALETTE, TIME, Prompt
from console.tui.record_view import RecordView
from console.tui.status_bars import Footer
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
FRAME_S = 1 / 60
SLOW_FRAME_S = 0.2  # over a slow link the footer's answer must not come behind the rows of a view
LAST_LINE = 100_000  # beyond any


@runtime_checkable
class Movable(Protocol):
    """A view with something to move: a selected line, a cursor."""

    def move(self, by: int) -> None:
        """Move by lines or steps, stopping at the ends."""


class ViewingApp(TerminalApp, inherit_bindings=False):
    """The open view, the prompt under it, and the moment that is shown. A subclass draws, and commands the site.

    connect, monotonic, appearance: as of `SkerryApp`.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Client]], monotonic: Callable[[], float], appearance: Appearance | None
    ) -> None:
        super().__init__(appearance)
        self.order_form = OrderForm()
        self.store = ModelStore(self._draw, monotonic)
        self._feed = GatewayFeed(connect, self.store, self._start_worker, monotonic)
        self._record = RecordView(self.store, self._feed, self._start_worker, self._draw)
        self._shown_view = self.model.view

    def _view_opened(self) -> None:
        """Another view is on screen."""

    @property
    def model(self) -> Model:
        """The present."""
        return self.store.model

    @property
    def shown(self) -> Model:
        """What is on screen: the present, or a moment of the record."""
        return self._record.shown()

    def _start_worker(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> Worker[None]:
        """Start a coroutine that runs while the app goes on. Of one name only the latest goes on."""
        return self.run_worker(cast(Any, work), name=name, group=name, exclusive=True)

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

    @property
    def _body(self) -> Widget:
        return self.query_one("#body")

    def _say(self, text: str) -> None:
        self.store.notify(text)

    def _link_is(self, slow: bool) -> None:
        self.store.update(slow_link=slow)

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
        self._view_opened()

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

    def action_copy(self) -> None:
        """Copy the line under the cursor; in a view without one the why line."""
        view = self._view
        self.copy_line((view.copied() if isinstance(view, DiffWidget) else "") or why_text(self.shown))

    def on_mouse_scroll_down(self) -> None:
        """With the mouse reported: one line down."""
        self.action_move(1)

    def on_mouse_scroll_up(self) -> None:
        """With the mouse reported: one line up."""
        self.action_move(-1)
