"""`skerry link --stdio`: the gateway's link over a pair of pipes, so that SSH can carry it to another machine."""

from __future__ import annotations

import os
import socket
import threading

import click

from console.value_parsers import site_option
from gateway.api.ask import connected
from gateway.api.discovery import find_socket
from gateway.errors import LinkLost

CONNECT_S = 5.0
PIECE = 1 << 16  # bytes carried at a time


@click.command()
@click.option("--stdio", is_flag=True, help="Use standard input and output. Required.")
@site_option
def link(stdio: bool, site: str | None) -> None:
    """Connect standard input and output to the gateway's socket, until either side ends it.

    A console on another machine uses it as: ssh HOST skerry link --stdio. For the gateway the client is the user that
    runs this command, so the groups of that user on HOST decide what may be commanded.
    """
    if not stdio:
        raise click.UsageError("expected --stdio")
    path = find_socket(site)
    with connected(path, CONNECT_S) as sock:
        sock.settimeout(None)
        ended = threading.Event()
        threading.Thread(target=_to_gateway, args=(sock, ended), name="stdin", daemon=True).start()
        _from_gateway(sock)
        if not ended.is_set():
            raise LinkLost(f"{path}: the gateway closed the connection")


def _to_gateway(sock: socket.socket, ended: threading.Event) -> None:
    """Until the end of stdin, or until the gateway takes nothing more."""
    try:
        while piece := os.read(0, PIECE):
            sock.sendall(piece)
        ended.set()
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the gateway has hung up, which the other direction finds, too


def _from_gateway(sock: socket.socket) -> None:
    """Until the gateway hangs up. Raises BrokenPipeError when nobody reads stdout any more."""
    try:
        while piece := sock.recv(PIECE):
            while piece:
                piece = piece[os.write(1, piece) :]
    except ConnectionResetError:
        return
