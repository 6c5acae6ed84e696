"""A twin and a gateway as processes of their own, on a variation of the demo site, while a benchmark needs them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from gateway.api.ask import ask
from gateway.errors import LinkLost, RequestFailed

DEMO = Path(__file__).resolve().parents[1] / "console" / "demo.toml"
START_LIMIT_S = 30.0
STOP_LIMIT_S = 20.0
NICE = -10  # of twin and gateway, as in deploy/skerry.service; without the right to it, they run at the usual 0
SKERRY = (sys.executable, "-P", "-m", "skerry")

Endpoint = tuple[str, int, int]  # host, port, unit
Changes = Mapping[str, Any]  # section -> keys that replace the demo's, or a list of tables that replaces its list


class PlantFailed(Exception):
    """Twin or gateway did not come up, or went away; the text holds what they said last."""


@dataclass
class Plant:
    """What a benchmark may touch of a running site."""

    site: Path
    environment: dict[str, str]
    twin: psutil.Process
    gateway: psutil.Process
    endpoints: dict[str, Endpoint]
    control: Path

    def tell_twin(self, **order: Any) -> dict[str, Any]:
        """Send one order to the twin's control socket; its answer. Raises PlantFailed if it declines."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            link.connect(str(self.control))
            link.sendall(json.dumps(order).encode() + b"\n")
            answer = link.makefile("rb").readline()
        said: dict[str, Any] = json.loads(answer) if answer else {"ok": False}
        if said.get("ok") is False:
            raise PlantFailed(f"the twin did not take {order}: {answer!r}")
        return said

    def socket_path(self) -> Path:
        """Where the gateway listens. Raises ValueError while it does not."""
        (path,) = Path(self.environment["XDG_RUNTIME_DIR"]).rglob("*.sock")
        return path


def varied_demo(changes: Changes) -> str:
    """The demo site as TOML with some keys replaced."""
    site = tomllib.loads(DEMO.read_text(encoding="utf-8"))
    for section, value in changes.items():
        site[section] = value if isinstance(value, list) else {**site.get(section, {}), **value}
    lines = [f"version = {site.pop('version')}"]
    for section, value in site.items():
        heading, tables = (f"[[{section}]]", value) if isinstance(value, list) else (f"[{section}]", [value])
        for keys in tables:
            # Numbers, booleans and plain strings only, which TOML writes as JSON does.
            lines += [heading, *(f"{key} = {json.dumps(item)}" for key, item in keys.items()), ""]
    return "\n".join(lines)


@contextlib.contextmanager
def running(
    changes: Changes,
    nodes_w: float | None = None,
    by_way_of: Callable[[str, Endpoint], Endpoint] | None = None,
    command: Sequence[str] = SKERRY,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Plant]:
    """Start twin and gateway, wait until the gateway answers; stop both in order at the end. Raises PlantFailed.

    nodes_w: the nodes take this much all the time, instead of the recorded trace.
    by_way_of: where the gateway finds a device that the twin has at that place; not given: right there.
    command: what runs the gateway; environment: variables of both that are others than usual.
    """
    with tempfile.TemporaryDirectory(prefix="skb") as folder, contextlib.ExitStack() as stack:
        directory = Path(folder)
        site, announce = directory / "bench.toml", directory / "twin.json"
        if nodes_w is not None:
            rows = f"start_utc,power_w\n2025-01-01T00:00:00Z,{nodes_w}\n2025-01-01T00:01:00Z,{nodes_w}\n"
            (directory / "flat.csv").write_text(rows)
            changes = {**changes, "twin": {**changes.get("twin", {}), "load_trace": "flat.csv", "load_scale": 1.0}}
        site.write_text(varied_demo(changes), encoding="utf-8")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SKERRY", "XDG_", "STATE_", "RUNTIME_"))}
        variables = inherited | {
            "XDG_RUNTIME_DIR": folder,
            "XDG_STATE_HOME": f"{folder}/state",
            "SKERRY_SITE": str(site),
        }
        variables |= {"PYTHONPATH": str(DEMO.parents[1]), **(environment or {})}
        twin = stack.enter_context(
            # devices have processors of their own: the twin shall not wait for the machine any more than the gateway
            _process(
                variables, directory / "twin.log", SKERRY, "twin", str(site), "--announce", str(announce), nice=NICE
            )
        )
        _wait(announce.exists, twin, directory / "twin.log")
        about = json.loads(announce.read_text())
        endpoints: dict[str, Endpoint] = {device: tuple(place) for device, place in about["endpoints"].items()}
        if by_way_of is not None:
            about["endpoints"] = {device: by_way_of(device, place) for device, place in endpoints.items()}
            announce = directory / "proxies.json"
            announce.write_text(json.dumps(about))
        log = directory / "gateway.log"
        serve = ("serve", str(site), "--twin", str(announce))
        gateway = stack.enter_context(_process(variables, log, command, *serve, nice=NICE))
        plant = Plant(site, variables, twin, gateway, endpoints, Path(about["control"]))
        _wait(lambda: _answers(plant), gateway, log)
        yield plant
        if not gateway.is_running() or gateway.status() == psutil.STATUS_ZOMBIE:
            raise PlantFailed(f"the gateway ended during the measurement:\n{_tail(log)}")


def _answers(plant: Plant) -> bool:
    with contextlib.suppress(LinkLost, RequestFailed, ValueError):  # ValueError: no socket yet
        return bool(ask(plant.socket_path(), "status"))
    return False


@contextlib.contextmanager
def _process(
    environment: dict[str, str], log: Path, command: Sequence[str], *arguments: str, nice: int = 0
) -> Iterator[psutil.Process]:
    priority = ("nice", "-n", str(nice)) if nice and os.geteuid() == 0 else ()
    with log.open("wb") as output:
        process = psutil.Popen(
            [*priority, *command, *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_LIMIT_S)
            except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
                process.kill()
                process.wait()


def _wait(ready: Any, process: psutil.Process, log: Path) -> None:
    until = time.monotonic() + START_LIMIT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > until:
            state = "ended" if process.poll() is not None else f"was not ready in {START_LIMIT_S:g} s"
            raise PlantFailed(f"{' '.join(process.args)} {state}:\n{_tail(log)}")
        time.sleep(0.05)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
