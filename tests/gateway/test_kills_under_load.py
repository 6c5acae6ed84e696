"""kill -9 of a gateway under commands, again and again: nothing acknowledged is lost, and the setpoint is safe at once.

`make kill-test N=1000` does it at length.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import warm_start
from killed_gateway import STATES
from small_gateway import LOAD_W, SITE
from waiting import LIMIT_S, until

from benchmarks.reliability import tell
from gateway.api.client import GatewayClient
from gateway.errors import LinkLost, RequestFailed
from storage import audit_reader
from storage.audit_format import FILE as AUDIT
from storage.schema import FILE as TELEMETRY
from storage.verify import verify

HERE = Path(__file__).parent
KILLS = int(os.environ.get("SKERRY_SOAK_KILLS", "2"))
START_LIMIT_S = 5 * LIMIT_S  # of a process that other tests starve; its own time is judged by FIRST_S
FIRST_S = 2.0  # of processor time, from the start of the process to its first setpoint
ROUNDED_S = 0.001  # times of rows
LONG_S = 1e7  # reservations that outlast the test
AT_ONCE = 3  # consoles that give commands
FIRST_MANY = 5  # so many commands are acknowledged before a kill: it has something to lose


@dataclass
class Promised:
    """What the gateways have acknowledged as on disk."""

    rows: dict[str, str] = field(default_factory=dict)  # what the text of a row of the audit must contain, and which
    standing: set[str] = field(default_factory=set)  # reservations
    withdrawn: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)  # a withdrawal was asked for, and the kill came before its answer
    acknowledging: list[tuple[float, float]] = field(default_factory=list)  # acknowledged alarms: asked and answered, s
    count: int = 0


@dataclass
class Start:
    """What a gateway said once it had ticked."""

    state: str
    said: dict[str, Any]
    wall_s: float


async def start(directory: Path, socket: Path, state: str, pcs_w: float) -> tuple[asyncio.subprocess.Process, Start]:
    command = [str(directory), str(socket), state, str(pcs_w)]
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE), str(HERE.parent)])
    began_s = time.monotonic()
    process = await warm_start.start(
        command,
        os.environ | {"PYTHONPATH": path},
        HERE / "killed_gateway.py",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_LIMIT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert line, f"the gateway did not start in state {state}"
    return process, Start(state, json.loads(line), time.monotonic() - began_s)


def check_setpoint(start: Start) -> None:
    """The value is one that the rules allow in this state, whatever order was in force when the last gateway died."""
    said, grid = start.said, SITE["grid"]
    assert said["orders"] == 0, "no order outlives its gateway"
    if start.state != "grid-tied":
        assert said["writes_w"] == [], f"{start.state}: a PCS was written to"
        assert said["island"] != "grid-tied"
        return
    assert said["island"] == "grid-tied"
    w = said["writes_w"][0] if said["writes_w"] else said["asked_w"]
    assert w is not None, "no setpoint within a second of ticks"
    assert -grid["export_limit_w"] <= LOAD_W - w <= grid["contracted_peak_w"], w
    assert said["cpu_s"] < FIRST_S


async def command(client: GatewayClient, promised: Promised, chance: random.Random, kill: int, first: bool) -> None:
    """Commands of one console until the gateway is gone; what was acknowledged is noted.

    Only the `first` one acknowledges alarms: its times do not overlap, so each has a row of its own.
    """
    kinds = ("order", "order", "reserve", "withdraw", "acknowledge" if first else "reserve", "drill")
    for n in range(1_000_000):
        what = chance.choice(kinds)
        mark = f"mark-{kill}-{id(client) % 10_000}-{n}"
        seen = {"seen_utc_s": time.time(), "reason": mark}
        with suppress(RequestFailed):
            if what == "order":
                params = {"kind": "setpoint", "value": chance.choice((5_000.0, -5_000.0)), "for_s": 600.0}
                answer = await client.request("order.set", **params, **seen, replace=True)
                promise(promised, answer, mark)
            elif what == "reserve":
                asked = {"power_w": 100.0, "for_s": LONG_S, "within_s": 60.0, "name": mark}
                answer = await client.request("reservation.ask", **asked, seen_utc_s=time.time())
                promised.standing.add(answer["reservation"]["id"])
                promise(promised, answer, mark)
            elif what == "withdraw" and promised.standing:
                await withdraw(client, promised, chance.choice(sorted(promised.standing)))
            elif what == "acknowledge":
                asked_s = time.time()
                answer = await client.request("alarm.acknowledge", id="*")
                promised.count += 1
                if not answer["not_durable"]:
                    promised.acknowledging.append((asked_s, time.time()))
            elif what == "drill":
                answer = await client.request("drill.start", minutes=5.0, **seen)
                if answer["ok"]:
                    promise(promised, answer, mark)


async def withdraw(client: GatewayClient, promised: Promised, id: str) -> None:
    promised.standing.discard(id)
    promised.doubtful.add(id)
    answer = await client.request("reservation.withdraw", id=id, reason="test")
    promised.count += 1
    promised.doubtful.discard(id)
    (promised.withdrawn if not answer["not_durable"] else promised.doubtful).add(id)


def promise(promised: Promised, answer: dict[str, Any], mark: str) -> None:
    promised.count += 1
    if not answer["not_durable"]:
        promised.rows[mark] = "intent"


async def one_kill(
    directory: Path, kill: int, promised: Promised, chance: random.Random, pcs_w: float, state: str
) -> Start:
    socket = directory / "s.sock"
    process, started = await start(directory, socket, state, pcs_w)
    try:
        check_setpoint(started)
        await under_commands(process, socket, started, kill, promised, chance)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return started


async def under_commands(
    process: asyncio.subprocess.Process,
    socket: Path,
    started: Start,
    kill: int,
    promised: Promised,
    chance: random.Random,
) -> None:
    """Check which reservations it knows, then give it commands until it is killed in their midst."""
    known = set(started.said["reserved"])
    assert promised.standing <= known, f"reservations lost: {promised.standing - known}"
    assert not promised.withdrawn & known, "a withdrawn reservation is back"
    promised.standing |= promised.doubtful & known
    promised.doubtful.clear()
    clients = [await GatewayClient.connect(socket, 10.0) for _ in range(AT_ONCE)]
    before = promised.count
    givers = [asyncio.create_task(command(c, promised, chance, kill, c is clients[0])) for c in clients]
    await until(lambda: promised.count >= before + FIRST_MANY)
    await asyncio.sleep(chance.uniform(0.0, 0.5))
    process.kill()
    await process.wait()
    ends = await asyncio.wait_for(asyncio.gather(*givers, return_exceptions=True), LIMIT_S)
    assert all(isinstance(end, LinkLost) for end in ends), ends
    for client in clients:
        await client.close()


def lost_rows(directory: Path, promised: Promised) -> list[str]:
    """What was acknowledged and the audit does not hold, by mark or time; the files themselves must be whole."""
    for name in (TELEMETRY, AUDIT):
        with closing(sqlite3.connect(directory / name)) as con:
            assert con.execute("PRAGMA integrity_check").fetchall() == [("ok",)], name
    assert list(directory.glob("*.corrupt*")) == []
    texts, acknowledged_s = "", list[float]()
    before = None
    while rows := audit_reader.rows(directory, 1000, before):
        texts += json.dumps(rows)
        acknowledged_s += [
            datetime.fromisoformat(row["t"]).timestamp()
            for row in rows
            if (row["kind"], row.get("command")) == ("result", "alarm.acknowledge")
        ]
        before = rows[0]["seq"]
    assert verify(directory).findings == ()
    unseen = [
        f"alarms acknowledged at {asked_s:.3f}"
        for asked_s, answered_s in promised.acknowledging
        if not any(asked_s - ROUNDED_S <= t <= answered_s + ROUNDED_S for t in acknowledged_s)
    ]
    return [mark for mark in promised.rows if mark not in texts] + unseen


async def test_nothing_acknowledged_is_lost_and_the_setpoint_is_safe_at_once() -> None:
    chance, promised, starts = random.Random(11), Promised(), list[Start]()
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        directory = Path(name)
        states = list(STATES)
        for kill in range(KILLS):
            state = states[kill % len(states)]
            pcs_w = chance.choice((0.0, 5_000.0, -5_000.0, 20_000.0))
            starts.append(await one_kill(directory, kill, promised, chance, pcs_w, state))
            if kill % 50 == 49:
                assert lost_rows(directory, promised) == []
        lost = lost_rows(directory, promised)
    assert promised.count > 0
    tell("kills", KILLS)
    tell("acknowledged commands", promised.count)
    tell("of them lost", len(lost))
    tell("s of processor time to the first setpoint at most", max(s.said["cpu_s"] for s in starts), "max")
    tell("s by the clock at most", max(s.wall_s for s in starts), "max")
    assert lost == []
