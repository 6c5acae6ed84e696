"""`skerry doctor`: looks at a site's devices and at this machine, and says what is to be mended. Writes nothing.

While a gateway of the site runs, its devices are not asked: many take one connection only. Then the gateway is asked
for what it reads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm, AlarmState
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import alarm_text
from gateway.api.ask import Conversation
from gateway.api.discovery import find_socket
from gateway.commissioning.device_access import DevicesInUse, opened, sampled
from gateway.commissioning.device_findings import device_findings, map_findings
from gateway.commissioning.feed_findings import feed_findings
from gateway.commissioning.findings import Finding, Level, note, warning
from gateway.commissioning.machine_findings import machine_findings
from gateway.commissioning.output_findings import output_findings
from gateway.commissioning.site_findings import proofs_of, site_findings
from gateway.errors import LinkLost, NoGateway, RequestFailed, StartRefused
from gateway.site import paths
from gateway.site.schema import Site
from storage import proofs

ROUNDS, EVERY_S = 10, 0.3
ASKED, ASKED_EVERY_S = 3, 0.4  # of a running gateway
LEVELS = {Priority.HIGH: warning, Priority.MEDIUM: warning, Priority.LOW: note}


class Examination(msgspec.Struct, frozen=True):
    """What was found, and how it was looked at: source `devices`, `gateway`, or `none` where neither was possible."""

    site: str
    source: str
    findings: tuple[Finding, ...]

    def count(self, level: Level) -> int:
        """How many findings of a level there are."""
        return sum(finding.level is level for finding in self.findings)


def examine(site: Site) -> Examination:
    """Look at a site. Takes some 5 s, 35 s where devices are silent; raises nothing for what is not there."""
    machine = (*machine_findings(site), *feed_findings(site, time.time()))
    socket = _gateway_of(site)
    if socket is not None:
        return _by_gateway(site, socket, machine)
    try:
        samples = asyncio.run(_read(site))
    except (DevicesInUse, StartRefused) as error:
        found = Finding(Level.FAULT, "devices", "not-read", f"no device was read: {error}", _instead(error))
        return Examination(site.site.name, "none", (found, *machine))
    found_here = _judged(site, samples, gateway_runs=False)
    return Examination(site.site.name, "devices", (*found_here, *machine))


def _judged(site: Site, samples: Sequence[Snapshot], *, gateway_runs: bool) -> Iterator[Finding]:
    yield from device_findings(site, samples[-1])
    yield from map_findings(site)
    yield from site_findings(site, samples, gateway_runs=gateway_runs)
    yield from output_findings(site, gateway_runs=gateway_runs)
    try:
        yield from proofs_of(site, proofs.read(paths.state_dir(site)), samples[-1])
    except (proofs.ProofsNotRead, OSError) as error:
        yield note("site", "proof", f"what has been proven cannot be read: {error}", "read it as the gateway's user")


def _instead(error: Exception) -> str:
    return "name that gateway's site file, or end it first" if isinstance(error, DevicesInUse) else ""


def _gateway_of(site: Site) -> Path | None:
    try:
        return find_socket(str(site.path))
    except (NoGateway, LinkLost):
        return None


async def _read(site: Site) -> list[Snapshot]:
    async with opened(site) as (drivers, clock):
        return await sampled(site, drivers, clock, ROUNDS, EVERY_S)


def _by_gateway(site: Site, socket: Path, machine: tuple[Finding, ...]) -> Examination:
    """Judge what the running gateway reads, and its alarms."""
    try:
        with Conversation(socket) as link:
            states = []
            for n in range(ASKED):
                time.sleep(ASKED_EVERY_S if n else 0.0)
                states.append(link.request("status"))
    except (LinkLost, RequestFailed) as error:
        text = f"a gateway runs and does not answer ({error}): no device was read"
        found = Finding(Level.FAULT, "gateway", "not-read", text, "skerry status; journalctl -u skerry")
        return Examination(site.site.name, "none", (found, *machine))
    samples = [msgspec.convert(state["snapshot"], Snapshot) for state in states]
    return Examination(
        site.site.name,
        "gateway",
        (
            *_judged(site, samples, gateway_runs=True),
            *_alarms(states[-1]),
            *machine,
        ),
    )


def _alarms(state: dict[str, Any]) -> Iterator[Finding]:
    """The gateway's own alarms, with what to do."""
    for alarm in msgspec.convert(state["alarms"], list[Alarm]):
        if alarm.state is not AlarmState.NORMAL:
            text = alarm_text(alarm.id, alarm.detail)
            yield LEVELS[alarm.priority]("gateway", f"alarm:{alarm.id}", f"{text.title}: {text.cause}", text.action)
