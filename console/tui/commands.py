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
    DEVICES = "devices"  # the list of devices is open
    NODES = "compute"  # the list of nodes is open


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


FILTERABLE = ("compute", "log", "devices")
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
        "filter", ("slash",), "Filter", "show only lines that hold a text; empty shows all", "filter", Needs.LIST, True
    ),
    Command(
        "nodes.sort",
        ("n",),
        "Sort nodes",
        "by power, lost first, by name, by the site file",
        "sort_nodes",
        Needs.NODES,
    ),
    Command(
        "devices.registers",
        ("enter",),
        "Registers",
        "those of the selected device, raw and decoded",
        "registers",
        Needs.DEVICES,
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
    Command("help", ("question_mark",), "Help", "this page", "view('help')", footer=True),
    Command("back", ("escape",), "Back", "close; clear the filter; return to the overview", "step_back"),
    Command("line.up", ("up", "k"), "Line up", "select the line above", "move(-1)", listed=False),
    Command("line.down", ("down", "j"), "Line down", "select the line below", "move(1)", listed=False),
    Command("line.page_up", ("pageup",), "Page up", "ten lines up", "move(-10)", listed=False),
    Command("line.page_down", ("pagedown",), "Page down", "ten lines down", "move(10)", listed=False),
    Command("line.first", ("home", "g"), "First line", "select the first line", "move(-100000)", listed=False),
    Command("line.last", ("end", "G"), "Last line", "select the last line", "move(100000)", listed=False),
    Command("plan.earlier", ("left", "h"), "Earlier", "a quarter earlier", "cursor(-1)", Needs.PLAN, listed=False),
    Command("plan.later", ("right", "l"), "Later", "a quarter later", "cursor(1)", Needs.PLAN, listed=False),
    Command(
        "plan.hour_earlier",
        ("left_square_bracket", "shift+left", "ctrl+left"),
        "Hour earlier",
        "an hour earlier in the plan",
        "cursor(-4)",
        Needs.PLAN,
        listed=False,
    ),
    Command(
        "plan.hour_later",
        ("right_square_bracket", "shift+right", "ctrl+right"),
        "Hour later",
        "an hour later in the plan",
        "cursor(4)",
        Needs.PLAN,
        listed=False,
    ),
    Command(
        "quit",
        ("q", "ctrl+c"),
        "Quit",
        "leave; a gateway it started stops, others run on",
        "leave",
        footer=True,
    ),
)
LISTED = tuple(c for c in COMMANDS if c.listed)

KEY_NAMES = {"slash": "/", "colon": ":", "question_mark": "?", "escape": "esc", ABORT_KEY: "!"}


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
