"""`skerry serve`: what it does before the gateway runs."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from console.cli.run import serve
from gateway import exit_codes, service

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


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.EMFILE])
def test_a_site_file_that_cannot_be_read_now_is_tried_again_by_systemd(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 would leave the site without control for good: the unit does not start again after it."""

    def fails(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("gateway.site.loader.load", fails)
    ran = CliRunner().invoke(serve, [str(DEMO)], standalone_mode=False)
    assert (ran.exception, ran.return_value) == (None, exit_codes.FAILED)
    assert ran.stderr == f"skerry: {DEMO}: {os.strerror(number)}\n"


@pytest.mark.usefixtures("hangup")
def test_a_site_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        ran = CliRunner().invoke(serve, [str(path)], standalone_mode=False)
        assert isinstance(ran.exception, click.UsageError) or ran.return_value == exit_codes.USAGE
