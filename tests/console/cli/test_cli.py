"""Every command as a process: what it prints, where, and the exit code. Errors are lines, never a traceback."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import warm_start
from file_modes import bound_by_modes
from waiting import LIMIT_S

from console.cli.orders import _shown
from dispatch.model.decision import Decision
from dispatch.model.orders import REASON_MIN, OrderKind, Preview
from dispatch.model.reasons import Reason, RuleId, plain
from drivers.clock import VirtualClock
from gateway import exit_codes
from gateway.api.peer import user_name
from gateway.api.protocol import Published
from gateway.api.server import LinkServer
from gateway.site import paths
from storage.audit import AuditLog
from storage.config import DISPATCH, StorageConfig
from storage.recorder import Recorder

if TYPE_CHECKING:
    from tests.console.cli.conftest import Machine

NOON_UTC_S = 1_758_016_800.0
HEAVY = ("numpy", "highspy", "pymodbus", "sqlite_utils", "textual", "rich", "asyncio", "sqlite3")


# ── the command itself ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_help_names_commands_and_exit_codes(machine: Machine) -> None:
    ran = await machine.skerry("--help")
    assert ran.code == exit_codes.OK
    for word in ("demo", "serve", "status", "why", "check", "twin", "fault", "export", "events", "ack", "hold"):
        assert f"\n  {word} " in ran.out
    assert "\n  open " not in ran.out  # hidden
    for code, meaning in exit_codes.MEANINGS.items():
        assert f"{code}  {meaning}" in ran.out


@pytest.mark.parametrize(
    "name",
    [
        *("demo", "open", "serve", "twin", "fault", "check", "status", "why", "events", "ack", "audit", "export"),
        *("setpoint", "import-target", "soc-target", "hold", "reserve-level", "cap", "disable", "enable", "orders"),
        *("end", "stop", "verify"),
    ],
)
async def test_every_command_has_help(machine: Machine, name: str) -> None:
    ran = await machine.skerry(name, "--help")
    assert (ran.code, ran.err) == (exit_codes.OK, "")
    assert f"skerry {name}" in ran.out


def test_version_is_quick(machine: Machine) -> None:
    """In processor time, the least of three runs, against that of the bare interpreter: 0.11 and 0.02 s when idle."""

    def least_s(*arguments: str) -> float:
        spans = []
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-P", *arguments], check=True, env=machine.environment, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spans.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(spans)

    bare_s, version_s = least_s("-c", ""), least_s("-m", "skerry", "--version")
    assert 0 < version_s < 15 * bare_s


async def test_nothing_heavy_is_loaded(machine: Machine, gateway: LinkServer) -> None:
    for arguments in (["--help"], ["--version"], ["status"], ["why"], ["events"], ["status", "--json"]):
        code = "import sys; from console.cli.main import run; code = run(sys.argv[1:])\n"
        code += f"print(code, [m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", code, *arguments, stdout=pipe, stderr=pipe, env=machine.environment
        )
        _, err = await process.communicate()
        assert err.decode().strip() == "0 []", arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Usage: skerry"),
        (["launch"], "No such command 'launch'"),
        (["why", "--when"], "No such option"),
        (["events", "--limit", "0"], "0 is not in the range"),
        (["demo", "--for", "5s"], "--for and --json belong to --headless"),
        (["demo", "--headless", "--for", "soon"], "'soon': expected a duration such as 60s, 15m or 2h"),
        (["demo", "--headless", "--for", "0s"], "expected more than 0 s"),
        (["demo", "--speed", "100"], "100.0 is not in the range"),
        (["status", "--site", "nowhere.toml"], "nowhere.toml: no such site file or socket"),
        (["check", "nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["serve", "nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["twin", "nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["fault"], "expected a fault: outage"),
        (["fault", "fire"], "'fire': expected one of outage"),
    ],
)
async def test_bad_usage(machine: Machine, arguments: list[str], said: str) -> None:
    ran = await machine.skerry(*arguments)
    assert (ran.code, ran.out) == (exit_codes.USAGE, "")
    assert said in ran.err
    assert "Traceback" not in ran.err


async def test_a_site_file_as_first_argument_opens_the_console(machine: Machine) -> None:
    """A broken site shows that the argument went to `open`: its errors, and no console."""
    site = machine.site(extra="[gird]\n")
    for name in (str(site), "site.toml"):
        ran = await machine.skerry(name)
        assert ran.code == exit_codes.USAGE
        assert "[gird]: expected a known section; did you mean grid?" in ran.err
    (machine.directory / "plain").write_text(site.read_text())
    assert "[gird]" in (await machine.skerry("plain")).err


async def test_broken_pipe_is_quiet(machine: Machine, gateway: LinkServer) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        ran = await machine.skerry("events", stdout=write)
    finally:
        os.close(write)
    assert ran.err == ""
    assert ran.code == exit_codes.FAILED


async def test_unforeseen_error_is_a_line_and_a_traceback_on_request(machine: Machine, gateway: LinkServer) -> None:
    code = "import console.cli.main as m; m.COMMANDS['status'] = ('console.cli.nothing:x', ''); m.main(['status'])"
    for debug, shown in (("", False), ("1", True)):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", code),
            stderr=asyncio.subprocess.PIPE,
            env={**machine.environment, "SKERRY_DEBUG": debug},
        )
        _, err = await process.communicate()
        assert process.returncode == exit_codes.FAILED
        assert ("Traceback" in err.decode()) is shown
        assert "No module named 'console.cli.nothing'" in err.decode()


# ── with a gateway ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_status(machine: Machine, gateway: LinkServer) -> None:
    ran = await machine.skerry("status")
    assert (ran.code, ran.err) == (exit_codes.OK, "")
    lines = ran.out.splitlines()
    assert lines[0] == "Test site · grid-tied, steered by the rules, no plan · 2025-09-16 12:00:00 CEST"
    shown = {line.split()[0]: line for line in lines[3:] if line}
    assert "21.4 kW import" in shown["Grid"]
    assert "contracted peak 32.0 kW · fuse 43.5 kW" in shown["Grid"]
    assert "2.10 of 8.00 kWh" in shown["Interval"]
    assert "12:00 left, room for 29.5 kW · mean below limit 32.0 kW · month's peak 31.0 kW" in shown["Interval"]
    assert "12.0 kW discharge" in shown["Battery"]
    assert "bat1 SoC 54.3 % · reserve 17.8 %" in shown["Battery"]
    assert "8.2 kW production STALE 3 s" in shown["PV"]
    assert "33.4 kW net load, PV not known" in shown["Load"]  # PV is stale: neither 0 nor its last value
    assert "18.2 ct/kWh" in shown["Tariff"]
    assert "15.1 from 13:00" in shown["Tariff"]
    assert shown["Why"].endswith("discharging 12.0 kW: the interval's energy would not last")
    assert shown["Orders"].endswith("o17  discharge 12.0 kW, until 12:14 CEST, 14 min left, alice: feeder test")
    assert "▲3 low  device-lost:pv1  pv1: no good answer, since 11:59 CEST, NOT ACKNOWLEDGED, first out" in ran.out
    assert "do: Check that it has power and its network light blinks." in ran.out
    assert "pv1 (pv) no good answer for 3 s: no answer from 127.0.0.1:5020" in shown["Lost"]
    assert max(map(len, lines)) <= 120


async def test_status_json_is_the_raw_state_with_words(machine: Machine, gateway: LinkServer) -> None:
    ran = await machine.skerry("status", "--json")
    document = json.loads(ran.out)
    assert document["welcome"]["site"] == "Test site"
    assert document["decision"]["chain"].pop()["high_w"] is None  # JSON has no infinity: no bound
    published = msgspec.convert(document, Published)
    assert published.snapshot.grid.w.good == 21_400.0
    assert published.snapshot.load_w is None
    (alarm,) = document["alarms"]
    assert alarm["detail"] == {"code": "alarm.silent", "figures": {"silent_s": 60.0}, "text": "no good answer for 60 s"}
    assert alarm["title"] == "pv1: no good answer"
    assert alarm["cause"].endswith("Now: no good answer for 60 s")


@pytest.mark.parametrize(
    ("at", "utc_s"),
    [
        ("11:30", NOON_UTC_S - 1800),  # Berlin is two hours ahead of UTC in September
        ("11:30:15", NOON_UTC_S - 1785),
        ("-10m", NOON_UTC_S - 600),
        ("2025-09-16T11:00", NOON_UTC_S - 3600),
        ("2025-09-16T09:00:00Z", NOON_UTC_S - 3600),
        ("2025-09-16 09:00:00+00:00", NOON_UTC_S - 3600),
    ],
)
async def test_why_at(machine: Machine, gateway: LinkServer, at: str, utc_s: float) -> None:
    ran = await machine.skerry("why", "--at", at)
    assert ran.code == exit_codes.OK
    assert machine.asked[-1] == ("why", {"at_utc_s": utc_s})


async def test_why_prints_the_chain(machine: Machine, gateway: LinkServer) -> None:
    ran = await machine.skerry("why")
    assert (ran.code, ran.err) == (exit_codes.OK, "")
    assert ran.out.splitlines() == [
        "2025-09-16 12:00:00 CEST · grid-tied, steered by the rules, no plan",
        "Asked     12.0 kW discharge",
        "Because   discharging 12.0 kW: the interval's energy would not last",
        "Net load  33.4 kW (load less PV), import wanted 21.4 kW",
        "",
        "set rule                  min kW  max kW  prefers  reason",
        "       1 device limits     -60.0    60.0        —  rating 60.0 kW",
        "●      6 interval budget    12.0       ∞     12.0  5.9 kWh left for 12 min",
    ]
    asjson = await machine.skerry("why", "--json")
    document = json.loads(asjson.out)
    rated = {"code": "limit.rating", "figures": {"limit_w": 60_000.0}, "text": "rating 60.0 kW"}
    assert document["chain"][0]["reason"] == rated
    assert document["chain"].pop()["high_w"] is None  # JSON has no infinity: no bound
    decision = msgspec.convert(document, Decision)
    assert decision.binding is RuleId.INTERVAL_BUDGET
    assert decision.reason == plain("discharging 12.0 kW: the interval's energy would not last")


async def test_why_is_said_in_the_language_that_is_asked_for(machine: Machine, gateway: LinkServer) -> None:
    german = await machine.skerry("why", "--lang", "de")
    assert "Nennleistung 60,0 kW" in german.out
    assert "Intervallbudget" in german.out
    asjson = await machine.skerry("--lang=de", "why", "--json")
    assert json.loads(asjson.out)["chain"][0]["reason"]["text"] == "rating 60.0 kW"
    chinese = (await machine.skerry("--lang", "zh", "why")).out.splitlines()
    assert chinese[-2:] == [
        "        1 设备限值    -60.0     60.0     —  额定值 60.0 kW",
        "●       6 周期电量     12.0        ∞  12.0  5.9 kWh left for 12 min",
    ], "names as wide as they are shown"
    machine.environment["SKERRY_LANG"] = "de"
    assert "Intervallbudget" in (await machine.skerry("why")).out
    assert "interval budget" in (await machine.skerry("--lang", "de", "why", "--lang", "en")).out, "the last one counts"
    refused = await machine.skerry("why", "--lang", "fr")
    assert refused.code == exit_codes.USAGE
    assert "no language fr: expected one of en, de" in refused.err


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"LC_ALL": "de_AT.UTF-8"}, "Gerätegrenzen"),
        ({"LC_ALL": "de_DE.UTF-8", "PYTHONIOENCODING": "latin-1"}, "Gerätegrenzen"),
        ({"LC_ALL": "de_DE.UTF-8", "PYTHONIOENCODING": "ascii"}, "device limits"),
        ({"LC_ALL": "zh_CN.UTF-8", "TERM": "xterm"}, "设备限值"),
        ({"LC_ALL": "zh_CN.UTF-8", "TERM": "linux"}, "device limits"),
        ({"LC_ALL": "zh_CN.UTF-8", "PYTHONIOENCODING": "latin-1"}, "device limits"),
    ],
)
async def test_a_language_that_the_terminal_cannot_show_is_not_chosen(
    machine: Machine, gateway: LinkServer, environment: dict[str, str], said: str
) -> None:
    machine.environment.update(environment)
    assert f" {said} " in (await machine.skerry("why")).out


async def test_why_refused_and_misspelt(machine: Machine, gateway: LinkServer) -> None:
    ran = await machine.skerry("why", "--at", "2020-01-01")
    assert (ran.code, ran.err) == (exit_codes.REFUSED, "skerry: no decision is on record at or before that time\n")
    ran = await machine.skerry("why", "--at", "noonish")
    assert ran.code == exit_codes.USAGE
    assert "'noonish': expected a time such as 12:00, 2025-09-16T11:00, or -10m" in ran.err


async def test_events(machine: Machine, gateway: LinkServer) -> None:
    ran = await machine.skerry("events", "--limit", "7")
    assert machine.asked[-1] == ("events", {"limit": 7})
    assert ran.out.splitlines() == [
        "2025-09-16 11:59:00 CEST  info     gateway  start             gateway started  [alice]",
        "2025-09-16 12:00:00 CEST  warning  device   pv1               lost: no answer",
    ]
    assert [e["subject"] for e in json.loads((await machine.skerry("events", "--json")).out)] == ["start", "pv1"]


async def test_events_of_a_time_and_a_kind(machine: Machine, gateway: LinkServer) -> None:
    ran = await machine.skerry("events", "--since", "-30s", "--kind", "device", "--kind", "plan")
    assert machine.asked[-1] == ("events", {"limit": 500, "since_utc_s": NOON_UTC_S - 30, "kinds": ["device", "plan"]})
    assert [line.split()[4] for line in ran.out.splitlines()] == ["device"]  # a gateway that sends others, too
    ran = await machine.skerry("events", "--follow", "--until", "12:00")
    assert (ran.code, "--follow goes on until Ctrl-C" in ran.err) == (exit_codes.USAGE, True)


async def test_events_are_followed_until_ctrl_c(machine: Machine, gateway: LinkServer) -> None:
    process = await warm_start.start(
        ("events", "--follow", "--json"), machine.environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines = [json.loads(await asyncio.wait_for(process.stdout.readline(), LIMIT_S)) for _ in range(2)]
    assert [line["subject"] for line in lines] == ["start", "pv1"]
    async with asyncio.timeout(LIMIT_S):
        while True:  # until it has asked again
            if [method for method, _ in machine.asked].count("events") > 2:
                break
            await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    rest, _ = await process.communicate()
    assert (rest, process.returncode) == (b"", 130)  # nothing is told twice


async def test_ack(machine: Machine, gateway: LinkServer) -> None:
    assert (await machine.skerry("ack", "device-lost:pv1")).out == "1 alarm acknowledged\n"
    assert machine.asked[-1] == ("alarm.acknowledge", {"id": "device-lost:pv1"})
    await machine.skerry("ack", "all")
    assert machine.asked[-1] == ("alarm.acknowledge", {"id": "*"})
    machine.disk_full = True
    ran = await machine.skerry("ack", "all")
    assert (ran.code, ran.out) == (exit_codes.OK, "1 alarm acknowledged; NOT on record\n")
    assert ran.err == "skerry: the acknowledgement holds, but it is not on record: disk full\n"
    ran = await machine.skerry("ack", "typo")
    assert (ran.code, ran.err) == (exit_codes.REFUSED, "skerry: no alarm 'typo' is listed\n")


async def test_a_gateway_that_leaves_halfway(machine: Machine) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    site = machine.site()
    server = await asyncio.start_unix_server(hang_up, str(paths.socket_path(site)))
    ran = await machine.skerry("ack", "all", "--site", str(site))
    server.close()
    assert ran.code == exit_codes.NO_GATEWAY
    assert "the gateway closed the connection" in ran.err


# ── without a gateway ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_nothing_at_all(machine: Machine) -> None:
    site = machine.site()
    for command in (["status"], ["why"], ["events"], ["ack", "all"]):
        ran = await machine.skerry(*command, "--site", str(site))
        assert (ran.code, ran.out) == (exit_codes.NO_GATEWAY, "")
        assert f"{site}: no gateway is running for this site; start one with: skerry serve SITE.toml" in ran.err
    ran = await machine.skerry("fault", "hung", "--device", "grid", "--site", str(site))
    assert ran.code == exit_codes.NO_GATEWAY
    assert "no twin has announced itself here" in ran.err


@pytest.fixture
def recorded(machine: Machine) -> Path:
    """A record of one decision and two events, as a gateway leaves it."""
    site = machine.site()
    write_record(machine.state / "skerry" / paths.slug(site))
    return site


def write_record(directory: Path) -> None:
    from tests.console.cli.conftest import DECISION, EVENTS, PUBLISHED

    recorder = Recorder(directory, StorageConfig(), "boot")
    recorder.put(PUBLISHED.snapshot, DECISION)
    written = [recorder.event(event) for event in reversed(EVENTS)]
    assert recorder.close()
    assert all(future.done() for future in written)


async def test_record_is_read_when_no_gateway_runs(machine: Machine, recorded: Path) -> None:
    named = ["--site", str(recorded)]
    status = await machine.skerry("status", *named)
    assert status.code == exit_codes.NO_GATEWAY
    assert "No gateway is running; last record of 2025-09-16 12:00:00 CEST" in status.out
    assert "discharging 12.0 kW" in status.out
    document = json.loads((await machine.skerry("status", "--json", *named)).out)
    assert document["gateway"] is None
    assert document["decision"]["binding"] == "interval budget"
    why = await machine.skerry("why", "--at", "12:01", *named)
    assert why.code == exit_codes.OK
    assert "interval budget" in why.out
    assert "no gateway is running; read from" in why.err
    assert (await machine.skerry("why", "--at", "09:00", *named)).code == exit_codes.FAILED
    then = await machine.skerry("status", "--at", "12:00", *named)
    assert (then.code, then.out.splitlines()[0]) == (exit_codes.OK, "2025-09-16 12:00:00 CEST · samples")
    assert "21.4 kW import" in then.out
    events = await machine.skerry("events", *named)
    assert events.out.startswith("2025-09-16 11:59:00 CEST  info     gateway  start             gateway started")


async def test_times_are_the_sites_and_labelled_with_and_without_a_name(machine: Machine, recorded: Path) -> None:
    """Found: `audit` and `events` changed their zone with --site, and named none. The record keeps what its site is."""
    directory = machine.state / "skerry" / paths.slug(recorded)
    audit = AuditLog(directory, "boot", VirtualClock(NOON_UTC_S), lambda line: None)
    audit.write({"kind": "end", "text": "x"}).result(10)
    audit.close()
    machine.environment["TZ"] = "America/New_York"  # of whoever asks; no matter

    async def times(*options: str) -> list[str]:
        ran = [await machine.skerry(command, *options) for command in ("audit", "events", "status")]
        return [one.out for one in ran]

    assert all("12:00:00 UTC" not in out for out in await times("--site", str(recorded)))
    silent = await times()
    assert all("10:00:00 UTC" in out for out in silent), "an old record does not say where it is"
    recorder = Recorder(directory, StorageConfig(), "boot")
    recorder.save_state(DISPATCH, {"timezone": "Europe/Berlin"})
    assert recorder.close()
    named = await times("--site", str(recorded))
    assert named == await times()
    assert all("12:00:00 CEST" in out for out in named)


async def test_export(machine: Machine, recorded: Path) -> None:
    ran = await machine.skerry("export", "out", "--site", str(recorded))
    assert ran.code == exit_codes.OK, ran.err
    assert {p.name for p in (machine.directory / "out").iterdir()} >= {"export.db", "events.csv", "manifest.json"}
    assert "events.csv" in ran.out
    said = ran.err.splitlines()
    assert said[1].startswith("skerry: about "), said
    assert "MB are free" in said[1]
    assert "%" not in ran.err  # progress is for terminals
    again = await machine.skerry("export", "out", "--site", str(recorded))
    assert (again.code, again.err.splitlines()[-1]) == (
        exit_codes.FAILED,
        "skerry: out is not empty: name a new directory",
    )


async def test_export_takes_the_record_of_the_gateway_that_runs(machine: Machine, gateway: LinkServer) -> None:
    """Found: without --site, export took a newer record of another site, though this one's gateway ran."""
    ran = await machine.skerry("export", "out")
    assert ran.code == exit_codes.FAILED, "3 would say that no gateway runs"
    assert "the gateway runs, but its record cannot be read: no records at" in ran.err
    write_record(machine.state / "skerry" / "running")
    write_record(machine.state / "skerry" / "newer")
    named = machine.environment.pop("SKERRY_SITE")
    for n, options in enumerate(([], ["--site", named], ["--site", str(paths.socket_path(Path(named)))])):
        ran = await machine.skerry("export", f"out{n}", *options)
        assert ran.code == exit_codes.OK, ran.err
        assert f"exporting {machine.state / 'skerry' / 'running'}" in ran.err
    await gateway.close()
    ran = await machine.skerry("export", "out")
    newer = machine.state / "skerry" / "newer"
    assert f"exporting {newer}, the record written last: no gateway is running" in ran.err
    socket = paths.socket_path(Path(named))
    ran = await machine.skerry("export", "out", "--site", str(socket))
    assert f"exporting {newer}, the record written last: no gateway is running" in ran.err, "another site's, and said"
    write_record(machine.state / "skerry" / socket.stem)
    write_record(machine.state / "skerry" / "newest")
    ran = await machine.skerry("export", "out-own", "--site", str(socket))
    assert f"exporting {machine.state / 'skerry' / socket.stem}" in ran.err


