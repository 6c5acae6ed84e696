"""A gateway killed with -9 in the middle of commands, again and again: nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from small_gateway import ROOT

from storage import audit_reader
from storage.audit_format import open_read_only
from storage.verify import verify

KILLS = 200 if os.environ.get("SKERRY_SOAK") else 10

# One process imports everything, then forks a gateway, commands it over its socket, and kills it at a random moment.
COMMANDER = """
import asyncio, json, os, random, signal, sys, threading, time
from pathlib import Path
from small_gateway import _serve
from gateway.api.ask import Conversation
from gateway.errors import LinkLost, RequestFailed
directory, kills, chance = Path(sys.argv[1]), int(sys.argv[2]), random.Random(3)
for run in range(kills):
    socket = directory / f"{run}.sock"
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        asyncio.run(_serve(directory / "state", socket, None))
    while not socket.exists():
        time.sleep(0.01)
    link, acknowledged, deadline = None, [], time.monotonic() + 120
    while link is None:
        try:
            link = Conversation(socket, 10)
            now = link.request("status")["snapshot"]["utc_s"]
        except (LinkLost, RequestFailed):
            link = None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    # So many commands first: however slow the machine is, some were acknowledged. Then at any moment of the next ones.
    first, kill = chance.randrange(5), threading.Timer(chance.uniform(0.0, 0.3), os.kill, (child, signal.SIGKILL))
    standing, n = None, 0
    try:
        while True:
            if len(acknowledged) >= first and kill.ident is None:
                kill.start()
            n += 1
            params = {"kind": "setpoint", "value": 100.0 * n, "reason": f"run {run}", "seen_utc_s": now}
            try:
                answer = link.request("order.set", **params, replace=standing)
            except RequestFailed as error:  # the first ticks know no net load yet, or the last hold is still in force
                assert "islanding" in str(error), str(error)
                continue
            assert not answer["not_durable"], answer
            standing = answer["order"]["id"]
            acknowledged.append(standing)
            if n % 5 == 0:
                link.request("order.end", id=standing)
                standing = None
    except LinkLost:
        pass
    os.waitpid(child, 0)
    print(json.dumps(acknowledged), flush=True)
"""


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost() -> None:
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        place = Path(name)
        (place / "state").mkdir()
        path = os.pathsep.join((str(ROOT), str(Path(__file__).parents[1])))
        ran = subprocess.run(
            [sys.executable, "-c", COMMANDER, name, str(KILLS)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        acknowledged = [id_ for line in ran.stdout.splitlines() for id_ in json.loads(line)]
        assert len(ran.stdout.splitlines()) == KILLS
        assert len(acknowledged) > KILLS
        with closing(open_read_only(place / "state" / "audit.db")) as con:
            bodies = [json.loads(body) for (body,) in con.execute("SELECT body FROM entry ORDER BY seq")]
            assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        results = {body["order"] for body in bodies if body["kind"] == "result" and body.get("order")}
        assert not set(acknowledged) - results, "every acknowledged order has its result on disk, and so its intent"
        ended = {body["order"] for body in bodies if body["kind"] == "end"}
        left = {body["order"] for body in audit_reader.orders_in_force(place / "state")}
        assert results <= ended | left, "whatever was in force has an end on record, or the next gateway will write it"
        report = verify(place / "state")
        assert report.ok, report.findings
