"""Reads whether the kernel's clock is synchronised: what chrony, ntpd and systemd-timesyncd tell the kernel.

adjtimex(2) with `modes` 0 only reads and needs no privilege. `maxerror` is at its limit of 16 s at boot, after the
clock was set by hand, and once no daemon has lowered it for 9 h, as the kernel raises it by 500 ppm. It is used rather
than the flag STA_UNSYNC, which chrony leaves set without `rtcsync` in chrony.conf. A sandbox may forbid the call
(systemd's ProtectClock=yes answers EPERM); then systemd-timedated is asked, which reads the same, or the file looked
for that systemd-timesyncd touches.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

STA_CLOCKERR = 0x1000  # linux/timex.h
LIMIT_US = 16_000_000  # NTP_PHASE_LIMIT of linux/timex.h: what maxerror is while nothing disciplines the clock
ASK = ("timedatectl", "show", "--property=NTPSynchronized", "--value")  # timedatectl(1)
ASK_S = 5.0
TIMESYNCD = Path("/run/systemd/timesync/synchronized")  # systemd-timesyncd.service(8); there once it has synchronised
RTCS = Path("/sys/class/rtc")


class KernelClock(msgspec.Struct, frozen=True):
    """What the kernel says of its clock."""

    synchronised: bool | None = None  # None: it cannot be read
    max_error_s: float | None = None  # by the daemon that disciplines it; None without one
    note: str = ""  # why it cannot be read


class _Timex(ctypes.Structure):
    """The beginning of struct timex; the rest is only as long as it has to be."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def read_kernel_clock() -> KernelClock:
    """What the kernel says now. Waits for nothing and raises nothing."""
    found = _Timex()
    try:
        call = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError) as error:
        return KernelClock(note=str(error))
    if call(ctypes.byref(found)) < 0:
        return KernelClock(note=f"adjtimex: {os.strerror(ctypes.get_errno())}")
    return judged(found.status, found.maxerror)


def judged(status: int, max_error_us: int) -> KernelClock:
    """The answer of the kernel."""
    if max_error_us >= LIMIT_US or status & STA_CLOCKERR:
        return KernelClock(False)
    return KernelClock(True, max_error_us / 1e6)


def asked_otherwise(why: str, ask: Sequence[str] = ASK, timesyncd: Path = TIMESYNCD) -> KernelClock:
    """What others say where the kernel cannot be asked, for the reason `why`. Waits up to `ASK_S`; raises nothing."""
    try:
        done = subprocess.run(
            ask, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=ASK_S, check=False
        )
        said = done.stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        said = str(error)
    if said in ("yes", "no"):
        return KernelClock(said == "yes", None, f"{why}; {ask[0]} says so")
    if timesyncd.exists():
        return KernelClock(True, None, f"{why}; {timesyncd} is there")
    return KernelClock(None, None, f"{why}; {ask[0]} does not answer, and {timesyncd} is not there")


def rtc_utc_s(rtcs: Path = RTCS) -> float | None:
    """What the hardware clock says now by which the kernel set its own at boot, POSIX s; None without one.

    `hctosys` and `since_epoch`: Documentation/ABI/testing/sysfs-class-rtc of the kernel.
    """
    try:
        used = [rtc for rtc in rtcs.iterdir() if (rtc / "hctosys").read_text().strip() == "1"]
        return float((used[0] / "since_epoch").read_text()) if used else None
    except (OSError, ValueError):
        return None
