"""`skerry serve`: what it does before the gateway runs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli.run import serve
from gateway import service

DEMO = Path(__file__).resolve().parents[3] / "console" / "demo.toml"


@pytest.fixture
def hangup() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
def test_a_reload_that_comes_too_early_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's own handler is there once the gateway runs; the imports before it take a second."""
    survived = []

    def started(*_: object) -> int:
        signal.raise_signal(signal.SIGHUP)
        survived.append(True)
        return 0

    monkeypatch.setattr(service, "serve", started)
    ran = CliRunner().invoke(serve, [str(DEMO)], standalone_mode=False)
    assert (ran.exception, survived) == (None, [True])
