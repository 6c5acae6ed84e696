"""A gateway starts whatever became of the files that it reads back: the damaged one is kept, and named in the log."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from small_gateway import running, small_site
from waiting import LIMIT_S, clock_at_work_s

from dispatch.control.controller import ControllerMemory
from drivers.nodes.known_gpus import GpuRecord
from gateway import bootstrap, link_opening
from gateway.bootstrap import assemble
from gateway.composition import Gateway
from gateway.controller_memory import STATE, MemoryNotRead, read_memory
from gateway.site.schema import Site
from gateway.state_directory import StateDirectory
from storage.identity import establish

# Everything in a state directory that a start reads back. gateway.lock is only locked and written.
FILES = ("audit.db", "audit.key", "audit.head", "identity.json", "incarnation.json", "gpus.json", "telemetry.db")
UP_S = 2.0


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory that a gateway has left, with every file."""
    place = tmp_path_factory.mktemp("recorded")

    async def run() -> None:
        async with running(place, Path(f"/tmp/sk-{os.getpid()}.sock")) as there:
            there.gateway.audit.write({"kind": "result", "order": "o1", "outcome": "in force"})
            there.gateway.recorder.save_state(STATE, there.gateway.controller.memory())

    asyncio.run(run())
    establish(place)
    (place / "gpus.json").write_bytes(msgspec.json.encode(GpuRecord(count=1, original_mw={"GPU-1": 300_000})))
    return place


@pytest.fixture
def runtime(machine_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(machine_root))
    return machine_root


def site_in(directory: Path, **sections: Any) -> Site:
    """The small site, without a twin."""
    return small_site(directory, node=[{"id": "here", "source": "psutil"}], **sections)


async def started(state_dir: Path, **sections: Any) -> tuple[Gateway, list[str], float]:
    """A gateway that was made, all that its log says, and how long it took; it is closed again."""
    site, began_s = site_in(state_dir, **sections), clock_at_work_s()
    state = StateDirectory(state_dir)
    await asyncio.to_thread(state.take)
    gateway = await assemble(site, state, None, lambda ticks: None)
    took_s = clock_at_work_s() - began_s
    gateway.save_memory()
    await asyncio.to_thread(gateway.audit.close)
    await asyncio.to_thread(gateway.recorder.close)
    await gateway.end_plans()
    await gateway.link.close()
    await gateway.devices.close()
    state.release()
    with closing(sqlite3.connect(state_dir / "telemetry.db")) as con:
        said = [text for (text,) in con.execute("SELECT text FROM event")]
    return gateway, [*said, *gateway.audit.found], took_s


def damaged(content: bytes, chance: random.Random) -> Iterator[bytes | None]:
    """Garbled in every way: flipped, cut off, overwritten, doubled, emptied, gone. Bits: `test_damage_matrix.py`."""
    for _ in range(2):
        at = chance.randrange(len(content))
        yield content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :]
    half = len(content) // 2
    yield content[:half]
    yield content[: half // 2] + chance.randbytes(half) + content[half // 2 + half :]
    yield content + content
    yield chance.randbytes(len(content))
    yield b"\xff\x00{" * 3
    yield b""
    yield None


@pytest.mark.parametrize("name", FILES)
async def test_a_damaged_file_stops_no_start(recorded: Path, tmp_path: Path, runtime: Path, name: str) -> None:
    content = (recorded / name).read_bytes()
    for number, bad in enumerate(damaged(content, random.Random(name))):
        place = tmp_path / str(number)
        shutil.copytree(recorded, place)
        if bad is None:
            (place / name).unlink()
        else:
            (place / name).write_bytes(bad)
        gateway, said, took_s = await started(place)
        assert took_s < UP_S
        assert gateway.audit.error == ""
        kept = [
            path.read_bytes() for path in place.glob(f"{name}.corrupt*") if not path.name.endswith(("-wal", "-shm"))
        ]
        assert kept in ([], [bad]), "what was there is kept as it was"
        for path in place.glob(f"{name}.corrupt*"):
            assert any(path.name in line for line in said) or path.name.endswith(("-wal", "-shm")), (path, said)


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith(".db")])
async def test_a_directory_in_place_of_a_file_stops_no_start(
    recorded: Path, tmp_path: Path, runtime: Path, name: str
) -> None:
    shutil.copytree(recorded, tmp_path / "state")
    (tmp_path / "state" / name).unlink()
    (tmp_path / "state" / name).mkdir()
    gateway, said, _ = await started(tmp_path / "state")
    assert any(name in line for line in [*said, gateway.audit.error]), said


STATES = ['{"a', "null", "[]", "7", '"x"', "{}", '{"kept": {"x": 1}}', "\x00", '{"v": 1e999}', "[" * 5000]


