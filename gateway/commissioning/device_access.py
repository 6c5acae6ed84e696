"""Opens the devices of a site for a command, while no gateway of this machine commands them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence

import msgspec

from dispatch.model.clock import Clock
from dispatch.model.node_lists import NodeListNow
from dispatch.model.snapshot import Snapshot
from drivers.clock import SystemClock
from drivers.devices import Driver
from drivers.maps.found_modes import FoundModes
from drivers.modbus.errors import DeviceError
from drivers.twin.announcement import Announcement
from gateway import exit_codes
from gateway.api.ask import Conversation
from gateway.api.discovery import find_socket
from gateway.api.socket_file import listening
from gateway.claims import Claims, site_claim
from gateway.errors import LinkLost, NoGateway, RequestFailed, StartRefused
from gateway.instance_lock import AlreadyRunning
from gateway.poller import Poller
from gateway.site.paths import SOCKET_SUFFIX, runtime_dirs
from gateway.site.schema import Site
from gateway.site_devices import claimed_devices, drivers_of
from gateway.snapshot_builder import snapshot_of
from gateway.twin_process import running_twin

ROUND_S = 3.0  # at most, for every device to answer once
CLOSE_S = 2.0  # to end the session of a BMC takes a handshake and a request
ASK_S = 2.0


class DevicesInUse(Exception):
    """A gateway of this machine holds these devices; `str()` is a line."""


@contextlib.contextmanager
def gateway_of(site: Site) -> Iterator[Conversation | None]:
    """A conversation with the gateway that runs for the site; None without one.

    Raises LinkLost where one is there and does not answer, or may not be asked by this user.
    """
    try:
        socket = find_socket(str(site.path))
    except NoGateway:
        yield None
        return
    with Conversation(socket) as link:
        yield link


def published_snapshot(link: Conversation) -> Snapshot:
    """What the gateway last published of its devices. Raises LinkLost, RequestFailed."""
    return msgspec.convert(link.request("status")["snapshot"], Snapshot)


def published_nodes(link: Conversation) -> tuple[Snapshot, tuple[NodeListNow, ...]]:
    """The same, and the lists of its nodes; none from a gateway of a version before. Raises LinkLost, RequestFailed."""
    status = link.request("status")
    lists = msgspec.convert(status.get("node_lists", ()), tuple[NodeListNow, ...])
    return msgspec.convert(status["snapshot"], Snapshot), lists


def gateway_using(host: str, port: int) -> str:
    """The gateway of this machine that uses an address, in words; empty: none of those that this user may ask."""
    for socket in (s for d in runtime_dirs() for s in d.glob("*" + SOCKET_SUFFIX) if listening(s)):
        with contextlib.suppress(LinkLost, RequestFailed), Conversation(socket, ASK_S) as link:
            snapshot = published_snapshot(link)
            used = [d.id for d in snapshot.devices if d.link is not None and f"{host}:{port} " in f"{d.link.at} "]
            if used:
                return f"the gateway of {link.welcome.site}, pid {link.welcome.pid}, for {', '.join(used)}"
    return ""


@contextlib.asynccontextmanager
async def opened(site: Site, found_modes: FoundModes | None = None) -> AsyncIterator[tuple[list[Driver], Clock]]:
    """The drivers of every device, and the site's clock. As long as they are in use no gateway can start on them.

    `found_modes`: how mapped PCS were found, as a gateway has kept it.

    Raises DevicesInUse; StartRefused where the twin of the site does not run.
    """
    twin = _twin(site)
    claims = Claims()
    try:
        claims.take({**site_claim(site.path), **claimed_devices(site, twin)})
    except AlreadyRunning as error:
        claims.release()
        raise DevicesInUse(str(error)) from None
    clock: Clock = SystemClock() if twin is None else twin.clock
    drivers = drivers_of(site, twin, clock, found_modes=found_modes)
    try:
        yield drivers, clock
    finally:
        await asyncio.gather(*(_close(driver) for driver in drivers))
        claims.release()


def _twin(site: Site) -> Announcement | None:
    if not site.uses_twin:
        return None
    found = running_twin(site.path)
    if found is None:
        line = f"{site.path}: its devices are a twin's, and none runs; start one with: skerry twin {site.path}"
        raise StartRefused(line, exit_codes.DEVICE)
    return found


async def _close(driver: Driver) -> None:
    with contextlib.suppress(TimeoutError, DeviceError):
        async with asyncio.timeout(CLOSE_S):
            await driver.close()


async def sampled(site: Site, drivers: Sequence[Driver], clock: Clock, rounds: int, every_s: float) -> list[Snapshot]:
    """Read every device `rounds` times, about every `every_s` machine seconds: a snapshot of each round.

    A round lasts `ROUND_S` at most: a device that is slower is read less often.
    """
    pollers = [Poller(d, clock, 2 * ROUND_S, DeviceError, lambda poller, online: None) for d in drivers]
    grid_id = next(m.id for m in site.meter if m.role == "grid")
    samples = []
    for n in range(rounds):
        ends_s = asyncio.get_running_loop().time() + every_s
        await asyncio.wait([poller.start() for poller in pollers], timeout=ROUND_S)
        parts = [part for poller in pollers for part in poller.parts()]
        samples.append(snapshot_of(site, n, clock, grid_id, parts, tuple(p.health() for p in pollers)))
        await asyncio.sleep(max(0.0, ends_s - asyncio.get_running_loop().time()))
    return samples
