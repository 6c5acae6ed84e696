"""Converts errors to exit codes and lines on stderr. Imported only after an error."""

from __future__ import annotations

import sys

import click
import msgspec

from gateway import exit_codes
from gateway.errors import (
    LinkLost,
    NoAccess,
    NoGateway,
    NoSuchSite,
    RequestFailed,
    SeveralGateways,
    SocketInUse,
)


class Failure(Exception):
    """A command that did not succeed: the line for stderr and the exit code."""

    def __init__(self, line: str, code: int = exit_codes.FAILED) -> None:
        self.code = code
        super().__init__(line)


def explain(error: Exception) -> tuple[int | None, list[str]]:
    """Exit code and lines of an error; (None, []) for one that nobody foresaw."""
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, Failure):
        return error.code, [str(error)]
    if isinstance(error, RequestFailed):
        return exit_codes.REFUSED if error.code == "refused" else exit_codes.FAILED, [str(error)]
    if isinstance(error, (SeveralGateways, NoSuchSite)):
        return exit_codes.USAGE, [str(error)]
    if isinstance(error, NoAccess):
        return exit_codes.FAILED, [str(error)]
    if isinstance(error, (NoGateway, LinkLost)):
        return exit_codes.NO_GATEWAY, [str(error)]
    if isinstance(error, SocketInUse):
        return exit_codes.ALREADY_RUNNING, [str(error)]
    # A site file can only be at fault once the module that reads them has been imported.
    site = sys.modules.get("gateway.site.loader")
    if site is not None and isinstance(error, site.SiteFileError):
        return exit_codes.USAGE, str(error).splitlines()
    if isinstance(error, msgspec.ValidationError):
        return exit_codes.FAILED, [f"what the gateway answered, or the record holds, cannot be read: {error}"]
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return exit_codes.FAILED, [f"{where}{error.strerror or error}"]
    return None, []


def _usage(error: click.ClickException) -> tuple[int, list[str]]:
    context = getattr(error, "ctx", None)
    hint = f" (see: {context.command_path} --help)" if context is not None else ""
    return error.exit_code, [error.format_message() + hint]