@pytest.mark.parametrize("key", ["controller", "drills", "iq", "dispatch"])
async def test_a_damaged_memory_stops_no_start(recorded: Path, tmp_path: Path, runtime: Path, key: str) -> None:
    """Found: one flipped bit in the reports of Energy IQ, and the gateway never started again."""
    for number, value in enumerate(STATES):
        place = tmp_path / str(number)
        shutil.copytree(recorded, place)
        with closing(sqlite3.connect(place / "telemetry.db", isolation_level=None)) as con:
            con.execute("INSERT OR REPLACE INTO state VALUES (?, ?, 1)", (key, value))
        drills = {"drills": {"schedule": "weekly, Tuesday 10:00"}} if key == "drills" else {}
        _, said, took_s = await started(place, **drills)
        assert took_s < UP_S
        if key in ("controller", "iq") and value == '{"a':
            assert any("cannot be read" in line for line in said), said


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_memory_that_is_not_read_at_the_start_is_not_overwritten(
    recorded: Path, tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    """Found: the first tick saved over it, and the month's peak was lost."""
    place, answers = tmp_path / "state", threading.Event()
    shutil.copytree(recorded, place)
    left = msgspec.json.encode(ControllerMemory(pulses_seen=7)).decode()
    with closing(sqlite3.connect(place / "telemetry.db", isolation_level=None)) as con:
        con.execute("INSERT OR REPLACE INTO state VALUES (?, ?, 1)", (STATE, left))

    def not_read(state_dir: Path) -> Any:
        if hangs:
            answers.wait(LIMIT_S)
        raise MemoryNotRead("it took longer than 2 s")

    with monkeypatch.context() as patch:
        patch.setattr(bootstrap, "START_READ_S", 0.5)
        patch.setattr(bootstrap, "read_memory", not_read)
        _, said, _ = await started(place)
    answers.set()
    assert any(line.endswith(bootstrap.NOT_READ) for line in said), said
    assert read_memory(place) == (ControllerMemory(pulses_seen=7), "")
    await started(place)
    memory, _ = read_memory(place)
    assert memory is not None
    assert memory.pulses_seen == 7


async def test_a_memory_of_figures_that_make_no_sense_is_taken_or_refused(
    recorded: Path, tmp_path: Path, runtime: Path
) -> None:
    """Whatever the digits say: it is read back, or it is said that it cannot be."""
    memory, _ = read_memory(recorded)
    assert memory is not None
    text, chance = msgspec.json.encode(memory).decode(), random.Random(3)
    digits = [at for at, character in enumerate(text) if character.isdigit()]
    for number in range(20):
        place = tmp_path / str(number)
        shutil.copytree(recorded, place)
        at = chance.choice(digits)
        with closing(sqlite3.connect(place / "telemetry.db", isolation_level=None)) as con:
            changed = text[:at] + chance.choice("0123456789e.-") + text[at + 1 :]
            con.execute("INSERT OR REPLACE INTO state VALUES (?, ?, 1)", (STATE, changed))
        gateway, _, _ = await started(place)
        assert isinstance(gateway.controller.memory(), ControllerMemory)


PRICES = [
    b"start_utc,price_eur_per_mwh\n2025-09-16T00:00:00Z,10\r20\n",
    b"",
    b"\xff\xfe,10\n",
    b"\0" * 100,
    b"\r",
    None,
]


@pytest.mark.parametrize("content", PRICES)
async def test_a_damaged_price_file_stops_no_start(tmp_path: Path, runtime: Path, content: bytes | None) -> None:
    """Found: a lone carriage return ended `serve` with an internal error."""
    state = tmp_path / "state"
    state.mkdir()
    if content is not None:
        (state / "p.csv").write_bytes(content)
    _, said, _ = await started(state, tariff={"file": "p.csv"})
    assert any(line.startswith("planning without prices: ") for line in said), said


async def test_a_price_file_that_cannot_be_opened_for_ever(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "PRICES_S", 0.1)
    state = tmp_path / "state"
    state.mkdir()
    os.mkfifo(state / "p.csv")
    _, said, took_s = await started(state, tariff={"file": "p.csv"})
    os.close(os.open(state / "p.csv", os.O_RDWR))
    assert took_s < UP_S
    assert "planning without prices: p.csv: not read within 0.1 s" in said


async def test_what_nobody_foresaw_stops_no_start(
    recorded: Path, tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(recorded, tmp_path / "state")

    def fails(*arguments: Any) -> Any:
        raise KeyError("a key that no version has written")

    monkeypatch.setattr("storage.audit_reader.orders_in_force", fails)
    monkeypatch.setattr(Gateway, "adopt", fails)
    _, said, _ = await started(tmp_path / "state")
    assert any("orders in force: KeyError" in line for line in said), said
    assert any("cannot be taken over" in line for line in said), said


async def test_a_link_that_cannot_be_opened_now_is_opened_later(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full /run: control runs, and consoles connect once there is room."""
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime / "gone"))
    monkeypatch.setattr(link_opening, "AGAIN_S", 0.01)
    state = StateDirectory(tmp_path / "state")
    state.take()
    gateway = await assemble(site_in(tmp_path / "state"), state, None, lambda ticks: None)
    (run,) = (run for name, run in gateway.background if name == "link")
    later = asyncio.create_task(run())
    await asyncio.sleep(0.05)
    assert not later.done()
    (runtime / "gone").mkdir()
    await later
    assert gateway.link.path.is_socket()
    await gateway.link.close()
    await asyncio.to_thread(gateway.audit.close)
    await asyncio.to_thread(gateway.recorder.close)
    await gateway.end_plans()
    await gateway.devices.close()
    state.release()
