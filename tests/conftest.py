"""What every test shares: Hypothesis settings, and a machine that is the test's own."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from dispatch.model.reasons import Reason
from dispatch.wording import catalogue

# Collections of what was made since the last one take an eighth of a run in lock-step at Python's 700 objects, and a
# fifth of pytest's own collecting. A test that opened something still ends with a full collection.
gc.set_threshold(20_000, 20, 20)

# Reproducible by default: the same tree gives the same examples. `pytest --hypothesis-profile=explore` looks further.
settings.register_profile("reproducible", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("reproducible")

# What systemd, a login or a user of Skerry set, and what would change where things are or how they are drawn.
OF_THE_CALLER = ("SKERRY", "XDG_", "STATE_DIR", "RUNTIME_DIR", "NOTIFY_", "WATCHDOG_", "LISTEN_", "NO_COLOR", "COLUMNS")
KEPT = ("SKERRY_SOAK", "SKERRY_FUZZ")  # how long the long tests run

# nohup and batch jobs have signals ignored, which is inherited; a handler is not: what tests start has the defaults.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


SHOWN = 60  # of a text or of bytes that a test is named after: names go through pipes and logs


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a test after the begin of what it is given; pytest takes all of it, be it a megabyte."""
    if not isinstance(val, str | bytes) or len(val) <= 2 * SHOWN:
        return None
    return f"{val[:SHOWN]!r} and {len(val) - SHOWN} more"


@pytest.fixture(autouse=True)
def machine_root() -> Iterator[Path]:
    """Home, state, configuration, runtime and system directories of the test's own, also for what it starts.

    So no test sees a gateway, a record or a setting of the machine it runs on. The path is short: sockets live in it.
    """
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name, pytest.MonkeyPatch.context() as patch:
        root = Path(name)
        for directory in ("home", "session", "tmp"):
            (root / directory).mkdir(mode=0o700)
        for key in list(os.environ):
            if key.startswith(OF_THE_CALLER) and not key.startswith(KEPT):
                patch.delenv(key)
        if "LC_ALL" in os.environ:  # kept for the encoding; words are tested in English, but where a test says so
            patch.setenv("LC_CTYPE", os.environ["LC_ALL"])
            patch.delenv("LC_ALL")
        patch.setenv("LC_MESSAGES", "C")
        # Scripts that name `env python3` find this interpreter: a shim of pyenv takes as long as it to find another.
        patch.setenv("PATH", os.pathsep.join((f"{sys.base_prefix}/bin", os.environ.get("PATH", os.defpath))))
        patch.setenv("SKERRY_ROOT", name)
        patch.setenv("HOME", f"{name}/home")
        patch.setenv("XDG_RUNTIME_DIR", f"{name}/session")
        yield root


# ── what a test leaves open is its own fault ────────────────────────────────────────────────────────────────────────

MAY_LEAK = frozenset(("socket.bind", "socket.connect", "subprocess.Popen"))  # events of sys.audit
opened: list[str] = []  # those of the test that runs


def note(event: str, arguments: tuple[Any, ...]) -> None:
    if event in MAY_LEAK:
        opened.append(event)


sys.addaudithook(note)


def set_aside() -> None:
    """What is left now stays: a collection later looks only at what is newer."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    set_aside()


@pytest.hookimpl(trylast=True)  # after the fixtures' ends
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Find what a test has left open now. Left to itself it would be found in a later test, and fail that one."""
    if opened:
        opened.clear()
        find_left_open()
    if nextitem is None or nextitem.path != item.path:  # 0.2 s for each collection after the console's tests, else
        set_aside()


def find_left_open() -> None:
    """Fail the test if something that it opened was left to the garbage collector."""
    failed = hasattr(sys, "last_value")  # set by pytest, and holds on to every variable of the test
    for name in ("last_type", "last_value", "last_exc", "last_traceback"):
        with contextlib.suppress(AttributeError):
            delattr(sys, name)
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda found: said.append(str(found.exc_value)))
        gc.collect()
    if said and not failed:  # a test that failed did not come to close what it opened
        pytest.fail("\n".join(["this test leaves open or behind:", *said]), pytrace=False)


@pytest.fixture(autouse=True)
def every_code_has_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """At run time a code without words is shown as it is; in a test it is a mistake."""

    def missing(reason: Reason) -> str:
        raise AssertionError(f"the catalogue has no words for {reason}")

    monkeypatch.setattr(catalogue, "unworded", missing)
