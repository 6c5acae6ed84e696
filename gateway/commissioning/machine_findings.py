"""Judges this machine: its clock, and who may read and write what the gateway needs."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from drivers.kernel_clock import KernelClock, asked_otherwise, read_kernel_clock
from gateway.api.roles import Roles
from gateway.commissioning.findings import Finding, fault, note, ok, warning
from gateway.site import paths
from gateway.site.schema import Site

FOR_OTHERS = stat.S_IWGRP | stat.S_IWOTH
FOR_OWNER_ONLY = 0o077
CLOCK_ERROR_S = 1.0  # metering intervals are kept with a guard band of some seconds


def machine_findings(site: Site) -> Iterator[Finding]:
    """Clock, site file, state directory, groups, serial ports."""
    yield from clock_findings()
    yield from _site_file(site.path)
    yield from _state_directory(site)
    yield from _groups(site)
    for url in dict.fromkeys(d.url for d in site.polled):
        yield from serial_port(url)


def clock_findings(
    read: Callable[[], KernelClock] = read_kernel_clock, otherwise: Callable[[str], KernelClock] = asked_otherwise
) -> Iterator[Finding]:
    """Whether a time server disciplines the kernel's clock."""
    found = read()
    if found.synchronised is None:
        found = otherwise(found.note)
    if found.synchronised is None:
        yield note("clock", "clock", f"whether it is synchronised cannot be read: {found.note}", "timedatectl says it")
    elif not found.synchronised:
        text = "nothing synchronises the clock: metering intervals, prices and records would be at wrong times"
        yield warning("clock", "clock", text, "set up a time server: apt install chrony, or timedatectl set-ntp true")
    elif found.max_error_s is not None and found.max_error_s > CLOCK_ERROR_S:
        text = f"synchronised, but its error may be {found.max_error_s:.1f} s"
        yield warning("clock", "clock", text, "check whether the time server answers: chronyc sources")
    else:
        error = "" if found.max_error_s is None else f", error at most {1000 * found.max_error_s:.0f} ms"
        yield ok("clock", "clock", f"synchronised{error}")


def _site_file(path: Path) -> Iterator[Finding]:
    mode = path.stat().st_mode
    if mode & FOR_OTHERS:
        text = f"{path}, mode {stat.S_IMODE(mode):04o}, may be changed by others than its owner"
        yield warning("files", "site-file", text, f"chmod go-w {path}")


def _state_directory(site: Site) -> Iterator[Finding]:
    try:
        directory = paths.state_dir(site)
        found = directory.stat()
    except FileNotFoundError as error:
        text = f"{error.filename or 'the state directory'} is not there yet"
        yield note("files", "state-dir", f"{text}: a gateway makes it when it starts without another --state-dir")
        return
    except OSError as error:
        yield fault("files", "state-dir", f"{error.filename}: {error.strerror}", "records need this directory")
        return
    owner, mode = _user(found.st_uid), stat.S_IMODE(found.st_mode)
    if mode & FOR_OTHERS:
        text = f"{directory} of {owner}, mode {mode:04o}, may be changed by others"
        yield warning("files", "state-dir", text, f"chmod go-w {directory}")
    elif not os.access(directory, os.W_OK):
        text = f"{directory} is of {owner}, not of you, {_user(os.geteuid())}"
        yield note("files", "state-dir", text, f"start the gateway as {owner}")
    else:
        yield ok("files", "state-dir", f"{directory} of {owner}")
    yield from _key(directory / "audit.key")


def _key(path: Path) -> Iterator[Finding]:
    """The key that signs the audit is its owner's alone."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:  # none yet, or not for this user to see: then not for others either
        return
    if mode & FOR_OWNER_ONLY:
        yield fault("files", "audit-key", f"{path}, mode {mode:04o}, is open to others", f"chmod 600 {path}")


def _groups(site: Site) -> Iterator[Finding]:
    if site.roles is None:
        text = "the site file has no [roles]: only root and the gateway's user may give orders"
        yield note("files", "roles", text)
        return
    _, missing = Roles(site.roles, os.geteuid()).viewers_gid()
    if missing:
        yield warning("files", "roles", missing, "until then nobody has this role")


def serial_port(url: str) -> Iterator[Finding]:
    """Whether this user may use the serial port of a url; nothing for other urls."""
    if not url.startswith("serial:"):
        return
    port = Path(urlsplit(url).path)
    try:
        found = port.stat()
    except OSError as error:
        yield fault("files", "serial", f"{port}: {error.strerror}", "plug the adapter in; check the url")
        return
    if not stat.S_ISCHR(found.st_mode):
        yield fault("files", "serial", f"{port} is no serial port", "check the url")
    elif not os.access(port, os.R_OK | os.W_OK):
        advice = "put the gateway's user into its group, usually: usermod -aG dialout skerry"
        yield fault("files", "serial", f"{port} may not be read and written by {_user(os.geteuid())}", advice)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
