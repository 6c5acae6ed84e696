"""Where state and sockets are, and which gateway is meant."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.errors import NoGateway, NoSuchSite, SeveralGateways, UnsafeDirectory
from gateway.api.socket_file import MAX_PATH, claim
from gateway.site import paths
from gateway.site.loader import compose

RAW = {
    "site": {"name": "x"},
    "grid": {"fuse_a": 63, "contracted_peak_w": 9000},
    "meter": [{"id": "grid", "url": "tcp://127.0.0.1:1502"}],
}


@pytest.fixture
def tmp_path(place: Path) -> Path:
    """Short, as sockets live in it."""
    return place


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own: no variables, and system directories that do not exist."""
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "STATE_DIRECTORY", "XDG_STATE_HOME", "SKERRY_SITE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "_SYSTEM", tmp_path / "closed" / "skerry")
    monkeypatch.setattr(paths, "_private_dir", lambda: tmp_path / "private")


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = tmp_path / "r"
    directory.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(directory))
    return directory


@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=80), st.integers(9, 60))
def test_slug_is_short_and_plain(name: str, longest: int) -> None:
    slug = paths.slug(Path("/somewhere") / name, longest)
    assert len(slug) <= longest
    assert all(c.isascii() and (c.isalnum() or c in "-_") for c in slug)


def test_slug_is_of_the_real_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    site = tmp_path / "a" / "site.toml"
    site.touch()
    (tmp_path / "link.toml").symlink_to(site)
    monkeypatch.chdir(tmp_path / "a")
    assert paths.slug(site) == paths.slug(Path("site.toml")) == paths.slug(tmp_path / "link.toml")
    assert paths.slug(site) != paths.slug(tmp_path / "site.toml")
    assert paths.slug(site).startswith("site-")


def test_state_dir_in_order_of_who_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = compose(tmp_path / "s.toml", RAW)
    monkeypatch.setenv("HOME", "/home/x")
    assert paths.state_dir(site) == Path("/home/x/.local/state/skerry") / paths.slug(site.path)
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # the specification: to be ignored
    assert paths.state_dir(site).is_relative_to("/home/x/.local/state")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert paths.state_dir(site) == Path("/state/skerry") / paths.slug(site.path)
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/skerry:/var/lib/other")
    assert paths.state_dir(site) == Path("/var/lib/skerry")
    own = compose(tmp_path / "s.toml", RAW | {"gateway": {"state_dir": "records"}})
    assert paths.state_dir(own) == tmp_path / "records"
    own = compose(tmp_path / "s.toml", RAW | {"gateway": {"state_dir": "/srv/records"}})
    assert paths.state_dir(own) == Path("/srv/records")


def test_runtime_dir_in_order_of_who_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = os.umask(0o000)
    try:
        private = paths.runtime_dir()
    finally:
        os.umask(old)
    assert private == tmp_path / "private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    session = tmp_path / "session"
    session.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    assert paths.runtime_dir() == session / "skerry"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    assert paths.runtime_dir() == private
    (tmp_path / "closed").mkdir()
    assert paths.runtime_dir() == tmp_path / "closed" / "skerry"
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/skerry-a:/run/b")
    assert paths.runtime_dir() == Path("/run/skerry-a")


@pytest.mark.parametrize("spoil", ["mode", "link", "file"])
def test_private_dir_that_others_could_have_made_is_refused(tmp_path: Path, spoil: str) -> None:
    private = tmp_path / "private"
    if spoil == "mode":
        private.mkdir()
        private.chmod(0o755)
    elif spoil == "link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        private.symlink_to(tmp_path / "theirs")
    else:
        private.touch()
    with pytest.raises(UnsafeDirectory, match="expected a directory of yours with mode 0700"):
        paths.runtime_dir()


def test_socket_path_always_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / ("a-very-long-name-of-a-site-" * 4 + ".toml")
    for length in range(10, 85):
        monkeypatch.setenv("RUNTIME_DIRECTORY", "/" + "r" * (length - 1))
        path = paths.socket_path(site)
        assert len(os.fsencode(path)) < MAX_PATH
        assert paths.announce_path(site).name.endswith(".twin.json")


def test_find_socket(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "one.toml", tmp_path / "two.toml"
    first.touch()
    second.touch()
    with pytest.raises(NoGateway, match="no gateway is running on this machine; start one with: skerry serve"):
        paths.find_socket()
    with socket.socket(socket.AF_UNIX) as dead:  # stale: bound, nobody listens
        dead.bind(str(runtime / "stale.sock"))
    one, _ = claim(paths.socket_path(first))
    with one:
        assert paths.find_socket() == paths.socket_path(first)
        assert paths.find_socket(str(first)) == paths.socket_path(first)
        assert paths.find_socket(str(paths.socket_path(first))) == paths.socket_path(first)
        with pytest.raises(NoGateway, match=r"two.toml: no gateway is running for this site"):
            paths.find_socket(str(second))
        with pytest.raises(NoSuchSite, match=r"three.toml: no such site file"):
            paths.find_socket(str(tmp_path / "three.toml"))
        two, _ = claim(paths.socket_path(second))
        with two:
            with pytest.raises(SeveralGateways, match="say which with --site") as several:
                paths.find_socket()
            assert str(paths.socket_path(first)) in str(several.value)
            monkeypatch.setenv("SKERRY_SITE", str(second))
            assert paths.find_socket() == paths.socket_path(second)
    with pytest.raises(NoGateway):
        paths.find_socket()


def test_the_record_written_last_is_found_unnamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from console.cli import data_source

    monkeypatch.setattr(data_source, "_SYSTEM_STATE", tmp_path / "none")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(NoGateway, match="no record of one was found"):
        data_source.locate(None)
    for n, name in enumerate(("old-site", "demo/20250101T000000", "other")):
        directory = tmp_path / "skerry" / name
        directory.mkdir(parents=True)
        (directory / "telemetry.db").touch()
        os.utime(directory / "telemetry.db", (n % 2, n % 2))
    assert data_source.locate(None) == (tmp_path / "skerry" / "demo/20250101T000000", None)


def test_a_demo_keeps_its_record_beside_its_site_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from console.cli import data_source

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    site = tmp_path / "demo.toml"
    site.write_text(
        '[site]\nname = "x"\ntimezone = "Asia/Tokyo"\n[grid]\nfuse_a = 63\ncontracted_peak_w = 9000\n'
        '[[meter]]\nid = "grid"\nurl = "tcp://127.0.0.1:1502"\n'
    )
    own = tmp_path / "state" / "skerry" / paths.slug(site)
    assert data_source.locate(str(site))[0] == own
    (tmp_path / "telemetry.db").touch()
    assert data_source.locate(str(site))[0] == tmp_path
    own.mkdir(parents=True)
    (own / "telemetry.db").touch()
    assert data_source.locate(str(site)) == (own, ZoneInfo("Asia/Tokyo"))


def test_a_system_gateway_is_found_from_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's gateway listens in /run/skerry; a technician has an XDG_RUNTIME_DIR."""
    site = tmp_path / "s.toml"
    site.touch()
    system = tmp_path / "closed" / "skerry"
    system.mkdir(parents=True)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(system))
    path = paths.socket_path(site)
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    session = tmp_path / "session"
    session.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    listener, _ = claim(path)
    with listener:
        assert paths.find_socket(str(site)) == paths.find_socket() == path
