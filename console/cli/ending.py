"""The options of commands that end one thing by its id: an order, an event, a signal, a shelved alarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from console.value_parsers import json_option, site_option

Command = Callable[..., Any]


def ends_one(metavar: str = "ID") -> Callable[[Command], Command]:
    """Argument `id_`, shown as `metavar`, and the options `reason`, `site`, `as_json`."""

    def with_options(command: Command) -> Command:
        reason = click.option("--reason", default="", metavar="TEXT", help="Reason; recorded.")
        for option in (json_option, site_option, reason, click.argument("id_", metavar=metavar)):
            command = option(command)
        return command

    return with_options