async def test_a_gateway_that_may_not_be_reached_is_not_called_absent(machine: Machine, gateway: LinkServer) -> None:
    """Found: "no gateway is running on this machine, and no record of one was found", to a user not in the group."""
    named = machine.environment.pop("SKERRY_SITE")
    socket = paths.socket_path(Path(named))
    socket.chmod(0)
    me = user_name(os.geteuid()).removeprefix("uid ")  # a container may run as a user without a name
    for command in (["status"], ["audit"], ["export", "out"], ["ack", "all"], ["status", "--site", named]):
        ran = await machine.skerry(*command, preexec_fn=bound_by_modes)
        assert (ran.code, ran.out) == (exit_codes.FAILED, "")
        assert f"{socket}: a gateway's socket is there, but you, {me}, have no permission: {socket} is open" in ran.err
        assert ("or be put into that group (usermod -aG " in ran.err) == (socket.stat().st_gid != 0), "never root's"
    socket.parent.chmod(0)
    ran = await machine.skerry("status", preexec_fn=bound_by_modes)
    assert f"{socket.parent}: gateways may listen here, but you, {me}, have no permission" in ran.err
    socket.parent.chmod(0o700)


async def test_a_record_and_a_twin_that_may_not_be_reached(machine: Machine, recorded: Path) -> None:
    directory = machine.state / "skerry" / paths.slug(recorded)
    directory.chmod(0)
    for options in ([], ["--site", str(recorded)]):
        ran = await machine.skerry("export", "out", *options, preexec_fn=bound_by_modes)
        assert (ran.code, ran.out) == (exit_codes.FAILED, "")
        assert f"{directory} is open to user " in ran.err
        assert "; use: sudo -u " in ran.err
    directory.chmod(0o700)
    announce = paths.announce_path(recorded)
    announce.write_text("{}")
    announce.chmod(0)
    for options in ([], ["--site", str(recorded)]):
        ran = await machine.skerry("fault", "outage", *options, preexec_fn=bound_by_modes)
        assert ran.code == exit_codes.FAILED
        assert f"{announce}: a twin has announced itself here, but you, " in ran.err
        assert "; only who runs a twin makes it fail; use: sudo -u " in ran.err


