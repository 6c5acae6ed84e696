"""What the kernel says of its clock, and what stands in for it where a sandbox forbids the question."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest

from drivers import kernel_clock
from drivers.kernel_clock import LIMIT_US, KernelClock, asked_otherwise, judged, read_kernel_clock, rtc_utc_s


def test_this_machine_s_kernel_answers_or_says_why_not() -> None:
    found = read_kernel_clock()
    assert (found.synchronised is None) == bool(found.note)
    assert (found.max_error_s is not None) == (found.synchronised is True)


@pytest.mark.parametrize(
    ("status", "max_error_us", "expected"),
    [
        (0x2001, 12_500, KernelClock(True, 0.0125)),
        (0x0040, 12_500, KernelClock(True, 0.0125)),  # chrony without rtcsync
        (0x0040, LIMIT_US, KernelClock(False)),  # after boot
        (0x2001, LIMIT_US, KernelClock(False)),
        (0x1000, 10, KernelClock(False)),  # the clock itself is at fault
    ],
)
def test_synchronised_is_what_a_daemon_disciplines(status: int, max_error_us: int, expected: KernelClock) -> None:
    assert judged(status, max_error_us) == expected


def test_where_the_call_is_forbidden_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: object) -> int:
        ctypes.set_errno(1)
        return -1

    monkeypatch.setattr(kernel_clock.ctypes, "CDLL", lambda *_, **__: SimpleNamespace(adjtimex=forbidden))
    assert read_kernel_clock() == KernelClock(note="adjtimex: Operation not permitted")


@pytest.mark.parametrize(
    ("ask", "there", "expected"),
    [
        (("echo", "yes"), False, True),
        (("echo", "no"), True, False),
        (("echo", "what?"), True, True),
        (("/nonexistent/timedatectl",), True, True),
        (("/nonexistent/timedatectl",), False, None),
    ],
)
def test_then_others_are_asked(tmp_path: Path, ask: tuple[str, ...], there: bool, expected: bool | None) -> None:
    file = tmp_path / "synchronized"
    if there:
        file.touch()
    found = asked_otherwise("forbidden", ask, file)
    assert found.synchronised is expected
    assert found.note.startswith("forbidden; ")


def test_the_hardware_clock_counts_only_if_it_set_the_kernel_s(tmp_path: Path) -> None:
    assert rtc_utc_s(tmp_path / "none") is None
    assert rtc_utc_s(tmp_path) is None
    for name, used, utc_s in (("rtc0", "0", "100"), ("rtc1", "1", "1772366400")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hctosys").write_text(f"{used}\n")
        (tmp_path / name / "since_epoch").write_text(f"{utc_s}\n")
    assert rtc_utc_s(tmp_path) == 1_772_366_400
    (tmp_path / "rtc1" / "since_epoch").write_text("")
    assert rtc_utc_s(tmp_path) is None
