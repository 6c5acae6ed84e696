"""Theme, characters, clipboard: by the terminal, the user and the command line."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import scenes
from counted_terminal import CountedDriver, counted
from recorded_client import RecordedClient
from screen import Eventually, open_view

from console.display.ink import Ink
from console.display.wrapping import character_columns
from console.terminal_output import plain_character
from console.tui import theme
from console.tui.app import SkerryApp
from console.tui.appearance import Appearance, appearance
from console.tui.canvas import Canvas
from console.tui.list_view import ListView
from console.tui.terminal_kind import copying, needs_ascii
from console.tui.theme import ThemeError

ROOT = Path(__file__).resolve().parents[3]
DRAWS = ("console/display", "console/tui", "dispatch/wording/english")
VIEWS = {"2": "compute", "3": "plan", "4": "island", "5": "alarms", "6": "log", "7": "devices", "question_mark": "help"}


def console(look: Appearance | None = None, scene: str = "alarms") -> SkerryApp:
    """The console on a recorded scene."""
    client = RecordedClient(scenes.read(scene))

    async def connect() -> RecordedClient:
        return client

    return SkerryApp(connect, monotonic=lambda: 100.0, appearance=look)


# ── themes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_bundled_themes_say_how_every_ink_looks() -> None:
    assert set(theme.names()) == {"default", "light", "ansi-16", "mono", "deuteranopia"}
    for name in theme.names():
        found = theme.load(name)
        assert found.styles.keys() == set(Ink) - {Ink.PLAIN}, name
        assert found.about
        assert found.styles[Ink.REVERSE].reverse, "the selected line is seen without colour"
        assert found.styles[Ink.HIGH].bold, "and the highest priority too"


def test_each_theme_keeps_to_what_it_promises() -> None:
    assert all(style.color is None for style in theme.load("mono").styles.values())
    plain = theme.load("ansi-16").styles.values()
    assert all(style.color is None or (style.color.number or 0) < 16 for style in plain)
    assert not any(style.dim for style in plain)
    assert not any(style.dim for style in theme.load("light").styles.values())


def test_the_users_own_file_comes_first_and_may_leave_inks_out(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "TERM": "xterm"}
    folder = tmp_path / "skerry"
    (folder / "themes").mkdir(parents=True)
    (folder / "themes" / "night.toml").write_text('about = "red"\n[ink]\nhigh = "#d55e00 on black"\n')
    night = appearance(environment, "night").theme
    assert str(night.styles[Ink.HIGH]) == "#d55e00 on black"
    assert night.styles[Ink.MEDIUM] == theme.load("default").styles[Ink.MEDIUM]
    assert "night" in theme.names(folder)


def test_option_before_environment_before_the_choice_kept_before_the_terminals(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "TERM": "linux"}
    assert appearance(environment).theme.name == "ansi-16"
    assert appearance({"TERM": "vt100"}).theme.name == "mono"
    assert theme.keep(theme.load("light"), theme.user_folder(environment)) == ""
    assert appearance(environment).theme.name == "light"
    environment["SKERRY_THEME"] = "mono"
    assert appearance(environment).theme.name == "mono"
    assert appearance(environment, "deuteranopia").theme.name == "deuteranopia"
    (tmp_path / "skerry" / "theme").write_text("gone")
    del environment["SKERRY_THEME"]
    assert appearance(environment).theme.name == "ansi-16"


def test_a_theme_that_cannot_be_kept_says_why(tmp_path: Path) -> None:
    (tmp_path / "skerry").write_text("a file")
    assert theme.keep(theme.load("light"), tmp_path / "skerry") == "not kept: File exists"
    assert theme.keep(theme.load("light"), None) == "not kept: no home directory"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[ink]\nhigh = "link https://x"', "high: expected words"),
        ('[ink]\nhigh = "bold purpleish"', "high: expected words"),
        ("[ink]\nhigh = 4", "high: expected words"),
        ('[ink]\nhihg = "bold"', "[ink] has the keys plain, dim"),
        ("ink = 3", "[ink] has the keys plain, dim"),
        ("[ink", "no TOML"),
        ("# " + "x" * theme.MOST_BYTES, "longer than"),
    ],
)
def test_a_faulty_theme_says_where_and_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(ThemeError) as refused:
        theme.parse(text.encode(), "/home/x/night.toml", "night")
    assert str(refused.value).startswith("/home/x/night.toml: ")
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["nothere", "../default", "", "default.toml"])
def test_a_theme_that_is_not_there_says_which_are(name: str) -> None:
    with pytest.raises(ThemeError, match="there are ansi-16, default, deuteranopia, light, mono"):
        theme.load(name)


# ── characters ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_character_that_is_drawn_has_a_form_in_ascii() -> None:
    drawn = {c for part in DRAWS for path in (ROOT / part).rglob("*.py") for c in path.read_text("utf-8")}
    others = {c for c in drawn if not c.isascii() and c != "�" and character_columns(c) == 1}
    assert len(others) > 30
    assert {c for c in others if plain_character(c) == "?"} == set()
    assert all(len(plain_character(c)) == 1 and plain_character(c).isascii() for c in others)


def test_curves_keep_their_heights_in_ascii() -> None:
    assert "".join(map(plain_character, "▁▂▃▄▅▆▇█")) == "_.-=+*%#"
    assert "".join(map(plain_character, "⠉⠒⠤⣀⡇⠀")) == "'--.: "


def test_a_wide_character_becomes_two_and_nothing_moves() -> None:
    canvas = Canvas(8, 1)
    canvas.put(0, 0, "日x é²½")
    canvas.to_ascii()
    assert canvas.lines() == ["??x e2? "]


@pytest.mark.parametrize(
    ("variables", "ascii_only"),
    [
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "C.utf8"}, False),
        ({"LANG": "de_DE.ISO-8859-1"}, True),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, True),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "de_DE"}, False),
        ({}, True),
        ({"LANG": "en_US.UTF-8", "TERM": "linux"}, True),
        ({"LANG": "en_US.UTF-8", "TERM": "vt220"}, True),
        ({"LANG": "en_US.UTF-8", "TERM": "tmux-256color"}, False),
    ],
)
def test_only_a_utf8_locale_gets_more_than_ascii(variables: dict[str, str], ascii_only: bool) -> None:
    assert needs_ascii({"TERM": "xterm"} | variables, utf8_mode=False) is ascii_only


def test_what_python_puts_into_the_locale_is_not_taken_for_the_users() -> None:
    """In the locale C, Python 3.11 sets LC_CTYPE and turns its UTF-8 mode on."""
    assert needs_ascii({"TERM": "xterm", "LANG": "C", "LC_CTYPE": "C.UTF-8"}, utf8_mode=True)
    assert not needs_ascii({"TERM": "xterm", "LC_CTYPE": "C.UTF-8", "PYTHONUTF8": "1"}, utf8_mode=True)


async def test_every_view_is_ascii_where_that_is_asked_for_and_says_the_same(eventually: Eventually) -> None:
    look = Appearance(theme.load("mono"), ascii=True)
    async with counted(console(look), (120, 40)) as (pilot, terminal):
        await eventually(pilot, lambda: terminal.cells.shows("GRID-TIED"))
        for key, name in VIEWS.items():
            await open_view(pilot, key, name, eventually)
            await eventually(pilot, lambda n=name: pilot.app._shown_view == n)
            assert all(line.isascii() for line in terminal.cells.lines), name


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_selected_line_and_elsewhere_the_why_line_go_to_the_clipboard(
    eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("STY", raising=False)
    async with counted(console(), (80, 24)) as (pilot, terminal):
        await eventually(pilot, lambda: terminal.cells.shows("GRID-TIED"))
        await pilot.press("y")
        await open_view(pilot, "6", "log", eventually)
        await pilot.press("down", "y")
        await eventually(pilot, lambda: len(terminal.cells.clipboard) == 2)
        why, line = [base64.b64decode(held.removeprefix("52;c;")).decode() for held in terminal.cells.clipboard]
        assert terminal.cells.shows(why[:40])
        assert any(line.split()[-1].rstrip("…") in shown for shown in terminal.cells.lines)
        await eventually(pilot, lambda: terminal.cells.shows("copied, if the terminal takes OSC 52"))


async def test_a_click_selects_a_line_and_the_wheel_moves(eventually: Eventually) -> None:
    async with console().run_test(size=(80, 24)) as pilot:
        await eventually(pilot, lambda: len(pilot.app.model.events) > 4)
        await open_view(pilot, "6", "log", eventually)
        log = pilot.app.query_one("#view-log", ListView)
        await eventually(pilot, lambda: len(log.listed(pilot.app.model)) > 4)
        listed = log.listed(pilot.app.model)
        await pilot.click("#view-log", offset=(9, 3))
        assert log.selected == listed[2], "the header is the first row"
        pilot.app.on_mouse_scroll_down()
        assert log.selected == listed[3]
        await pilot.click("#view-log", offset=(9, log.size.height - 1))
        assert log.selected == listed[3], "that is the text of the selected line"


def test_a_copied_text_cannot_steer_the_terminal() -> None:
    sequence = copying("x\x07\x1b]0;owned", {"TERM": "xterm"})
    assert sequence is not None
    assert base64.b64decode(sequence.removeprefix("\x1b]52;c;").removesuffix("\x07")).decode() == "x��]0;owned"
    within = copying("x", {"TERM": "screen", "STY": "1"})
    assert within == "\x1bP\x1b]52;c;eA==\x07\x1b\\"
    assert copying("x", {"TERM": "screen", "STY": "1", "TMUX": "/tmp/x"}) == "\x1b]52;c;eA==\x07"


@pytest.mark.parametrize(
    "variables", [{"TERM": "linux"}, {"TERM": "vt100"}, {"TERM": "xterm", "TERM_PROGRAM": "Apple_Terminal"}]
)
def test_a_terminal_without_a_clipboard_is_sent_nothing(variables: dict[str, str]) -> None:
    assert copying("x", variables) is None


def inks(terminal: CountedDriver) -> set[str]:
    """The attributes that are on the screen."""
    return {ink for row in terminal.cells.cells for _, ink in row}


async def test_the_next_theme_is_drawn_and_kept(
    eventually: Eventually, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    async with counted(console(), (80, 24)) as (pilot, terminal):
        await eventually(pilot, lambda: terminal.cells.shows("GRID-TIED"))
        before = inks(terminal)
        await pilot.press("T")
        await eventually(pilot, lambda: terminal.cells.shows("theme deuteranopia"))
        await eventually(pilot, lambda: inks(terminal) - before)
    assert (tmp_path / "skerry" / "theme").read_text() == "deuteranopia\n"
