"""Where state and sockets are."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.discovery import find_socket
from gateway.errors import NoGateway
from gateway.site import paths
from gateway.site.loader import compose

RAW = {
    "site": {"name": "x"},
    "grid": {"fuse_a": 63, "contracted_peak_w": 9000},
    "meter": [{"id": "grid", "url": "tcp://127.0.0.1:1502"}],
}

pytestmark = pytest.mark.usefixtures("no_session")


@pytest.fixture
def tmp_path(machine_root: Path) -> Path:
    """Short, as sockets live in it."""
    return machine_root


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
    assert private == tmp_path / "tmp" / f"skerry-{os.getuid()}"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    session = tmp_path / "session"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    assert paths.runtime_dir() == session / "skerry"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    assert paths.runtime_dir() == private
    (tmp_path / "run").mkdir()
    assert paths.runtime_dir() == tmp_path / "run" / "skerry"
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/skerry-a:/run/b")
    assert paths.runtime_dir() == Path("/run/skerry-a")


def test_system_directories_are_the_machines_unless_another_root_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert paths.system_path("/run/skerry") == tmp_path / "run" / "skerry"
    monkeypatch.setenv("SKERRY_ROOT", "")
    assert paths.system_path("/run/skerry") == Path("/run/skerry")
    monkeypatch.delenv("SKERRY_ROOT")
    assert paths.system_path("/run/skerry") == Path("/run/skerry")


@pytest.mark.parametrize("spoil", ["mode", "link", "file"])
def test_a_private_directory_that_others_could_have_made_is_not_used(tmp_path: Path, spoil: str) -> None:
    """Found: `mkdir /tmp/skerry-<uid>` by any user made another's `stop` and `abort` fail."""
    private = tmp_path / "tmp" / f"skerry-{os.getuid()}"
    if spoil == "mode":
        private.mkdir()
        private.chmod(0o755)
    elif spoil == "link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        private.symlink_to(tmp_path / "theirs")
    else:
        private.touch()
    assert list(paths.runtime_dirs()) == [], "nothing in it is trusted"
    own = paths.runtime_dir()
    assert (own.parent, stat.S_IMODE(own.lstat().st_mode)) == (private.parent, 0o700)
    assert own.name.startswith(f"{private.name}.")
    assert paths.runtime_dir() == own, "the same from then on, for whoever looks"
    assert list(paths.runtime_dirs()) == [own]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_directory_of_another_user_is_skipped(tmp_path: Path) -> None:
    for name in (f"skerry-{os.getuid()}", f"skerry-{os.getuid()}.early", f"skerry-{os.getuid()}1"):
        directory = tmp_path / "tmp" / name
        directory.mkdir(mode=0o700)
        os.chown(directory, 65534, 65534)
        with socket.socket(socket.AF_UNIX) as theirs:
            theirs.bind(str(directory / "trap.sock"))
            theirs.listen()
    own = paths.runtime_dir()
    assert own.lstat().st_uid == os.getuid()
    assert list(paths.runtime_dirs()) == [own]
    with pytest.raises(NoGateway, match="no gateway is running"):
        find_socket()


def test_socket_path_always_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / ("a-very-long-name-of-a-site-" * 4 + ".toml")
    for length in range(10, 85):
        monkeypatch.setenv("RUNTIME_DIRECTORY", "/" + "r" * (length - 1))
        path = paths.socket_path(site)
        assert len(os.fsencode(path)) < paths.MAX_SOCKET_PATH
        assert paths.announce_path(site).name.endswith(".twin.json")


def test_the_record_written_last_is_found_unnamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from console.cli import data_source

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(NoGateway, match="no record of one was found"):
        data_source.locate(None)
    for n, name in enumerate(("old-site", "demo/20250101T000000", "other")):
        directory = tmp_path / "skerry" / name
        directory.mkdir(parents=True)
        (directory / "telemetry.db").touch()
        os.utime(directory / "telemetry.db", (n % 2, n % 2))
    assert data_source.locate(None) == (tmp_path / "skerry" / "demo/20250101T000000", None)
    system = tmp_path / "var" / "lib" / "skerry"
    system.mkdir(parents=True)
    (system / "telemetry.db").touch()
    assert data_source.locate(None) == (system, None)


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