# ── check ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_check_prints_every_error(machine: Machine) -> None:
    site = machine.directory / "bad.toml"
    site.write_text(
        '[site]\nname = "x"\n[grid]\nfuse_a = -1\ncontracted_peak_w = "9 kWh"\nfuze = 3\n'
        '[[meter]]\nid = "grid"\nurl = "serial"\n'
    )
    ran = await machine.skerry("check", str(site))
    assert (ran.code, ran.out) == (exit_codes.USAGE, "")
    for said in (
        f"{site}:4: grid.fuse_a = -1: expected",
        f"{site}:5: grid.contracted_peak_w = '9 kWh': expected a number, or a number with one of the units W, kW, MW",
        f"{site}:6: grid.fuze = 3: expected a known key; did you mean fuse_a?",
        f"{site}:9: meter[0].url = 'serial': expected",
        f"skerry: 4 errors in {site}",
    ):
        assert said in ran.err
    document = json.loads((await machine.skerry("check", str(site), "--json")).out)
    assert document["ok"] is False
    assert {e["key"] for e in document["errors"]} == {
        "grid.fuse_a",
        "grid.contracted_peak_w",
        "grid.fuze",
        "meter[0].url",
    }


async def test_check_of_a_good_site(machine: Machine) -> None:
    ran = await machine.skerry("check", str(machine.site()))
    assert (ran.code, ran.err) == (exit_codes.OK, "")
    assert "fuse 63 A × 230 V × 3 = 43.5 kW, contracted peak 32.0 kW = 8.00 kWh in 15 min" in ran.out
    assert "meter grid" in ran.out
    group = '[[nodes]]\nnames = ["gpu[01-64]"]\nsource = "exporters"\nexporters = ["http://{name}:9100/metrics"]\n'
    many = (await machine.skerry("check", str(machine.site(extra=group)))).out
    assert "gpu01, gpu02" in many
    assert "(64 in all)" in many
    demo = json.loads((await machine.skerry("check", str(ROOT / "sites" / "demo.toml"), "--json")).out)
    assert demo["ok"] is True
    assert demo["fuse_w"] == pytest.approx(110_400)
    assert demo["demand"] == "10 EUR/kW on the month's highest 15-minute mean"
    assert demo["reserve_soc_pct"] == pytest.approx(5 + 100 * 12 / 0.94 / 100)


