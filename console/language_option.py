"""The option `--lang`: of `skerry` itself, and of each command that shows text, where it outranks the other."""

from __future__ import annotations

import os

import click

from console.display.language_choice import ENGLISH, Shown, locale_for
from console.terminal_output import output_shows


def choose_language(context: click.Context, _option: click.Parameter, asked: str | None) -> None:
    """Show everything in the language asked for. Raises click.BadParameter for one that is not there."""
    if asked is None and context.parent is not None:
        return  # `skerry` itself has chosen
    try:
        locale = locale_for(asked, os.environ)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    Shown.locale = locale if locale == ENGLISH or _can_show(locale) else ENGLISH


def _can_show(locale: str) -> bool:
    """Whether the terminal has the characters of a translation."""
    from console.display.language_files import general

    about = general(locale)
    return output_shows(about.needs) and not (about.wide and os.environ.get("TERM") == "linux")


language_option = click.option(
    "--lang",
    metavar="LANG",
    expose_value=False,
    is_eager=True,
    callback=choose_language,
    help="Language: en, de, zh_CN. Default: by SKERRY_LANG, LC_ALL, LC_MESSAGES or LANG.",
)
