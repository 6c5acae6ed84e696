"""The process that reads nodes: it ends, hangs, sends garbage, and is started again; it never outlives its gateway."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from fake_bmc import PASSWORD, USER, FakeBmc, server
from http_server import HttpServer
from metrics_pages import node_exporter
from node_readers import Behaviour, starting
from test_slow_devices import Events
from waiting import LIMIT_S, until

from dispatch.alarms.facts import NodesUnread
from dispatch.model.equipment import Gpu, Node
from dispatch.model.readings import Quality, reading
from drivers.clock import SystemClock
from drivers.http.turns import Turns
from drivers.modbus.errors import DeviceError
from drivers.node_config import NodeDevice
from drivers.nodes.observed import ObservedConfig
from drivers.notices import Notice
from drivers.redfish.config import BmcDefaults
from drivers.redfish.link import BmcSession
from gateway.last_answers import SILENT, LastAnswers
from gateway.node_frames import MOST_BYTES, Batch, NodeRead, batch_in, config_in, frame, frames, received
from gateway.node_gpus import KeptGpus, SentGpus
from gateway.node_polling import MOST_ERROR, NODES_A_FRAME, NodePolling
from gateway.node_process import ReaderProcess, start_process
from gateway.node_reader import read_nodes
from gateway.node_reading import NodeReading, Start
from gateway.shown_nodes import NO_GPUS, ShownNodes

PAUSE_S = 60.0  # so that the test decides when it is over
STARTED_AGAIN = "it is started again after 60 s"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.shown_nodes.ROUND_S", 0.1)


class Site:
    """One node, `own`, and what a gateway knows of it."""

    def __init__(self, start: Start, url: str = "http://127.0.0.1:1/", names: tuple[str, ...] = ("own",)) -> None:
        self.events = Events()
        nodes = tuple(NodeDevice(id=id, source="exporters", exporters=(url,), period_s=0.2) for id in names)
        self.answers = [LastAnswers(n.id, "node", SystemClock(), 30.0, self._changed) for n in nodes]
        turns = Turns()
        self.shown = ShownNodes(self.answers, turns, lambda id, notice: self.events.texts.append(f"{id} {notice.text}"))
        self.reading = NodeReading(ObservedConfig(nodes), self.shown, turns, self.events, start)  # type: ignore[arg-type]

    def _changed(self, device: LastAnswers, online: bool) -> None:
        self.events.texts.append(f"{device.id} {'answers' if online else 'lost: ' + device.error}")

    def told(self, *words: str) -> bool:
        return any(all(word in text for word in words) for text in self.events.texts)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.reading.run()), asyncio.create_task(self.shown.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Jump:
    """Moves the event loop's clock forward, so that nobody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        real_s, self.by_s = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: real_s() + self.by_s)


def node(id: str = "own") -> Node:
    return Node(id, w=reading(700.0))


class Sending:
    """Takes what it is to read, sends this, and waits for the end."""

    def __init__(self, *messages: bytes) -> None:
        self._messages, self.asked = messages, 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert config_in(await received(reader, 1 << 20) or b"").nodes[0].id == "own"
        self.asked += 1
        for message in self._messages:
            writer.write(message)
        await reader.read()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await received(reader, 1 << 20)


