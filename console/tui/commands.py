"""Every command of the console. Keys, palette, footer and help all read this list.

What a command is called and does is among the labels: `key.ID` and `does.ID` of
`dispatch/wording/english/labels/keys.py`. `action` is a Textual action of the app. `needs` says without what it is
not offered. Keys that terminals and multiplexers use (ctrl+a, ctrl+b, ctrl+s, ctrl+q) are not used.
"""

from __future__ import annotations

import enum

import msgspec

from console.display.language import say


class Needs(enum.Enum):
    """What a command needs; it is not offered without."""

    NOTHING = "nothing"
    ALARM = "alarm"  # one that waits to be acknowledged
    LIST = "list"  # a view that can be filtered
    PLAN = "plan"  # the plan is open
    OPENS = "opens"  # a list is open whose lines can be opened
    LOG = "log"  # the log is open


class Command(msgspec.Struct, frozen=True):
    """One command."""

    id: str
    keys: tuple[str, ...]
    action: str
    needs: Needs = Needs.NOTHING
    footer: bool = False
    listed: bool = True  # in palette and help; the arrows go without saying

    @property
    def label(self) -> str:
        """What it is called in key bar and palette, in sentence case."""
        return say(f"key.{self.id}")

    @property
    def help(self) -> str:
        """What it does."""
        return say(f"does.{self.id}")

    @property
    def hint(self) -> str:
        """What it is called at the right of the key bar; of those that stand there."""
        return say(f"hint.{self.id}")


FILTERABLE = ("compute", "alarms", "alarm_history", "log", "devices")
OPENS = ("compute", "devices")
ABORT_KEY = "exclamation_mark"

COMMANDS: tuple[Command, ...] = (
    Command("view.overview", ("1",), "view('overview')", footer=True),
    Command("view.compute", ("2",), "view('compute')", footer=True),
    Command("view.plan", ("3",), "view('plan')", footer=True),
    Command("view.island", ("4",), "view('island')", footer=True),
    Command("view.alarms", ("5",), "view('alarms')", footer=True),
    Command("view.log", ("6",), "view('log')", footer=True),
    Command("view.devices", ("7",), "view('devices')", footer=True),
    Command("alarm.acknowledge", ("a",), "acknowledge", Needs.ALARM, footer=True),
    Command("alarm.acknowledge_all", ("A",), "acknowledge_all", Needs.ALARM),
    Command("alarm.acknowledge_group", ("p",), "acknowledge_group", Needs.ALARM),
    Command("alarm.shelve", ("z",), "command('alarm.shelve')"),
    Command("alarm.out_of_service", ("Z",), "command('alarm.out_of_service')"),
    Command("alarm.return", ("b",), "command('alarm.return')"),
    Command("view.alarm_history", ("w",), "view('alarm_history')"),
    Command("filter", ("slash",), "filter", Needs.LIST, footer=True),
    Command("list.sort", ("s", "n"), "sort", Needs.LIST),
    Command("log.kind", ("f",), "kind", Needs.LOG),
    Command("list.open", ("enter",), "open", Needs.OPENS),
    Command("palette", ("colon", "ctrl+p"), "palette", footer=True),
    Command("past.earlier", ("left_square_bracket",), "record(-60)"),
    Command("past.later", ("right_square_bracket",), "record(60)"),
    Command("past.hour_earlier", ("left_curly_bracket",), "record(-3600)", listed=False),
    Command("past.hour_later", ("right_curly_bracket",), "record(3600)", listed=False),
    Command("past.go", ("g",), "go"),
    Command("past.leave", ("end",), "end"),
    Command("drill.abort", (ABORT_KEY,), "abort"),
    Command("drill.start", ("D",), "command('drill.start')"),
    Command("order.hold", ("H",), "command('order.hold')"),
    Command("order.stop", ("S",), "command('order.stop')"),
    Command("order.end", ("x",), "command('order.end')"),
    Command("order.setpoint", ("o",), "command('order.setpoint')"),
    Command("order.import_target", ("i",), "command('order.import_target')"),
    Command("order.soc_target", ("t",), "command('order.soc_target')"),
    Command("order.reserve_level", ("r",), "command('order.reserve_level')"),
    Command("order.cap", ("c",), "command('order.cap')"),
    Command("order.disable", ("d",), "command('order.disable')"),
    Command("order.enable", ("e",), "command('order.enable')"),
    Command("island.reset", ("F",), "command('island.reset')"),
    Command("island.black_start", ("B",), "command('island.black_start')"),
    Command("copy", ("y",), "copy"),
    Command("theme", ("T",), "next_theme"),
    Command("repaint", ("ctrl+l",), "repaint", listed=False),
    Command("help", ("question_mark",), "view('help')", footer=True),
    Command("back", ("escape",), "step_back"),
    Command("line.up", ("up", "k"), "move(-1)", listed=False),
    Command("line.down", ("down", "j"), "move(1)", listed=False),
    Command("line.page_up", ("pageup",), "page(-1)", listed=False),
    Command("line.page_down", ("pagedown",), "page(1)", listed=False),
    Command("line.first", ("home",), "move(-100000)", listed=False),
    Command("line.last", ("G",), "move(100000)", listed=False),
    Command("plan.earlier", ("left", "h"), "cursor(-1)", Needs.PLAN, listed=False),
    Command("plan.later", ("right", "l"), "cursor(1)", Needs.PLAN, listed=False),
    Command("plan.hour_earlier", ("shift+left", "ctrl+left"), "cursor(-4)", Needs.PLAN, listed=False),
    Command("plan.hour_later", ("shift+right", "ctrl+right"), "cursor(4)", Needs.PLAN, listed=False),
    Command("console.lock", ("R",), "lock"),
    Command("quit", ("q", "ctrl+c"), "leave", footer=True),
)
ORDERING = frozenset(c.action for c in COMMANDS if c.id.startswith(("alarm.", "drill.", "island.", "order.")))
LISTED = tuple(c for c in COMMANDS if c.listed)

KEY_NAMES = {
    "slash": "/",
    "colon": ":",
    "question_mark": "?",
    "escape": "esc",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    ABORT_KEY: "!",
}


def key_name(key: str) -> str:
    """A key as printed: "?" for question_mark."""
    return KEY_NAMES.get(key, key)


def matching(text: str) -> list[Command]:
    """The commands for a typed text, the best match first; all of them for an empty one."""
    typed = text.strip().lower()
    if not typed:
        return list(LISTED)
    ranked = [(rank, command) for command in LISTED if (rank := _rank(command, typed)) is not None]
    return [command for _, command in sorted(ranked, key=lambda pair: pair[0])]


def _rank(command: Command, typed: str) -> int | None:
    """How well a command matches, 0 best: its label begins so, a word does, it holds the text, its help does."""
    label = command.label.lower()
    if label.startswith(typed):
        return 0
    if any(word.startswith(typed) for word in label.split()):
        return 1
    if typed in label or typed in command.id:
        return 2
    return 3 if typed in command.help.lower() else None
