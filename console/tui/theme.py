"""How the inks look: a theme is one TOML file, bundled in `themes/` or of the user's own.

`$XDG_CONFIG_HOME/skerry/themes/NAME.toml` comes before a bundled one of the name. It says for each ink, in Rich's words
for a style, how it looks: `bold`, `dim`, `reverse`, `underline`, a colour (`red`, `bright_red`, `color(166)`,
`#d55e00`), `on` a colour. What it leaves out looks as in `default`. Which theme a user chose last is kept beside it, in
`skerry/theme`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from rich.errors import StyleSyntaxError
from rich.style import Style

from console.display.ink import Ink

BUNDLED = Path(__file__).with_name("themes")
DEFAULT = "default"
INKS = {ink.name.lower(): ink for ink in Ink}
WORD = re.compile(r"[a-z_]+\d*|color\(\d{1,3}\)|#[0-9a-f]{6}", re.ASCII)
NOT_STYLES = frozenset(("link", "not"))
MOST_BYTES = 10_000
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)


class ThemeError(Exception):
    """A theme that does not exist or cannot be read; the line says where, what was expected, what there is."""


class Theme(msgspec.Struct, frozen=True):
    """The look of each ink."""

    name: str
    about: str
    styles: Mapping[Ink, Style]


def names(folder: Path | None = None) -> list[str]:
    """The themes there are: those bundled, and the user's own in `folder`."""
    own = folder.glob("themes/*.toml") if folder is not None else ()
    return sorted({path.stem for path in (*BUNDLED.glob("*.toml"), *own) if NAME.fullmatch(path.stem)})


def load(name: str, folder: Path | None = None) -> Theme:
    """The theme of a name. folder: the user's, with `themes/` in it. Raises ThemeError."""
    own = folder / "themes" / f"{name}.toml" if folder is not None else None
    path = own if own is not None and own.exists() else BUNDLED / f"{name}.toml"
    if not NAME.fullmatch(name) or not path.exists():
        raise ThemeError(f"no theme {name!r}; there are {', '.join(names(folder))}")
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ThemeError(f"{path}: {error.strerror}") from None
    theme = parse(data, str(path), name)
    if name == DEFAULT:
        return theme
    return msgspec.structs.replace(theme, styles={**load(DEFAULT).styles, **theme.styles})


def parse(data: bytes, where: str, name: str) -> Theme:
    """A theme of the bytes of a file. Raises ThemeError."""
    if len(data) > MOST_BYTES:
        raise ThemeError(f"{where}: longer than {MOST_BYTES} bytes; a theme has a line for each ink")
    try:
        read = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ThemeError(f"{where}: no TOML: {error}") from None
    inks = read.get("ink", {})
    if not isinstance(inks, dict) or not inks.keys() <= INKS.keys():
        raise ThemeError(f"{where}: [ink] has the keys {', '.join(INKS)}; remove what else it has")
    about = read.get("about", "")
    return Theme(
        name=name,
        about=about if isinstance(about, str) else "",
        styles={INKS[key]: _style(value, f"{where}: {key}") for key, value in inks.items()},
    )


def _style(text: Any, where: str) -> Style:
    words = text.split() if isinstance(text, str) else None
    expected = f"{where}: expected words such as bold, dim, reverse, red, color(166), #d55e00; not {text!r}"
    if words is None or not all(WORD.fullmatch(word) and word not in NOT_STYLES for word in words):
        raise ThemeError(expected)
    try:
        return Style.parse(" ".join(words))
    except StyleSyntaxError:
        raise ThemeError(expected) from None


# ── which one ───────────────────────────────────────────────────────────────────────────────────────────────────────


def user_folder(environment: Mapping[str, str]) -> Path | None:
    """Where a user's settings of the console are: `$XDG_CONFIG_HOME/skerry`, else `~/.config/skerry`."""
    home, config = environment.get("HOME", ""), environment.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(config):
        return Path(config) / "skerry"
    return Path(home) / ".config" / "skerry" if os.path.isabs(home) else None


def chosen(option: str | None, environment: Mapping[str, str], for_terminal: str) -> Theme:
    """The theme by `--theme`, else $SKERRY_THEME, else the one kept, else the one for this kind of terminal.

    Raises ThemeError for one that was named and cannot be had; one that was kept and is gone is passed over.
    """
    folder = user_folder(environment)
    if named := option or environment.get("SKERRY_THEME"):
        return load(named, folder)
    try:
        return load(_kept(folder) or for_terminal, folder)
    except ThemeError:
        return load(for_terminal)


def _kept(folder: Path | None) -> str:
    try:
        return "" if folder is None else (folder / "theme").read_text(encoding="utf-8")[:100].strip()
    except (OSError, UnicodeDecodeError):
        return ""


def keep(theme: Theme, folder: Path | None) -> str:
    """Keep the choice for this user; why it could not be kept, else nothing."""
    if folder is None:
        return "not kept: no home directory"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "theme").write_text(f"{theme.name}\n", encoding="utf-8")
    except OSError as error:
        return f"not kept: {error.strerror}"
    return ""