async def test_check_warns_of_caps_that_could_never_be(machine: Machine) -> None:
    ran = await machine.skerry("check", str(machine.site(extra="[caps]\nmax_share = 0.3\n")))
    assert ran.code == exit_codes.OK
    assert "caps: no [[node]] that is not critical can be capped to a cap_w: the gateway caps nothing" in ran.err
    assert "caps: the tariff has no demand charge" in ran.err


async def test_check_warns_of_what_keeps_the_grid_meter_waiting(machine: Machine) -> None:
    pv = '[[pv]]\nid = "{}"\nurl = "tcp://127.0.0.1:{}"\nunit = {}\npeak_w = 5000\n{}\n'
    devices = (("slow", 1502, 2, "deadline_s = 0.6"), ("quick", 1502, 3, ""), ("away", 1503, 1, "deadline_s = 0.6"))
    ran = await machine.skerry("check", str(machine.site(extra="".join(pv.format(*device) for device in devices))))
    assert ran.code == exit_codes.OK
    assert ran.err.splitlines() == [
        "skerry: warning: slow: may take 0.6 s to answer on the connection of the grid meter, which waits as long; "
        "give one of them a url of its own"
    ]


async def test_check_warns_of_a_bill_of_a_month_that_is_not_over(machine: Machine) -> None:
    site = machine.site()
    bills = 'fuse_a = 63\nbilled_peaks_kw = { "2999-01" = 8.0, "2025-01" = 8.1 }'
    site.write_text(site.read_text().replace("fuse_a = 63", bills))
    ran = await machine.skerry("check", str(site))
    assert ran.code == exit_codes.OK
    assert ran.err.splitlines() == ["skerry: warning: billed_peaks_kw: 2999-01 is not over: not counted"]


