"""The short form of `make tick-lateness`: hostile clients do not stop the ticks, and phases are told apart."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from pathlib import Path

from small_gateway import running
from waiting import LIMIT_S, until

from benchmarks.hostile_clients import ATTACKS, commands, half, never_reads, questions
from benchmarks.tick_lateness import _late, _within


def attack_once(path: str) -> list[str]:
    """Each attack that does not wait, once; the names of those that were made."""
    made = []
    for act in ATTACKS:
        if act not in (half, questions, commands, never_reads):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as link:
                link.settimeout(LIMIT_S)
                link.connect(path)
                act(link, random.Random(1))
            made.append(act.__name__)
    return made


async def test_hostile_clients_do_not_stop_the_ticks(machine_root: Path) -> None:
    async with running(machine_root, machine_root / "s.sock") as there:
        loop = there.gateway.loop  # 10 Hz
        before = loop.punctuality.ticks
        sent = await asyncio.to_thread(attack_once, str(there.socket))
        assert sent == ["garbage", "huge", "deep", "long_words", "comes_and_goes"]
        await until(lambda: loop.punctuality.ticks >= before + 5)
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(there.socket))


def test_lateness_counts_in_the_phase_in_which_it_was(tmp_path: Path) -> None:
    (tmp_path / "late").write_text("1.0 0.5\n2.5 7.0\n9.0 3.0\n9.9")
    late = _late(tmp_path / "late")
    assert late == [(1.0, 0.5), (2.5, 7.0), (9.0, 3.0)]
    assert _within(late, [(0.0, 2.0), (8.0, 10.0)]) == [0.5, 3.0]
