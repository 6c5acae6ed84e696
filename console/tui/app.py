"""The console as a Textual app: one worker listens to the gateway, one frozen model fans out, widgets only draw."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import msgspec
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.worker import Worker

from console.display.islanding_text import abortable, off_grid
from console.display.viewmodel import Model, unacknowledged
from console.tui.commands import COMMANDS, FILTERABLE, Needs
from console.tui.diff_widget import Painted
from console.tui.driver import ConsoleDriver
from console.tui.gateway_feed import Client, Feed
from console.tui.list_view import Lines
from console.tui.order_controller import Desk, durable
from console.tui.order_form import OrderStrip
from console.tui.prompt import FILTER, PALETTE, Prompt
from console.tui.status_bars import (
    MIN_COLUMNS,
    MIN_ROWS,
    AlarmLine,
    Footer,
    LinkLine,
    NextLine,
    OrderLine,
    Rule,
    StateLine,
    TooSmall,
    WhyLine,
)

VIEW_CLASSES = {
    "overview": ("console.tui.overview", "Overview"),
    "compute": ("console.tui.compute", "Compute"),
    "plan": ("console.tui.plan_view", "PlanView"),
    "island": ("console.tui.island", "Island"),
    "alarms": ("console.tui.alarm_list", "AlarmList"),
    "log": ("console.tui.event_log", "EventLog"),
    "help": ("console.tui.help_page", "HelpPage"),
}
TICK_S = 0.5
NOTICE_S = 6.0
FRAME_S = 1 / 60
BACKLOG_FRAMES = 2  # a terminal this far behind is not given more


@runtime_checkable
class Movable(Protocol):
    """A view with something to move: a selected line, a cursor."""

    def move(self, by: int) -> None:
        """By lines or steps, stopping at the ends."""


class SkerryApp(App[None], inherit_bindings=False):
    """The console.

    connect: gives a client, or raises LinkLost (or OSError) with a line to show; called again, with back-off, whenever
        the link is gone.
    stop: awaited before the app leaves: stops a gateway the console started.
    monotonic: the clock ages are counted on.
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
    ) -> None:
        super().__init__(driver_class=ConsoleDriver, ansi_color=True)
        self.model = Model()
        self.feed = Feed(self, connect, monotonic)
        self.desk = Desk(self)
        self.strip = OrderStrip()
        self._stop, self._monotonic = stop, monotonic
        self._notice_until_s = 0.0
        self._behind = False
        self._leaving = False
        self._warned_until_s = float("-inf")
        self._shown = self.model.view
        self._link_worker: Worker[None] | None = None

    # ── what is on screen ───────────────────────────────────────────────────────────────────────────────────────────

    def compose(self) -> ComposeResult:
        """The lines every view keeps, and the body."""
        yield TooSmall()
        with Vertical(id="all"):
            with Horizontal(id="state"):
                yield StateLine()
                yield LinkLine()
            yield Rule()
            with Vertical(id="body"):
                yield self._new_view("overview")
                yield Prompt()
                yield self.strip
            yield OrderLine()
            yield WhyLine()
            yield NextLine()
            yield AlarmLine()
            yield Footer()

    def on_mount(self) -> None:
        """Draw what is known, nothing yet, and start listening."""
        self._fan_out()
        self._link_worker = self.run_worker(self.feed.follow(), name="link")
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
        return self.query_one(f"#view-{self._shown}")

    @property
    def _prompt(self) -> Prompt:
        return self.query_one(Prompt)

    def show(self, **changes: Any) -> None:
        """Change the model and draw what differs."""
        self.become(msgspec.structs.replace(self.model, **changes))

    def become(self, model: Model) -> None:
        """Draw what differs in another model."""
        if model != self.model:
            self.model = model
            self._fan_out()

    def _fan_out(self) -> None:
        """Give the model to every widget in sight. A terminal that does not keep up gets the next one instead."""
        if getattr(self._driver, "backlog", 0) > BACKLOG_FRAMES:
            self._behind = True
            return
        self._behind = False
        if not self.screen_stack:  # the app is closing, and what was under way still reports
            return
        with self.batch_update():
            shown = ("prompt", "strip", f"view-{self._shown}")
            for painted in self.screen.query(Painted):
                if painted.display and (painted.parent is not self._body or painted.id in shown):
                    painted.model = self.model

    @property
    def _body(self) -> Widget:
        return self.query_one("#body")

    def _tick(self) -> None:
        """Count ages, let the notice go, catch up with a terminal that had fallen behind."""
        self.feed.age()
        if self.model.notice and self._monotonic() > self._notice_until_s:
            self.show(notice="")
        self.desk.tick(self.now_s())
        if self._behind:
            self._fan_out()

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────

    def now_s(self) -> float:
        """The clock ages are counted on."""
        return self._monotonic()

    def beside(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> Worker[None]:
        """Do something beside the drawing. Of one name only what was asked for last goes on."""
        return self.run_worker(cast(Any, work), name=name, group=name, exclusive=True)

    def say(self, text: str) -> None:
        """A line in the footer for a few seconds."""
        self._notice_until_s = self._monotonic() + NOTICE_S
        self.show(notice=text)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Commands whose needs are not met do nothing."""
        needs = next((c.needs for c in COMMANDS if c.action.partition("(")[0] == action), Needs.NOTHING)
        if needs is Needs.PLAN:
            return self._shown == "plan"
        return needs is not Needs.LIST or self._shown in FILTERABLE

    def action_view(self, name: str) -> None:
        """Open a view; it is made when first opened. The footer answers the key at once, the view follows."""
        self._close_prompt()
        self.close_strip()
        if name == self.model.view:
            return
        self.model = msgspec.structs.replace(self.model, view=name)
        self.query_one(Footer).model = self.model
        self.set_timer(FRAME_S, self._open_view)

    async def _open_view(self) -> None:
        """Show the view the model names, hide the one before."""
        name = self.model.view
        if name == self._shown:
            return
        found = self.query(f"#view-{name}")
        view = found.first() if found else self._new_view(name)
        view.display = True
        if not found:
            await self._body.mount(view, before=self._prompt)
        self._view.display = False
        self._shown = name
        self._fan_out()
        self.desk.tick(self.now_s())

    def action_move(self, by: int) -> None:
        """Move the selection of the open view's list, or the plan's cursor."""
        if isinstance(self._view, Movable):
            self._view.move(by)

    def action_cursor(self, by: int) -> None:
        """Move the plan's cursor by steps."""
        self.action_move(by)

    def action_palette(self) -> None:
        """Type a part of a command's name."""
        self._open_prompt(PALETTE)

    def action_filter(self) -> None:
        """Type what lines must hold."""
        self._open_prompt(FILTER, getattr(self._view, "needle", ""))

    def _open_prompt(self, kind: str, text: str = "") -> None:
        self.close_strip()
        self._prompt.model = self.model
        self._prompt.open(kind, text)

    def _close_prompt(self) -> None:
        if self._prompt.display:
            self._prompt.close()
            self.screen.set_focus(None)

    def action_command(self, id: str) -> None:
        """Open the strip of a command."""
        self._close_prompt()
        self.desk.open(id)

    async def action_abort(self) -> None:
        """Abort the drill, or withdraw a black start: at once."""
        self.close_strip()
        await self.desk.abort()

    def close_strip(self) -> None:
        """Nothing is to be commanded any more."""
        if self.strip.display:
            self.strip.close()
            self.screen.set_focus(None)

    def on_order_strip_asked(self) -> None:
        """May it be done as written?"""
        self.desk.ask(confirm=True)

    def on_order_strip_edited(self) -> None:
        """Something was typed."""
        self.desk.ask()

    def on_order_strip_executed(self) -> None:
        """Confirmed."""
        self.desk.execute()

    def on_order_strip_closed(self) -> None:
        """Left without a word."""
        self.close_strip()

    async def on_prompt_chosen(self, message: Prompt.Chosen) -> None:
        """Run what was chosen in the palette."""
        self._close_prompt()
        await self.run_action(message.command.action)

    def on_prompt_typed(self, message: Prompt.Typed) -> None:
        """Filter as one types."""
        self._filter(message.text)
        if message.done:
            self._close_prompt()

    def on_prompt_closed(self) -> None:
        """Nothing chosen; a filter that was being typed is dropped."""
        if self._prompt.kind == FILTER:
            self._filter("")
        self._close_prompt()

    def _filter(self, text: str) -> None:
        view = self._view
        if self._shown in FILTERABLE and isinstance(view, Lines):
            view.needle = text
            view.redraw()

    def action_step_back(self) -> None:
        """Clear the filter, else return to the overview."""
        if getattr(self._view, "needle", ""):
            self._filter("")
        else:
            self.action_view("overview")

    def on_event_log_older_wanted(self) -> None:
        """The log's end was reached."""
        self.run_worker(self.feed.load_older(), exclusive=True, group="older")

    async def action_acknowledge(self) -> None:
        """Acknowledge the selected alarm; in other views the first that waits."""
        alarms = self.model.published.alarms if self.model.published else ()
        waiting = unacknowledged(alarms)
        selected = self._view.selected if self._shown == "alarms" and isinstance(self._view, Lines) else None
        alarm = selected if selected in waiting else (waiting[0] if waiting and selected is None else None)
        if alarm is None:
            self.say("no alarm waits to be acknowledged" if not waiting else "this alarm is acknowledged already")
            return
        await self._acknowledge(alarm.id, f"acknowledged: {alarm.title}")

    async def action_acknowledge_all(self) -> None:
        """Acknowledge every alarm that waits."""
        waiting = unacknowledged(self.model.published.alarms if self.model.published else ())
        if not waiting:
            self.say("no alarm waits to be acknowledged")
            return
        await self._acknowledge("*", f"acknowledged: {len(waiting)} alarms")

    async def _acknowledge(self, alarm_id: str, done: str) -> None:
        answer = await self.feed.ask("alarm.acknowledge", id=alarm_id)
        if answer is not None:
            self.say(durable(done, answer))

    async def action_leave(self) -> None:
        """Leave; a gateway this console started is stopped in order first. Asked twice, it does not wait.

        Off the grid or in a drill nobody but that gateway would permit closing: then it takes the key twice to begin.
        """
        needed = self._stop is not None and not self._leaving and (abortable(self.model) or off_grid(self.model))
        if needed and self.now_s() > self._warned_until_s:
            self._warned_until_s = self.now_s() + NOTICE_S
            drill = abortable(self.model)
            what = "the gateway will abort this and end: " if drill else "the site is off the grid: "
            self.say(f"{what}q again leaves{', ! aborts' if drill else ''}")
            return
        if self._stop is not None and not self._leaving:
            self._leaving = True
            self._notice_until_s = float("inf")
            self.show(notice="stopping the gateway in order")
            self.run_worker(self._stop_and_exit(), name="leave")
            return
        self.exit()

    async def _stop_and_exit(self) -> None:
        assert self._stop is not None
        if self._link_worker is not None:
            self._link_worker.cancel()
        await self._stop()
        self.exit()
