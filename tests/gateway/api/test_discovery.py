"""Which running gateway is meant, named or not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.api.discovery import find_socket
from gateway.api.socket_file import claim
from gateway.errors import NoGateway, NoSuchSite, SeveralGateways
from gateway.site import paths

pytestmark = pytest.mark.usefixtures("no_session")


@pytest.fixture
def tmp_path(machine_root: Path) -> Path:
    """Short, as sockets live in it."""
    return machine_root


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = tmp_path / "r"
    directory.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(directory))
    return directory


def test_find_socket(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "one.toml", tmp_path / "two.toml"
    first.touch()
    second.touch()
    with pytest.raises(NoGateway, match="no gateway is running on this machine; start one with: skerry serve"):
        find_socket()
    with socket.socket(socket.AF_UNIX) as dead:  # stale: bound, nobody listens
        dead.bind(str(runtime / "stale.sock"))
    one, _ = claim(paths.socket_path(first))
    with one:
        assert find_socket() == paths.socket_path(first)
        assert find_socket(str(first)) == paths.socket_path(first)
        assert find_socket(str(paths.socket_path(first))) == paths.socket_path(first)
        with pytest.raises(NoGateway, match=r"two.toml: no gateway is running for this site"):
            find_socket(str(second))
        with pytest.raises(NoSuchSite, match=r"three.toml: no such site file"):
            find_socket(str(tmp_path / "three.toml"))
        two, _ = claim(paths.socket_path(second))
        with two:
            with pytest.raises(SeveralGateways, match="say which with --site") as several:
                find_socket()
            assert str(paths.socket_path(first)) in str(several.value)
            monkeypatch.setenv("SKERRY_SITE", str(second))
            assert find_socket() == paths.socket_path(second)
    with pytest.raises(NoGateway):
        find_socket()


def test_a_system_gateway_is_found_from_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's gateway listens in /run/skerry; a technician has an XDG_RUNTIME_DIR."""
    site = tmp_path / "s.toml"
    site.touch()
    system = tmp_path / "run" / "skerry"
    system.mkdir(parents=True)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(system))
    path = paths.socket_path(site)
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    session = tmp_path / "session"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    listener, _ = claim(path)
    with listener:
        assert find_socket(str(site)) == find_socket() == path
