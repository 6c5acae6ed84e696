"""What else comes from this machine: announcements, control sockets, environment, lock, logs, kernel files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from fuzzing import Feed, Parser, Session, simple
from nvml_stub import StubGpu, StubNvml
from proven_pcs import PROOF
from record_parsers import rows_of, with_rows
from twin_sites import site_of

from console.cli import data_source, fault
from console.cli.failures import Failure
from console.launcher import GatewayChild
from dispatch.model.proofs import Proofs
from drivers.nodes.bmc_limits import BmcPower
from drivers.nodes.errors import CannotObey
from drivers.nodes.gpu_limits import NvmlPower
from drivers.nodes.gpu_slots import with_absent
from drivers.redfish.documents import MOST_W
from drivers.redfish.limits import CONTROL, PowerLimit
from drivers.twin import commands
from gateway import claims, energy_iq_service, found_mode_record, limit_records, previous_run, standalone_twin
from gateway.api import discovery, peer
from gateway.drill_scheduler import DrillScheduler
from gateway.errors import NoGateway
from gateway.instance_lock import AlreadyRunning, InstanceLock
from gateway.proofs_in_force import ProofsInForce
from gateway.site import loader, paths
from gateway.systemd import Systemd
from gateway.twin_process import TwinFailed, read_announcement, running_twin
from storage import proofs, schema
from storage.reader import NoRecords

ANNOUNCED = (
    b'{"t0_utc_s":1758006000.0,"m0_s":12.5,"speed":1.0,"pid":4711,"control":"/run/skerry/x.control","child":false,'
    b'"endpoints":{"grid":["127.0.0.1",15020,1]}}'
)
FOUND_MODES = b'{"pcs1":{"map":"victron-gx","identity":"HQ2133","registers":{"system 2902":[1]}}}'
GPUS = (
    b'{"count":2,"seen":{"GPU-a":{"index":0,"name":"H200"},"index 1 of 2":{"index":1,"name":""}},'
    b'"original_mw":{"GPU-a":500000},"caps_mw":[250000],"at_cap":["GPU-a"]}'
)
ORDERS = (
    b'{"fault": "outage", "for_s": 5}',
    b'{"fault": "exception", "device": "grid", "code": 6, "delay_s": 1}',
    b'{"clear": "all"}',
    b'{"load_step_w": 500}',
    b'{"local": "pcs1"}',
    b'{"remote": "pcc"}',
    b'{"state": {}}',
    b'{"sag": 0.5, "hz": 49}',
    b'{"grid_record": "", "nominal_v": 230}',
    b'{"jam": "pcc"}',
    b'{"free": "pcc"}',
)
VARIABLES = ("STATE_DIRECTORY", "XDG_STATE_HOME", "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "SKERRY_SITE", "HOME")


def in_file(name: str, use: Callable[[Path], object]) -> Session:
    """Let a file of this name be used."""

    def feed(data: bytes, directory: Path) -> None:
        (directory / name).write_bytes(data)
        use(directory / name)

    return simple(feed)


def own_announcement(file: Path) -> None:
    standalone_twin._remove(file)
    assert fault._answers(file) in (True, False)


def known_gpus(file: Path) -> None:
    """Open it as the next gateway does; look for the GPUs, lift their caps and save it."""
    known, note = limit_records.open_gpu_record(file.parent)
    assert bool(known.damage) == bool(note)
    gpus, _ = with_absent((), known.record.seen, known.expected(0))
    assert len(gpus) == known.expected(0)
    board = StubGpu("GPU-a", limit=250_000)
    with contextlib.suppress(CannotObey):
        NvmlPower("n", StubNvml(board), known).limit(None)
    assert 200_000 <= (board.limit or 0) <= 700_000
    file.with_name(f"{limit_records.FILE}.corrupt").unlink(missing_ok=True)


def bmc_limits(file: Path) -> None:
    """Open it as the next gateway does, give back what it tells, and keep another one."""
    kept, note = limit_records.open_bmc_limits(file.parent)
    assert bool(kept.damage) == bool(note)
    bmc = Held(900.0)
    for node in kept.own_limits():
        with contextlib.suppress(CannotObey):
            asyncio.run(BmcPower(node, bmc, kept).limit(None))
    with contextlib.suppress(CannotObey):
        asyncio.run(BmcPower("n", bmc, kept).limit(800.0))
    file.with_name(f"{limit_records.BMC_FILE}.corrupt").unlink(missing_ok=True)


class Held:
    """A BMC that takes every limit."""

    def __init__(self, w: float) -> None:
        self.limit = PowerLimit(CONTROL, w, "Automatic")

    async def look(self, _: str) -> PowerLimit:
        return self.limit

    async def set(self, _: str, w: float | None, mode: str) -> PowerLimit:
        assert w is None or 0 < w <= MOST_W
        self.limit = PowerLimit(CONTROL, w, mode or "Automatic")
        return self.limit


def kept_proofs(file: Path) -> None:
    """Read it as the next gateway does, use it and keep it again."""
    kept = proofs.read(file.parent)
    again = ProofsInForce(dict.fromkeys(kept.proofs, "sunspec"), lambda what: proofs.write(file.parent, what))
    again.adopt(kept)
    again.add(PROOF)
    again.save()
    assert proofs.read(file.parent).proofs["pcs1"] == PROOF


def found_modes(file: Path) -> None:
    """Open it as the next gateway does: what is damaged is set aside and said."""
    modes, note = found_mode_record.open_found_modes(file.parent)
    assert bool(modes.unknown) == bool(note)
    assert not (modes.unknown and modes.devices)
    file.with_name(f"{found_mode_record.FILE}.corrupt").unlink(missing_ok=True)


def twin_that_runs(data: bytes, directory: Path) -> None:
    site = directory / "site.toml"
    site.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNTIME_DIRECTORY", str(directory))
        paths.announce_path(site).write_bytes(data)
        running_twin(site)


@contextlib.contextmanager
def control_socket(directory: Path) -> Iterator[Feed]:
    """A twin that answers an order with the input, then hangs up."""
    del directory  # too long for a socket
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name, socket.socket(socket.AF_UNIX) as listener:
        path, reply, asked = Path(name) / "c.sock", [b""], threading.Semaphore(0)
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                asked.acquire()
                if reply[0] is None:
                    return
                link, _ = listener.accept()
                with link, contextlib.suppress(OSError):
                    link.recv(4096)
                    link.sendall(reply[0])

        def feed(data: bytes) -> None:
            reply[0] = data
            asked.release()
            fault._command(path, {"state": {}})

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield feed
        reply[0] = None  # type: ignore[call-overload]
        asked.release()
        thread.join()


@contextlib.contextmanager
def orders_to_a_twin(directory: Path) -> Iterator[Feed]:
    site = site_of()

    def feed(line: bytes) -> None:
        answer = msgspec.json.decode(commands.answer(site, line))
        assert answer["ok"] or answer["error"]
        site.advance(0.02)

    yield feed


@contextlib.contextmanager
def surroundings(directory: Path) -> Iterator[Feed]:
    """Every variable that says where things are holds the input; a site file and a record are looked for."""
    site = loader.load(Path(__file__).resolve().parents[2] / "sites" / "demo.toml")

    def feed(data: bytes) -> None:
        text = os.fsdecode(data.replace(b"\0", b""))
        with pytest.MonkeyPatch.context() as patch:
            for name in VARIABLES:
                patch.setenv(name, text)
            paths.state_dir(site)
            paths.state_root()
            list(paths.runtime_dirs())
            paths.socket_path(site.path)
            for look in (discovery.find_socket, lambda: data_source.locate(None)):
                with contextlib.suppress(NoGateway, loader.SiteFileError, OSError):
                    look()

    yield feed


def notify(data: bytes, directory: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTIFY_SOCKET", os.fsdecode(data.replace(b"\0", b"")))
        manager = Systemd()
        manager.send("READY=1")
        manager.close()


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[Feed]:
    """Another gateway holds the lock, and has written this into it."""
    held = InstanceLock(directory)

    def feed(data: bytes) -> None:
        held.path.write_bytes(data)
        InstanceLock(directory)

    yield feed
    held.release()


CLAIM = f"00000000ed0f5d5e: 00000002 00000000 00010000 0001 01 1143 @skerry-gateway/{claims._topic('site x')}/ab\n"


@contextlib.contextmanager
def sockets(directory: Path) -> Iterator[Feed]:
    """What /proc/net/unix says: any user chooses the names in it."""
    listed = directory / "unix"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "SOCKETS", listed)

        def feed(data: bytes) -> None:
            listed.write_bytes(data)
            for other in claims._others({"site x": "the site file x"}, set()):
                assert len(other.line) < 200

        yield feed


def login_uid(data: bytes, directory: Path) -> None:
    (directory / "7").mkdir(exist_ok=True)
    (directory / "7" / "loginuid").write_bytes(data)
    peer.name_peer(7, 0, 0, directory)


def last_words(data: bytes, directory: Path) -> None:
    child = GatewayChild(directory / "site.toml", directory, [])
    child.log.write_bytes(data)
    assert len(child.last_words()) <= len(data) + 200


def kept_schedule(place: Path) -> None:
    """The memory of the drill schedule, as a gateway that starts takes it over."""
    kept = previous_run.read_previous_run(place, 1_758_006_000.0).drill_schedule
    unused: Any = SimpleNamespace(event=lambda *said: None)
    DrillScheduler(
        site=unused, clock=unused, events=unused, loop=unused, planner=unused, drills=unused, starter=unused,
        save=lambda key, value: None, kept=kept,
    )  # fmt: skip


PARSERS = (
    Parser(
        "a twin's announcement",
        ("gateway.twin_process:read_announcement",),
        lambda: [ANNOUNCED],
        simple(lambda data, _: read_announcement(data, "twin")),
        (TwinFailed,),
        tree="json",
    ),
    Parser(
        "a twin's announcement in a file",
        ("gateway.twin_process:running_twin",),
        lambda: [ANNOUNCED],
        simple(twin_that_runs),
        tree="json",
    ),
    Parser(
        "an announcement that may be our own",
        ("gateway.standalone_twin:_remove", "console.cli.fault:_answers"),
        lambda: [ANNOUNCED],
        in_file("x.twin.json", own_announcement),
        tree="json",
    ),
    Parser(
        "where a twin's control socket is",
        ("console.cli.fault:_control",),
        lambda: [ANNOUNCED],
        in_file("x.twin.json", lambda file: fault._control(file, None)),
        (Failure,),
        tree="json",
    ),
    Parser(
        "what a twin answers",
        ("console.cli.fault:_command",),
        lambda: [b'{"ok": true, "mono_s": 1.5}\n'],
        control_socket,
        (Failure,),
        tree="json",
    ),
    Parser("orders to a twin", ("drivers.twin.commands:answer",), lambda: ORDERS, orders_to_a_twin, tree="json"),
    Parser(
        "the environment",
        (
            "gateway.site.paths:state_dir",
            "gateway.site.paths:state_root",
            "gateway.site.paths:runtime_dir",
            "gateway.site.paths:runtime_dirs",
            "gateway.site.paths:_session_dir",
            "gateway.site.paths:system_path",
            "gateway.api.discovery:find_socket",
            "console.cli.data_source:locate",
        ),
        lambda: [b"/var/lib/skerry:/srv/x", b"/run/user/1000", b"sites/demo.toml"],
        surroundings,
        (OSError,),
    ),
    Parser(
        "$NOTIFY_SOCKET",
        ("gateway.systemd:Systemd.__init__",),
        lambda: [b"/run/systemd/notify", b"@abstract"],
        simple(notify),
    ),
    Parser(
        "gateway.lock", ("gateway.instance_lock:InstanceLock.__init__",), lambda: [b"4711"], lock, (AlreadyRunning,)
    ),
    Parser(
        "what is known of this machine's GPUs",
        ("gateway.limit_records:_opened", "drivers.nodes.known_gpus:KnownGpus.__init__"),
        lambda: [GPUS],
        in_file(limit_records.FILE, known_gpus),
        tree="json",
    ),
    Parser(
        "what limits BMCs had",
        ("drivers.nodes.bmc_limits:KeptLimits.__init__",),
        lambda: [
            b'{"n": {"own_w": 1600.0, "mode": "Disabled", "set_w": [900.0, 800.0]}, "m": {"own_w": null, "mode": ""}}'
        ],
        in_file(limit_records.BMC_FILE, bmc_limits),
        tree="json",
    ),
    Parser(
        "what has been proven of devices",
        ("storage.proofs:read", "storage.proofs:parse"),
        lambda: [msgspec.json.encode(Proofs(proofs={"pcs1": PROOF}))],
        in_file(proofs.NAME, kept_proofs),
        (proofs.ProofsNotRead,),
        tree="json",
    ),
    Parser(
        "how mapped PCS were found",
        ("gateway.found_mode_record:open_found_modes", "drivers.maps.found_modes:FoundModes.__init__"),
        lambda: [FOUND_MODES],
        in_file(found_mode_record.FILE, found_modes),
        tree="json",
    ),
    Parser("/proc/net/unix", ("gateway.claims:_others",), lambda: [CLAIM.encode()], sockets),
    Parser("loginuid", ("gateway.api.peer:login_uid",), lambda: [b"1000", b"4294967295"], simple(login_uid)),
    Parser(
        "gateway.log",
        ("console.launcher:GatewayChild.last_words",),
        lambda: [b"skerry: sites/x.toml: no such file\n"],
        simple(last_words),
    ),
    Parser(
        "what is kept of the schedule of drills",
        ("gateway.drill_scheduler:DrillScheduler.adopt",),
        rows_of(schema.FILE, "state"),
        with_rows(schema.FILE, kept_schedule),
        tree="json",
        share=0.5,
    ),
    Parser(
        "what is kept of Energy IQ",
        ("gateway.energy_iq_history:kept_reports",),
        rows_of(schema.FILE, "state"),
        with_rows(schema.FILE, energy_iq_service.remembered),
        (NoRecords, msgspec.ValidationError),
        tree="json",
        share=0.5,
    ),
)