async def test_check_warns_of_certificates_that_cannot_be_used(machine: Machine) -> None:
    tls = '[tls]\nca = "ca.pem"\ncert = "skerry.pem"\nkey = "skerry.key"\n'
    ran = await machine.skerry("check", str(machine.site(extra=tls)))
    assert ran.code == exit_codes.OK
    assert f"skerry: warning: tls.ca = {machine.directory}/ca.pem: No such file or directory" in ran.err


async def test_check_warns_of_prices_that_end(machine: Machine) -> None:
    site = machine.site(extra='[tariff]\nfile = "prices.csv"\n')
    missing = await machine.skerry("check", str(site))
    assert missing.code == exit_codes.OK
    assert "skerry: warning: tariff.file = 'prices.csv'" in missing.err
    (machine.directory / "prices.csv").write_text(
        "start_utc,price_eur_per_mwh\n2025-01-01T00:00:00Z,80\n2025-01-01T01:00:00Z,90\n"
    )
    ended = await machine.skerry("check", str(site))
    assert "prices from 2025-01-01 01:00:00 CET to 2025-01-01 03:00:00 CET, 2 steps" in ended.out
    assert "prices end 2025-01-01 03:00:00 CET; the plan wants 36 h ahead" in ended.err


async def test_check_asks_about_prices_that_look_like_another_unit(machine: Machine) -> None:
    site = machine.site(extra='[tariff]\nfile = "prices.csv"\n')
    (machine.directory / "prices.csv").write_text(
        "start_utc,price_eur_per_mwh\n2025-01-01T00:00:00Z,0.08\n2025-01-01T01:00:00Z,0.09\n2025-01-01T04:00:00Z,0.1\n"
    )
    ran = await machine.skerry("check", str(site))
    assert ran.code == exit_codes.OK
    assert "the highest price is 0.1 EUR/MWh, the mean 0.09: are they EUR/kWh?" in ran.err
    assert "1 hole filled with the price before, the longest price holds 3 h from 2025-01-01T01:00:00Z on" in ran.err


