"""Options and running of the commands that use a fleet's bus, `skerry uplink` and `skerry hub`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from console.cli.failures import Failure
from gateway import exit_codes
from gateway.log_output import begin_log

if TYPE_CHECKING:
    from fleet.bus import Broker

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path, dir_okay=False)


def bus_options(command: Command) -> Command:
    """--nats and the files of TLS."""
    return click.option(
        "--nats",
        "url",
        required=True,
        metavar="URL",
        help="The bus: tls://HOST:4222; nats://localhost:4222 without TLS on this machine only.",
    )(tls_options(command))


def tls_options(command: Command) -> Command:
    """The files of TLS."""
    options = (
        click.option("--ca", type=_FILE, metavar="PEM", help="Certificate of the CA that signed that of the bus."),
        click.option("--cert", type=_FILE, metavar="PEM", help="Certificate by which the bus knows this process."),
        click.option("--key", type=_FILE, metavar="PEM", help="Its private key."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def broker_of(url: str, ca: Path | None, certificate: Path | None, key: Path | None) -> Broker:
    """The bus of these options. Raises Failure for files that are none, and a URL without TLS."""
    from fleet.bus import Broker, BusFailed, tls_context

    broker = Broker(url=url, ca=ca, certificate=certificate, key=key)
    try:
        tls_context(broker)
    except BusFailed as error:
        raise Failure(str(error), exit_codes.USAGE) from None
    return broker


def until_ended(run: Callable[[], Coroutine[Any, Any, None]], greeting: str) -> int:
    """Run until SIGTERM or SIGINT; the log goes to stderr. Raises Failure without the extra [hub]."""
    from fleet.bus import NotInstalled

    output = begin_log(sys.stderr, greeting)
    try:
        asyncio.run(_run(run))
    except NotInstalled as error:
        raise Failure(str(error)) from None
    finally:
        output.close()
    return exit_codes.OK


async def _run(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.create_task(run())
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
