"""`--example`: a command on the site, load and prices that come with Skerry, so that it can be tried without files."""

from __future__ import annotations

import shlex
from importlib.resources import files
from typing import Any

import click

SITE, LOAD, PRICES = "SITE", "LOAD", "PRICES"  # stand for the files in `words` of an example
FILES = {
    SITE: ("console", "demo.toml"),
    LOAD: ("drivers.twin", "data/helios.csv.gz"),
    PRICES: ("drivers.tariffs", "data/de-lu-2025.csv.gz"),
}


class ExampleCommand(click.Command):
    """A command with `--example`, which stands for `words`: SITE, and options where none of that name is given.

    The words that are meant are printed: whoever has files of their own changes these.
    """

    def __init__(self, *args: Any, words: tuple[str, ...] = (), **more: Any) -> None:
        super().__init__(*args, **more)
        self.words = words
        text = "Run on the demo's site and the load and prices that come with Skerry; other options may be given."
        self.params.append(click.Option(["--example"], is_flag=True, expose_value=False, help=text))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments, with those of the example."""
        if "--example" in args and not ctx.resilient_parsing and not {"--help", "-h"} & set(args):
            args = self._with_example(args)
            meant = shlex.join([*ctx.command_path.split(), *args])
            click.echo(f"skerry: note: --example stands for: {meant}", err=True)
        return super().parse_args(ctx, args)

    def _with_example(self, args: list[str]) -> list[str]:
        given = {arg.partition("=")[0] for arg in args}
        found = [_path(SITE)]
        for name, word in zip(self.words[::2], self.words[1::2], strict=True):
            if name not in given:
                found += [name, _path(word) if word in FILES else word]
        return [*found, *(arg for arg in args if arg != "--example")]


def _path(name: str) -> str:
    package, path = FILES[name]
    return str(files(package) / path)