async def test_check_of_what_is_no_site_file(machine: Machine) -> None:
    path = machine.directory / "x.toml"
    path.write_text("[site\n")
    assert "expected a TOML document" in (await machine.skerry("check", str(path))).err
    path.write_bytes(b"\xff\xfe\x00")
    ran = await machine.skerry("check", str(path))
    assert ran.code == exit_codes.USAGE
    assert "expected UTF-8 text" in ran.err


# ── orders ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bound_of_a_watt_is_not_shown_as_zero(capsys: pytest.CaptureFixture[str]) -> None:
    preview = Preview(
        kind=OrderKind.NODE_CAP,
        old=Reason("now.uncapped", {"node": "gpu-01"}),
        new=Reason("asked.node_cap", {"node": "gpu-01", "cap_w": 900.0}),
        unit="W",
        low=1.0,
        high=65_534.0,
        low_why=Reason("range.node_least"),
        high_why=plain("its register"),
        for_s=900.0,
        standing=None,
        notes=(Reason("note.critical", {"node": "gpu-01"}),),
    )
    _shown(msgspec.to_builtins(preview), as_json=False)
    said = capsys.readouterr().out
    assert "at least  1 W  a node" in said
    assert "at most   65.5 kW  its register" in said
    assert "note      gpu-01 is critical" in said


