"""500 clients that mean harm, until stdin closes: `python -m benchmarks.hostile_clients SOCKET`.

Most say nothing and stay; the others send what no client sends, ask without reading, or come and go.
"""

from __future__ import annotations

import contextlib
import random
import socket
import sys
import threading
import time
from collections.abc import Callable

from gateway.api.frames import encode
from gateway.api.protocol import Hello, Request

CLIENTS = 500
ACTIVE = 32  # of them
HISTORY = {"signals": ["grid.w"] * 50, "start_utc_s": 0.0, "end_utc_s": 2e9, "step_s": 1.0}


def framed(body: bytes) -> bytes:
    """Any bytes as a frame."""
    return len(body).to_bytes(4, "big") + body


def garbage(link: socket.socket, chance: random.Random) -> None:
    """Bytes that are no message."""
    link.sendall(encode(Hello(rate_hz=0.0)) + framed(chance.randbytes(chance.randrange(1, 5000))))


def huge(link: socket.socket, chance: random.Random) -> None:
    """A frame of 4 GiB is announced."""
    link.sendall(b"\xff\xff\xff\xff" + bytes(1000))


def half(link: socket.socket, chance: random.Random) -> None:
    """A frame that never ends."""
    link.sendall(framed(bytes(1000))[:14])
    time.sleep(6)


def deep(link: socket.socket, chance: random.Random) -> None:
    """A document nested half a million deep."""
    link.sendall(encode(Hello(rate_hz=0.0)) + framed(b"\x91" * 500_000 + b"\xc0"))


def long_words(link: socket.socket, chance: random.Random) -> None:
    """An order with a reason of nearly 1 MiB."""
    params = {"kind": "setpoint", "value_w": 1.0, "reason": "a" * 1_000_000}
    link.sendall(encode(Hello(rate_hz=0.0)) + encode(Request(1, "order.set", params)))


def questions(link: socket.socket, chance: random.Random) -> None:
    """500 questions for all of the history, at once."""
    link.sendall(encode(Hello(rate_hz=0.0)) + b"".join(encode(Request(n, "history", HISTORY)) for n in range(500)))
    time.sleep(1)


def commands(link: socket.socket, chance: random.Random) -> None:
    """300 orders, at once."""
    params = {"kind": "hold", "reason": "flood"}
    link.sendall(encode(Hello(rate_hz=0.0)) + b"".join(encode(Request(n, "order.set", params)) for n in range(300)))
    time.sleep(1)


def never_reads(link: socket.socket, chance: random.Random) -> None:
    """Wants 10 snapshots a second and 200 answers, and reads none."""
    link.sendall(encode(Hello(rate_hz=10.0)) + b"".join(encode(Request(n, "status", {})) for n in range(200)))
    time.sleep(8)


def comes_and_goes(link: socket.socket, chance: random.Random) -> None:
    """Connects and hangs up."""


ATTACKS: tuple[Callable[[socket.socket, random.Random], None], ...] = (
    *(garbage, huge, half, deep, long_words, questions, commands, never_reads, comes_and_goes),
)


def attack(path: str, act: Callable[[socket.socket, random.Random], None], seed: int) -> None:
    """One client's life, again and again."""
    chance = random.Random(seed)
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as link:
            link.settimeout(3)
            link.connect(path)
            act(link, chance)
        time.sleep(0.02)


def main() -> None:
    """Be a nuisance until stdin closes."""
    silent = []
    for _ in range(CLIENTS - ACTIVE):
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(3)
        with contextlib.suppress(OSError):
            link.connect(sys.argv[1])
        silent.append(link)
    for n in range(ACTIVE):
        arguments = (sys.argv[1], ATTACKS[n % len(ATTACKS)], n)
        threading.Thread(target=attack, args=arguments, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