GOOD = frame(Batch((NodeRead("own", 30.0, node(), at_s=1e12),)))  # not before now


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (hang_up, "ended"),
        (Sending(), "said nothing for 60 s and was ended"),
        (Sending(GOOD), "said nothing for 20 s and was ended"),
        (Sending(b"\xff\xff\xff\xff"), f"a frame of 4294967295 bytes, more than {MOST_BYTES}"),
        (Sending((3).to_bytes(4, "big") + b"\xc1\x00\x00"), "a frame that is none"),
        (Sending(frame(Batch()) + (2).to_bytes(4, "big") + b"\x91\x01"), "a frame that is none"),
        (Sending((9).to_bytes(4, "big") + b"abc", frame(Batch())), "a frame that is none"),
    ],
)
async def test_a_process_that_fails_is_told_once_and_started_again(
    behaviour: Behaviour, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.node_reading.FIRST_PAUSE_S", PAUSE_S)
    jump, site = Jump(monkeypatch), Site(starting(behaviour, Sending(GOOD)))
    async with site.running():
        if "20 s" in why:
            await until(lambda: "own" in site.shown.nodes)
            jump.by_s += 21.0
        elif "60 s" in why:
            assert isinstance(behaviour, Sending)
            await until(lambda: behaviour.asked)
            jump.by_s += 61.0
        await until(lambda: site.told("node reading", why, STARTED_AGAIN))
        assert sum(STARTED_AGAIN in text for text in site.events.texts if "node reading" in text) == 1
        await until(lambda: site.answers[0].failures)
        assert STARTED_AGAIN in site.answers[0].error
        if "20 s" not in why:
            assert site.shown.nodes == {}
            await until(lambda: site.shown.health and STARTED_AGAIN in site.shown.health[0].error)
        jump.by_s += PAUSE_S
        await until(lambda: site.told("compute nodes are read again"))
        await until(lambda: "own" in site.shown.nodes)
        await until(lambda: site.told("own answers"))


async def test_nodes_become_stale_with_the_reason_while_nobody_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async def good_then_gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await received(reader, 1 << 20)
        now_s = asyncio.get_running_loop().time()
        writer.write(frame(Batch((NodeRead("own", 30.0, node(), now_s, notices=(Notice("warning", "swapped"),)),))))

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    jump, site = Jump(monkeypatch), Site(starting(good_then_gone, never))
    async with site.running():
        await until(lambda: site.told("node reading", "ended"))
        await until(lambda: site.answers[0].failures)
        assert site.shown.nodes["own"].w.good == 700.0  # what was read is still used
        jump.by_s += 31.0
        await until(lambda: site.shown.nodes["own"].w.quality is Quality.STALE)
        await until(lambda: site.told("own lost: the process that reads compute nodes"))
        assert site.events.texts.count("own swapped") == 1


async def test_a_node_that_becomes_stale_is_not_told_with_what_went_wrong_long_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process was killed once, is read again, then hangs: until that is known nobody knows why."""
    monkeypatch.setattr("gateway.node_reading.FIRST_PAUSE_S", 0.01)
    jump = Jump(monkeypatch)

    async def good(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await received(reader, 1 << 20)
        writer.write(frame(Batch((NodeRead("own", 10.0, node(), asyncio.get_running_loop().time()),))))
        await reader.read()

    site = Site(starting(hang_up, good))
    async with site.running():
        await until(lambda: site.answers[0].failures)
        await until(lambda: site.told("own answers"))
        site.events.texts.clear()
        jump.by_s += 12.0
        await until(lambda: site.told("own lost: "))
        assert not site.told("own lost: ", "process")
        await until(lambda: site.shown.health and site.shown.health[0].error == SILENT)
        assert (site.shown.unread.ids, site.shown.unread.of) == ({"own"}, 1)  # one alarm says so, for all of them
        assert "has said nothing for 1" in site.shown.unread.why
        jump.by_s += 10.0
        await until(lambda: site.told("node reading", "said nothing for 20 s"))
        await until(lambda: "20 s and was ended" in site.shown.unread.why)
        site.shown.heard()
        assert site.shown.unread.ids == {"own"}  # until there is something to tell of it
        site.shown.take(NodeRead("own", 10.0, node(), asyncio.get_running_loop().time()))
        assert site.shown.unread == NodesUnread()


async def test_a_node_that_is_lost_for_a_reason_of_its_own_keeps_it_when_nobody_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jump, site = Jump(monkeypatch), Site(starting(Sending()), names=("own", "other", "silent"))
    shown, now_s = site.shown, asyncio.get_running_loop().time
    shown.heard()
    shown.take(NodeRead("own", 10.0, error="answers HTTP 404"))
    for id in ("other", "silent"):
        shown.take(NodeRead(id, 10.0, node(id), now_s()))
    jump.by_s += 11.0
    shown.heard()
    await shown._grow_older(site.answers)
    assert site.told("silent lost", SILENT)
    assert not shown.unread.ids  # the process lives: it has nothing of them
    shown.take(NodeRead("other", 10.0, node("other"), now_s()))
    await shown.not_read("it was ended")
    assert not shown.unread.ids
    jump.by_s += 11.0
    await shown._grow_older(site.answers)
    assert shown.unread == NodesUnread(frozenset({"other"}), 3, "it was ended")
    assert {one.id: one.error for one in site.answers}["own"] == "answers HTTP 404"
    shown.take(NodeRead("other", 10.0, error="answers HTTP 500"))
    assert not shown.unread.ids


async def test_gpus_are_sent_once_and_never_taken_for_others() -> None:
    sent, kept = SentGpus(), KeptGpus()
    own = Node("own", gpus=(Gpu(0, "H100", w=reading(400.0)),))
    first, again = sent.shortened(own), sent.shortened(msgspec.structs.replace(own, note="later"))
    assert (first[0], again[0].gpus) == (own, ())
    assert first[1] == again[1]
    assert kept.completed(*again) is None  # they have not come
    assert kept.completed(*first) == own
    assert kept.completed(*again) == msgspec.structs.replace(own, note="later")
    other = msgspec.structs.replace(own, gpus=(Gpu(0, "H100", w=reading(300.0)),))
    lost = sent.shortened(other)  # too long for a frame, as it were
    assert kept.completed(*sent.shortened(other)) is None
    assert kept.completed(*lost) == other
    assert kept.completed(*sent.shortened(other)) == other
    assert kept.completed(*SentGpus().shortened(own)) == own
    assert kept.completed(*sent.shortened(other)) is None  # those of another process
    assert kept.completed(*sent.shortened(Node("own"))) == Node("own")


async def test_a_node_whose_gpus_have_not_come_is_not_shown_with_those_of_before() -> None:
    site = Site(starting(Sending()))
    gpus = (Gpu(0, "H100", w=reading(400.0)),)
    now_s = asyncio.get_running_loop().time()
    site.shown.take(NodeRead("own", 30.0, Node("own", w=reading(400.0), gpus=gpus), now_s, gpus=7))
    site.shown.take(NodeRead("own", 30.0, Node("own", w=reading(500.0)), now_s, gpus=7))
    assert (site.shown.nodes["own"].gpus, site.shown.nodes["own"].w.value) == (gpus, 500.0)
    site.shown.take(NodeRead("own", 30.0, Node("own", w=reading(600.0)), now_s, gpus=8))
    assert site.shown.nodes["own"].w.value == 500.0
    assert site.answers[0].error == NO_GPUS


async def test_what_is_not_known_and_times_that_cannot_be_do_no_harm() -> None:
    site = Site(starting(Sending(frame(Batch((NodeRead("stranger", 30.0, node("stranger")),))), GOOD)))
    async with site.running():
        await until(lambda: "own" in site.shown.nodes)
        assert set(site.shown.nodes) == {"own"}
        site.shown.take(NodeRead("own", 30.0, node(), asyncio.get_running_loop().time() + 1e6))
        (own,) = site.answers[0].parts()
        assert isinstance(own, Node)
        assert own.w.age_s == pytest.approx(0.0, abs=30.0)


class Steady:
    """A driver that answers at once."""

    kind, period_s, stale_after_s = "node", 0.001, 30.0

    def __init__(self, id: str) -> None:
        self.id, self.turns, self.closed = id, Turns(), False

    async def read(self) -> Node:
        return node(self.id)

    async def close(self) -> None:
        self.closed = True


async def test_nodes_come_in_bounded_batches_each_once_a_round_and_a_sign_of_life_without_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.node_polling.ROUND_S", 0.2)
    drivers = [Steady(f"n{number}") for number in range(4 * NODES_A_FRAME + 4)]  # a slice is more than a frame
    polling, batches, loop = NodePolling(drivers), list[Batch](), asyncio.get_running_loop()
    enough = asyncio.Event()

    async def send(batch: Batch) -> None:
        batches.append(batch)
        if sum(len(b.read) for b in batches) >= 2 * len(drivers):
            enough.set()

    began_s = loop.time()
    work = asyncio.create_task(polling.run(send))
    await asyncio.wait_for(enough.wait(), LIMIT_S)
    took_s = loop.time() - began_s
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await polling.close()
    assert all(driver.closed for driver in drivers)
    assert max(len(batch.read) for batch in batches) == NODES_A_FRAME
    sent = [read.id for batch in batches for read in batch.read]
    assert set(sent) == {driver.id for driver in drivers}
    assert max(map(sent.count, set(sent))) <= took_s / 0.2 + 2
    quiet = NodePolling([])
    batches.clear()
    work = asyncio.create_task(quiet.run(send))
    await until(lambda: batches)
    work.cancel()
    assert batches[0] == Batch()


def gpu(number: int, size: int) -> Gpu:
    return Gpu(number, "H100", uuid="u" * size)


def test_a_node_that_tells_too_much_does_not_end_the_reading_of_the_others() -> None:
    large = Node("large", gpus=tuple(gpu(n, MOST_BYTES // 16) for n in range(8)))
    too_large = Node("too large", gpus=tuple(gpu(n, MOST_BYTES // 4) for n in range(8)))
    nodes = [node("small"), large, too_large, *(msgspec.structs.replace(large, id=f"l{n}") for n in range(5))]
    sent = list(frames(Batch(tuple(NodeRead(one.id, 30.0, one, 1.0) for one in nodes))))
    assert all(len(one) <= MOST_BYTES for one in sent)
    read = [read for one in sent for read in batch_in(one[4:]).read]
    assert [one.id for one in read] == [one.id for one in nodes]
    assert [one.id for one in read if one.node is None] == ["too large"]
    assert f"at most {MOST_BYTES} are taken" in read[2].error
    assert list(frames(Batch())) == [frame(Batch())]


async def test_an_exporter_that_sends_long_names_costs_its_own_node_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.node_polling.ROUND_S", 0.1)
    uuid, host = "u" * 20_000, "h" * 10_000
    long = "".join(
        f'DCGM_FI_DEV_POWER_USAGE{{gpu="{n}",UUID="{uuid}{n}",Hostname="{host}{n}"}} 100\n' for n in range(64)
    )
    async with HttpServer({"/long": long, "/good": node_exporter("good")}) as server:
        page = server.url
        nodes = [
            NodeDevice(id="long", source="exporters", exporters=(page("/long"),), hostname="long", period_s=0.2),
            NodeDevice(id="good", source="exporters", exporters=(page("/good"),), period_s=0.2),
        ]
        reader = await starting(read_nodes)()
        reader.writer.write(frame(ObservedConfig(tuple(nodes))))
        found: dict[str, NodeRead] = {}
        async with asyncio.timeout(LIMIT_S):
            while set(found) != {"long", "good"}:
                batch = batch_in(await received(reader.reader, MOST_BYTES) or b"")
                found |= {read.id: read for read in batch.read if read.node is not None or read.id == "long"}
        assert await asyncio.wait_for(reader.stop(), LIMIT_S) == "ended"
    assert len(frame(Batch((found["long"],)))) < 64_000


class Failing(Steady):
    """A driver whose server says what is no text."""

    async def read(self) -> Node:
        raise DeviceError("a node", "answers HTTP 500 \udcff" + "x" * 2000)


async def test_an_error_that_is_no_text_is_sent_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.node_polling.ROUND_S", 0.1)
    polling, sent = NodePolling([Failing("n1")]), list[NodeRead]()

    async def send(batch: Batch) -> None:
        sent.extend(read for one in frames(batch) for read in batch_in(one[4:]).read)

    work = asyncio.create_task(polling.run(send))
    await until(lambda: sent)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await polling.close()
    assert "answers HTTP 500 ?xx" in sent[0].error
    assert len(sent[0].error) <= MOST_ERROR


async def test_the_reader_ends_when_the_gateway_hangs_up_or_sends_nothing() -> None:
    for first in (b"", frame(ObservedConfig(()))):
        start = starting(read_nodes)
        reader = await start()
        reader.writer.write(first)
        if first:
            assert batch_in(await received(reader.reader, MOST_BYTES) or b"") == Batch()
        assert await asyncio.wait_for(reader.stop(), LIMIT_S) == "ended"


async def test_the_reader_logs_out_of_bmcs_before_it_ends(tmp_path: Path) -> None:
    password = tmp_path / "bmc-password"
    password.touch(0o600)
    password.write_text(PASSWORD)
    async with FakeBmc(server()) as bmc:
        node = NodeDevice(id="own", source="redfish", bmc=bmc.url)
        account = BmcDefaults(id="b", user=USER, password_file=password.name)
        reader = await starting(read_nodes)()
        reader.writer.write(frame(ObservedConfig((node,), bmcs=(account,), directory=str(tmp_path))))
        await until(lambda: bmc.tokens)
        assert await asyncio.wait_for(reader.stop(), LIMIT_S) == "ended"
        assert (bmc.logins, bmc.tokens) == (1, {})


async def test_sessions_of_bmcs_that_a_process_leaves_behind_are_given_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.node_reading.FIRST_PAUSE_S", 0.01)
    left, other = BmcSession("https://a", "/s/1", "secret"), BmcSession("https://b", "/s/2", "word")
    given = asyncio.Event()

    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await received(reader, 1 << 20)
        for sessions in ((left, other), (BmcSession("https://b"),)):  # the second one has ended
            writer.write(frame(Batch(sessions=sessions)))
        await writer.drain()

    async def next_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if config_in(await received(reader, 1 << 20) or b"").sessions == (left,):
            given.set()
        await reader.read()

    site = Site(starting(dies, next_one))
    async with site.running():
        await asyncio.wait_for(given.wait(), LIMIT_S)
    assert not site.told("secret")


class Ending:
    """In place of a process: it ends when it is told to."""

    def __init__(self) -> None:
        self.over, self.killed = asyncio.Event(), False

    @property
    def returncode(self) -> int | None:
        return 0 if self.over.is_set() else None

    async def wait(self) -> int:
        await self.over.wait()
        return 0

    def kill(self) -> None:
        self.killed = True


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_process_has_time_to_end_whoever_else_is_in_a_hurry(
    hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway's end cancels its tasks again and again."""
    monkeypatch.setattr("gateway.node_process.STOP_S", 0.05 if hangs else LIMIT_S)
    ours, theirs = socket.socketpair()
    with ours:
        process = Ending()
        reader = ReaderProcess(process, *await asyncio.open_unix_connection(sock=theirs))  # type: ignore[arg-type]
        stopping = asyncio.create_task(reader.stop())
        for _ in range(3):
            await asyncio.sleep(0)
            stopping.cancel()
        if not hangs:
            process.over.set()
        await asyncio.wait([stopping], timeout=LIMIT_S)
        assert stopping.cancelled()
        assert process.killed is hangs
        process.over.set()
        await reader.writer.wait_closed()


# ── a real process ──────────────────────────────────────────────────────────────────────────────────────────────────


def gone(pid: int) -> bool:
    """Whether a process has ended: it is not there, or only waits for its parent to ask."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


async def test_a_killed_process_and_one_that_hangs_are_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.node_reading.FIRST_PAUSE_S", 0.05)
    pids: list[int] = []

    async def start() -> ReaderProcess:
        process = await start_process()
        pids.append(process._process.pid)
        return process

    async with HttpServer({"/own": node_exporter("own")}) as server:
        site = Site(start, server.url("/own"))
        async with site.running():
            await until(lambda: "own" in site.shown.nodes)
            assert site.shown.nodes["own"].memory_pct.good is not None
            os.kill(pids[0], signal.SIGKILL)
            await until(lambda: site.told("node reading", "was ended by signal SIGKILL"))
            await until(lambda: site.told("compute nodes are read again"))
            os.kill(pids[1], signal.SIGSTOP)
            Jump(monkeypatch).by_s = 21.0
            await until(lambda: site.told("said nothing for 20 s and was ended"))
            await until(lambda: gone(pids[1]))
            await until(lambda: len(pids) == 3)
        await until(lambda: gone(pids[2]))


GATEWAY = """
import asyncio
from gateway.node_frames import frame
from gateway.node_process import start_process
from drivers.nodes.observed import ObservedConfig

async def main():
    process = await start_process()
    process.writer.write(frame(ObservedConfig(())))
    await process.reader.readexactly(4)
    print(process._process.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("hangs", [False, True])
async def test_no_process_outlives_a_killed_gateway(hangs: bool) -> None:
    program = sys.executable, "-c", GATEWAY
    gateway = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    assert gateway.stdout is not None
    pid = int(await gateway.stdout.readline())
    if hangs:
        os.kill(pid, signal.SIGSTOP)
    gateway.kill()
    await gateway.wait()
    await until(lambda: gone(pid))