# ── without a terminal ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("missing", ["stdin", "stderr"])
async def test_the_console_without_a_terminal_says_what_to_use_instead(machine: Machine, missing: str) -> None:
    """Found: `skerry demo </dev/null` painted, and nobody could quit it. Stdout may go anywhere."""
    site = machine.site()
    for arguments, instead in ((["demo"], "skerry demo --headless"), ([str(site)], f"skerry serve {site}")):
        ours, theirs = pty.openpty()
        try:
            taken = {"stdin": theirs, "stderr": theirs} | {missing: asyncio.subprocess.PIPE}
            ran = await machine.skerry(*arguments, **taken)
            said = ran.err if missing == "stderr" else os.read(ours, 4096).decode().replace("\r\n", "\n")
        finally:
            os.close(ours)
            os.close(theirs)
        assert (ran.code, ran.out) == (exit_codes.USAGE, "")
        assert said == f"skerry: no terminal for the console; use: {instead}\n"
    assert not machine.state.exists()


async def test_several_gateways_are_named_by_their_sites(machine: Machine, gateway: LinkServer) -> None:
    first = paths.socket_path(Path(machine.environment.pop("SKERRY_SITE")))
    deaf = first.with_name("deaf.sock")
    server = await asyncio.start_unix_server(lambda _, writer: writer.close(), str(deaf))
    ran = await machine.skerry("status")
    server.close()
    assert ran.code == exit_codes.USAGE
    assert f"say which with --site SITE.toml or --site SOCKET: {deaf}, {first} (Test site)" in ran.err


