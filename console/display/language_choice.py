"""Which language is shown: the one asked for, or the one of the environment. Imports nothing, as every start asks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ENGLISH = "en"
# The first that is set counts: our own, then as in POSIX, Base Definitions 8.2.
VARIABLES = ("SKERRY_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
NONE = ("", "C", "POSIX")
GENERAL = "language.toml"


class Shown:
    """The locale of this process, one of `available`."""

    locale = ENGLISH


def folder() -> Path:
    """Where each translation has a directory."""
    return Path(__file__).parents[2] / "dispatch" / "wording"


def available() -> list[str]:
    """The locales that have words: English, which is code, and each directory of files."""
    return [ENGLISH, *sorted(path.parent.name for path in folder().glob(f"*/{GENERAL}"))]


def locale_for(asked: str | None, environment: Mapping[str, str]) -> str:
    """The locale asked for, else the environment's, else English.

    `de_AT.UTF-8` is `de`. A language alone is its only locale: `zh` is `zh_CN`, but `zh_TW` is not. Raises ValueError
    for one that was asked for and is not there.
    """
    wanted = asked if asked is not None else next((environment[v] for v in VARIABLES if environment.get(v)), "")
    plain = wanted.partition(".")[0].partition("@")[0].replace("-", "_")
    language = plain.partition("_")[0]
    if language == ENGLISH or (asked is None and plain in NONE):
        return ENGLISH
    known = available()
    for locale in known:
        if locale in (plain, language) or locale.partition("_")[0] == plain:
            return locale
    if asked is not None:
        raise ValueError(f"no language {asked}: expected one of {', '.join(known)}")
    return ENGLISH
