"""Every command of the console. Keys, palette, footer and help all read this list.

`action` is a Textual action of the app. `needs` says without what it is not offered.
Keys that terminals and multiplexers use (ctrl+a, ctrl+b, ctrl+s, ctrl+q) are not used.
"""

from __future__ import annotations

import enum

import msgspec


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
    label: str  # sentence case, as in footer and palette
    help: str
    action: str
    needs: Needs = Needs.NOTHING
    footer: bool = False
    listed: bool = True  # in palette and help; the arrows go without saying


FILTERABLE = ("compute", "alarms", "alarm_history", "log", "devices")
OPENS = ("compute", "devices")
ABORT_KEY = "exclamation_mark"

COMMANDS: tuple[Command, ...] = (
    Command(
        "view.overview",
        ("1",),
        "Overview",
        "flows, SoC, import against the peak, tariff",
        "view('overview')",
        footer=True,
    ),
    Command(
        "view.compute",
        ("2",),
        "Compute",
        "nodes and GPUs: power, use, what is critical",
        "view('compute')",
        footer=True,
    ),
    Command("view.plan", ("3",), "Plan", "each quarter to come: why, and what it costs", "view('plan')", footer=True),
    Command(
        "view.island",
        ("4",),
        "Island",
        "islanding: states, checks, runtime, reconnection",
        "view('island')",
        footer=True,
    ),
    Command("view.alarms", ("5",), "Alarms", "list with cause, consequence and action", "view('alarms')", footer=True),
    Command("view.log", ("6",), "Log", "events and why the setpoint changed", "view('log')", footer=True),
    Command(
        "view.devices", ("7",), "Devices", "how each device answers; its registers", "view('devices')", footer=True
    ),
    Command(
        "alarm.acknowledge",
        ("a",),
        "Acknowledge",
        "the selected alarm; elsewhere the first waiting",
        "acknowledge",
        Needs.ALARM,
        True,
    ),
    Command(
        "alarm.acknowledge_all", ("A",), "Acknowledge all", "every alarm that waits", "acknowledge_all", Needs.ALARM
    ),
    Command(
        "alarm.acknowledge_group",
        ("p",),
        "Ack group",
        "those that wait of the selected alarm's group",
        "acknowledge_group",
        Needs.ALARM,
    ),
    Command("alarm.shelve", ("z",), "Shelve", "take an alarm off the list for a time", "command('alarm.shelve')"),
    Command(
        "alarm.out_of_service",
        ("Z",),
        "Out of service",
        "an engineer's: off the list until taken back",
        "command('alarm.out_of_service')",
    ),
    Command("alarm.return", ("b",), "List again", "one shelved or out of service", "command('alarm.return')"),
    Command("view.alarm_history", ("w",), "Alarm history", "how long alarms stood", "view('alarm_history')"),
    Command(
        "filter", ("slash",), "Filter", "show only lines that hold a text; empty shows all", "filter", Needs.LIST, True
    ),
    Command(
        "list.sort",
        ("s", "n"),
        "Sort",
        "the list in its next order, such as by name",
        "sort",
        Needs.LIST,
    ),
    Command("log.kind", ("f",), "Kind", "one kind of events only, such as alarms", "kind", Needs.LOG),
    Command(
        "list.open",
        ("enter",),
        "Open",
        "registers of a device; GPUs of a node, its jobs",
        "open",
        Needs.OPENS,
    ),
    Command(
        "palette",
        ("colon", "ctrl+p"),
        "Commands",
        "find a command by typing a part of its name",
        "palette",
        footer=True,
    ),
    Command(
        "past.earlier",
        ("left_square_bracket",),
        "Earlier",
        "every view as it was a minute earlier; { an hour",
        "record(-60)",
    ),
    Command("past.later", ("right_square_bracket",), "Later", "a minute later; } an hour", "record(60)"),
    Command(
        "past.hour_earlier", ("left_curly_bracket",), "Hour earlier", "an hour earlier", "record(-3600)", listed=False
    ),
    Command("past.hour_later", ("right_curly_bracket",), "Hour later", "an hour later", "record(3600)", listed=False),
    Command("past.go", ("g",), "Go to a time", "of the record: 14:20, 2026-11-03 02:40, -2h", "go"),
    Command("past.leave", ("end",), "Now", "back from the record; else the last line", "end"),
    Command(
        "drill.abort",
        (ABORT_KEY,),
        "Abort drill",
        "at once back to the grid; withdraws a black start",
        "abort",
    ),
    Command(
        "drill.start",
        ("D",),
        "Drill",
        "rehearse an outage: check, open, hold, return",
        "command('drill.start')",
    ),
    Command("order.hold", ("H",), "Hold", "batteries to 0 kW, whoever has them; always runs", "command('order.hold')"),
    Command("order.stop", ("S",), "Stop", "withdraw every order and hold; always runs", "command('order.stop')"),
    Command("order.end", ("x",), "End order", "end a manual order that is in force", "command('order.end')"),
    Command(
        "order.setpoint", ("o",), "Setpoint", "order a battery power: 20kW discharges", "command('order.setpoint')"
    ),
    Command(
        "order.import_target", ("i",), "Import target", "order an import at the PCC", "command('order.import_target')"
    ),
    Command("order.soc_target", ("t",), "SoC target", "order a SoC by a time", "command('order.soc_target')"),
    Command(
        "order.reserve_level",
        ("r",),
        "Reserve level",
        "keep another SoC for ride-through",
        "command('order.reserve_level')",
    ),
    Command("order.cap", ("c",), "Cap", "limit a node's power for a time", "command('order.cap')"),
    Command("order.disable", ("d",), "Disable", "take a PCS out of dispatch", "command('order.disable')"),
    Command("order.enable", ("e",), "Enable", "end the order that disables a PCS", "command('order.enable')"),
    Command("island.reset", ("F",), "Fault reset", "an engineer's: look anew after a fault", "command('island.reset')"),
    Command(
        "island.black_start",
        ("B",),
        "Black start",
        "an engineer's: start a dead site from its battery",
        "command('island.black_start')",
    ),
    Command("copy", ("y",), "Copy", "the selected line, else the why line (OSC 52)", "copy"),
    Command("theme", ("T",), "Next theme", "other colours, kept for this user", "next_theme"),
    Command("repaint", ("ctrl+l",), "Repaint", "send the whole screen anew", "repaint", listed=False),
    Command("help", ("question_mark",), "Help", "this page", "view('help')", footer=True),
    Command("back", ("escape",), "Back", "close; clear the filter; return to the overview", "step_back"),
    Command("line.up", ("up", "k"), "Line up", "select the line above", "move(-1)", listed=False),
    Command("line.down", ("down", "j"), "Line down", "select the line below", "move(1)", listed=False),
    Command("line.page_up", ("pageup",), "Page up", "a page up", "page(-1)", listed=False),
    Command("line.page_down", ("pagedown",), "Page down", "a page down", "page(1)", listed=False),
    Command("line.first", ("home",), "First line", "select the first line", "move(-100000)", listed=False),
    Command("line.last", ("G",), "Last line", "select the last line", "move(100000)", listed=False),
    Command("plan.earlier", ("left", "h"), "Earlier", "a quarter earlier", "cursor(-1)", Needs.PLAN, listed=False),
    Command("plan.later", ("right", "l"), "Later", "a quarter later", "cursor(1)", Needs.PLAN, listed=False),
    Command(
        "plan.hour_earlier",
        ("shift+left", "ctrl+left"),
        "Hour earlier",
        "an hour earlier in the plan",
        "cursor(-4)",
        Needs.PLAN,
        listed=False,
    ),
    Command(
        "plan.hour_later",
        ("shift+right", "ctrl+right"),
        "Hour later",
        "an hour later in the plan",
        "cursor(4)",
        Needs.PLAN,
        listed=False,
    ),
    Command("console.lock", ("R",), "Read only", "refuse every command until R is pressed again", "lock"),
    Command(
        "quit",
        ("q", "ctrl+c"),
        "Quit",
        "leave; a gateway it started stops, others run on",
        "leave",
        footer=True,
    ),
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
