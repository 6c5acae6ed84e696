"""Writes one value of a device while no gateway runs: by an engineer, and only once it is on record."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from dispatch.wording.formatting import one_line
from drivers.clock import SystemClock
from drivers.register_view import WrittenValue
from gateway.api.peer import Peer, user_name
from gateway.api.roles import Role, Roles
from gateway.commissioning.state_owner import not_the_owner
from gateway.daemon_thread import may_hang
from gateway.errors import CommandRefused
from gateway.instance_lock import AlreadyRunning
from gateway.register_access import RegisterAccess
from gateway.site import paths
from gateway.site.schema import Site
from gateway.state_directory import StateDirectory
from storage.audit import AuditLog, NotDurable

ON_DISK_S = 5.0


class NotAllowed(Exception):
    """It is not done; `str()` is a line that says why."""


async def audited_write(
    site: Site,
    access: RegisterAccess,
    device: str,
    name: str,
    value: float | str,
    reason: str,
    confirm: Callable[[], None],
) -> WrittenValue:
    """Write a value and read it back: intent on the disk, effect, result.

    Raises NotAllowed; CommandRefused where the device cannot be written.
    """
    peer = Peer(os.getpid(), os.geteuid(), os.getegid(), user_name(os.geteuid()))
    standing = await may_hang(Roles(site.roles, os.geteuid()).of, peer)
    if standing.role < Role.ENGINEER:
        raise NotAllowed(f"writing to a device takes an engineer; {peer.who} is {standing.role.one} ({standing.why})")
    access.check_write(device, name, setpoints=True)
    if line := not_the_owner(site):
        raise NotAllowed(line)
    confirm()
    directory = StateDirectory(paths.state_dir(site))
    try:
        directory.take()
    except AlreadyRunning as error:
        raise NotAllowed(str(error)) from None
    try:
        if directory.trouble:
            raise NotAllowed(f"not on record, so not done: {directory.trouble}")
        audit = AuditLog(directory.path, f"devices/{os.getpid()}", SystemClock())
        try:
            return await _recorded(audit, peer, access, device, name, value, reason)
        finally:
            await may_hang(audit.close)
    finally:
        directory.release()


async def _recorded(
    audit: AuditLog, peer: Peer, access: RegisterAccess, device: str, name: str, value: float | str, reason: str
) -> WrittenValue:
    row: dict[str, Any] = {"who": peer.who, "uid": peer.uid, "pid": peer.pid, "command": "device.write"}
    text = f"{device}: {name} = {value}, no gateway runs"
    intent = row | {"kind": "intent", "text": text, "reason": one_line(reason)[:200]}
    try:
        number = await asyncio.wait_for(asyncio.wrap_future(audit.write(intent)), ON_DISK_S)
    except (NotDurable, TimeoutError) as error:
        raise NotAllowed(f"not on record, so not done: {error or 'the disk does not answer'}") from None
    result = row | {"kind": "result", "reason": "", "of": number}
    try:
        written = await access.write(device, name, value, setpoints=True)
    except CommandRefused as error:
        audit.spool(result | {"outcome": "failed", "text": f"{text}: {error}"})
        raise
    audit.spool(result | {"outcome": "written", "text": f"{device}: {name} was {written.before}, is {written.after}"})
    return written
