"""A group of [roles] that the machine does not know yet keeps no site without control; it is looked up again."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import LIMIT_S

from gateway import link_opening
from gateway.api.roles import Roles, UnknownGroup
from gateway.api.server import LinkServer
from gateway.api.socket_file import claim, release
from gateway.errors import StartRefused
from gateway.link_opening import LinkOpening
from gateway.site.schema import RolesConfig

GROUPS = ("skerry-viewer", "skerry-operator", "skerry-engineer")
OTHER_GID = 61_230  # that no distribution hands out
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="hands a socket to a group that it is no member of")


class Said:
    """Events, as text; `told` is set at each."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.told = asyncio.Event()

    def event(self, kind: str, severity: str, subject: str, text: str, who: str = "") -> None:
        self.lines.append((severity, text))
        self.told.set()

    def note(self, event: Any, durable: bool = False) -> Any:
        """Nothing is noted here."""


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        yield Path(name) / "s.sock"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_opening, "AGAIN_S", 0.01)


def roles_by(gid: Callable[[str], int]) -> Roles:
    return Roles(RolesConfig(), os.getuid(), gid=gid)


def a_link(path: Path) -> LinkServer:
    unused: Any = None
    return LinkServer(path, unused, unused)


def group_of(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_gid, stat.S_IMODE(found.st_mode)


async def completed(opening: LinkOpening, link: LinkServer, said: Said, repair: Callable[[], None]) -> None:
    """Run until nothing is missing; `repair` is called once something has been said."""
    async with asyncio.timeout(LIMIT_S):
        completing = asyncio.create_task(opening.complete(link, said))
        await said.told.wait()
        repair()
        await completing


@needs_root
async def test_the_socket_is_roots_until_the_group_is_there(path: Path) -> None:
    known: dict[str, int] = {}

    def gid(group: str) -> int:
        if group not in known:
            raise UnknownGroup(f"group {group!r} is missing")
        return known[group]

    opening, link, said = LinkOpening(roles_by(gid)), a_link(path), Said()
    await opening.open(link)
    assert group_of(path) == (os.getegid(), 0o660)
    assert all(group in opening.trouble for group in GROUPS)
    await completed(opening, link, said, lambda: known.update(dict.fromkeys(GROUPS, OTHER_GID)))
    assert (opening.trouble, group_of(path)) == ("", (OTHER_GID, 0o660))
    assert [severity for severity, _ in said.lines] == ["alarm", "info"]
    assert "control runs: group 'skerry-viewer' is missing" in said.lines[0][1]
    await link.close()


async def test_a_group_of_operators_that_is_missing_is_said_and_viewers_connect(path: Path) -> None:
    missing = {"skerry-operator"}

    def gid(group: str) -> int:
        if group in missing:
            raise UnknownGroup(f"group {group!r} is missing")
        return os.getegid()

    opening, link, said = LinkOpening(roles_by(gid)), a_link(path), Said()
    await opening.open(link)
    assert opening.trouble == "group 'skerry-operator' is missing"
    await completed(opening, link, said, missing.clear)
    assert opening.trouble == ""
    await link.close()


async def test_a_user_database_that_does_not_answer_holds_nothing_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_opening, "LOOK_UP_S", 0.05)
    answers = threading.Event()

    def gid(group: str) -> int:
        answers.wait(LIMIT_S)
        return os.getegid()

    opening, link, said = LinkOpening(roles_by(gid)), a_link(path), Said()
    await opening.open(link)
    assert link.listening
    assert "were not found within 0.05 s" in opening.trouble
    await completed(opening, link, said, answers.set)
    assert opening.trouble == ""
    await link.close()


async def test_a_group_that_the_socket_may_not_be_handed_to_is_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the gateway's user is no member of the viewers' group: only whoever runs the machine can mend it."""
    chown = os.chown

    def not_permitted(*arguments: Any, **options: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", not_permitted)
    opening, link, said = LinkOpening(roles_by(lambda group: os.getegid())), a_link(path), Said()
    await opening.open(link)
    assert link.listening
    assert "cannot be handed to group" in opening.trouble
    await completed(opening, link, said, lambda: monkeypatch.setattr(os, "chown", chown))
    assert opening.trouble == ""
    await link.close()


async def test_a_second_gateway_is_still_refused(path: Path) -> None:
    sock, inode = claim(path)
    opening = LinkOpening(Roles(None, os.getuid()))
    with pytest.raises(StartRefused, match="already running"):
        await opening.open(a_link(path))
    sock.close()
    release(path, inode)
