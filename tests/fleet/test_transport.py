"""A program in place of ssh that does not end by itself, or writes without end, is ended in bounded time."""

from __future__ import annotations

import asyncio

import pytest
from waiting import LIMIT_S

from fleet import transport
from fleet.sites import SiteAddress
from fleet.transport import open_link
from gateway.errors import LinkLost

FAR = SiteAddress("far", "ops@far")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("exec cat /dev/zero", "not a message"),  # a pipe that is full: its end is never seen unless it is read
        ("sleep 1000 & exec cat /dev/zero", "not a message"),  # what it has started keeps the pipe open
        ("trap '' TERM HUP; cat >/dev/null; exec sleep 1000", "no answer within"),
        ("echo 'Permission denied (publickey).' >&2", "far: Permission denied (publickey)."),
    ],
)
async def test_it_is_ended_and_the_reason_told(program: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "END_S", 0.05)
    monkeypatch.setattr(transport, "OPEN_S", 0.3 if said.startswith("no answer") else LIMIT_S)
    async with asyncio.timeout(LIMIT_S):
        with pytest.raises(LinkLost, match=said.replace("(", r"\(").replace(")", r"\)")):
            await open_link(FAR, ("sh", "-c", program))