async def test_a_time_without_a_unit_is_refused(machine: Machine) -> None:
    """Found: --for 5 was silently 5 s."""
    ran = await machine.skerry("setpoint", "5kW", "--for", "5", "--reason", "test")
    assert ran.code == exit_codes.USAGE
    assert "'5': expected a duration such as 60s, 15m or 2h" in ran.err


async def test_a_dry_run_needs_no_reason(machine: Machine, gateway: LinkServer) -> None:
    await machine.skerry("setpoint", "5kW", "--dry-run")
    method, params = machine.asked[-1]
    assert (method, len(params["reason"]) >= REASON_MIN) == ("order.preview", True)
    await machine.skerry("drill", "start", "--minutes", "5", "--dry-run")
    method, params = machine.asked[-1]
    assert (method, len(params["reason"]) >= REASON_MIN) == ("drill.check", True)
    ran = await machine.skerry("drill", "start", "--minutes", "5")
    assert ran.code == exit_codes.USAGE
    assert "Missing option '--reason'" in ran.err


# ── fault ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_fault_speaks_to_the_twin(machine: Machine) -> None:
    asked: list[Any] = []

    async def twin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not (line := await reader.readline()):
            return writer.close()  # somebody only looked whether it runs
        asked.append(json.loads(line))
        known = asked[-1].get("device", "grid") == "grid"
        writer.write(
            json.dumps({"ok": True} if known else {"ok": False, "error": "expected a device"}).encode() + b"\n"
        )
        await writer.drain()
        writer.close()

    control = machine.directory / "control.sock"
    server = await asyncio.start_unix_server(twin, str(control))
    site = machine.site()
    announce = paths.announce_path(site)
    announce.write_text(json.dumps({"control": str(control)}))
    machine.environment["SKERRY_SITE"] = str(site)
    ran = await machine.skerry("fault", "not-implemented", "--device", "grid", "--for", "2m")
    assert (ran.code, ran.out) == (exit_codes.OK, "ok\n")
    await machine.skerry("fault", "--clear")
    await machine.skerry("fault", "--clear", "--device", "grid", "--announce", str(announce))
    refused = await machine.skerry("fault", "hung", "--device", "roof")
    named = str(paths.socket_path(site))  # as the other commands take it
    assert (await machine.skerry("fault", "outage", "--site", named)).out == "ok\n"
    machine.environment["SKERRY_SITE"] = named
    assert (await machine.skerry("fault", "--clear")).out == "ok\n"
    del machine.environment["SKERRY_SITE"]  # the only one that runs; another was killed and left its file behind
    announce.with_name("killed.twin.json").write_text(json.dumps({"control": str(machine.directory / "gone.sock")}))
    assert (await machine.skerry("fault", "outage")).out == "ok\n"
    machine.environment["SKERRY_SITE"] = named
    assert asked == [
        {"fault": "not_implemented", "device": "grid", "for_s": 120.0},
        {"clear": "all"},
        {"clear": "grid"},
        {"fault": "hung", "device": "roof"},
        {"fault": "outage"},
        {"clear": "all"},
        {"fault": "outage"},
    ]
    assert (refused.code, refused.err) == (exit_codes.REFUSED, "skerry: the twin refuses: expected a device\n")
    server.close()
    await server.wait_closed()
    gone = await machine.skerry("fault", "outage")
    assert gone.code == exit_codes.NO_GATEWAY
    assert "is not running any more" in gone.err
    announce.write_text("{}")
    assert (await machine.skerry("fault", "outage")).code == exit_codes.USAGE


ROOT = Path(__file__).parents[3]
