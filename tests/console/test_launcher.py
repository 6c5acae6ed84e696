"""The console starts a gateway where none runs, and never in the place of one that it was attached to."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import launcher
from console.launcher import GatewayChild, Supervisor
from fleet.sites import SiteAddress
from gateway.api.client import GatewayClient
from gateway.errors import LinkLost, NoGateway


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Whether a gateway `runs`, and how many the console has `started`; one that is started runs at once."""
    state = {"runs": 0, "started": 0}

    async def connect(path: Path, rate_hz: float = 1.0) -> object:
        if not state["runs"]:
            raise LinkLost("nobody answers")
        return object()

    async def start(child: GatewayChild) -> None:
        state["started"] += 1
        state["runs"] = 1

    monkeypatch.setattr(GatewayClient, "connect", connect)
    monkeypatch.setattr(GatewayChild, "start", start)
    monkeypatch.setattr(GatewayChild, "ended", property(lambda child: None if state["runs"] else 1))
    return state


async def test_one_of_its_own_is_started_again_when_it_died(tmp_path: Path, reachable: dict[str, int]) -> None:
    supervisor = Supervisor(tmp_path / "site.toml", tmp_path)
    await supervisor.connect()
    assert (reachable["started"], supervisor.started_own) == (1, True)
    await supervisor.connect()
    reachable["runs"] = 0
    await supervisor.connect()
    assert reachable["started"] == 2


async def test_a_gateway_it_was_attached_to_is_waited_for_not_replaced(
    tmp_path: Path, reachable: dict[str, int]
) -> None:
    reachable["runs"] = 1
    supervisor = Supervisor(tmp_path / "site.toml", tmp_path)
    await supervisor.connect()
    reachable["runs"] = 0
    for _ in range(3):
        with pytest.raises(LinkLost, match="waiting for it to start again"):
            await supervisor.connect()
    reachable["runs"] = 1
    await supervisor.connect()
    assert (reachable["started"], supervisor.started_own) == (0, False)


def test_the_console_of_a_site_is_opened_where_its_gateway_runs() -> None:
    near, far = SiteAddress("a", "", "/run/a b.sock"), SiteAddress("b", "ops@b", "/etc/s p.toml")
    assert launcher.site_console(("ssh",), near)[-3:] == ["console", "--site", "/run/a b.sock"]
    ssh = ["ssh", "-F", "x"]
    assert launcher.site_console(ssh, far) == [*ssh, "-t", "ops@b", "skerry console --site '/etc/s p.toml'"]
    assert launcher.site_console(ssh, SiteAddress("c", "c"))[-1] == "skerry console"


def test_a_console_that_only_attaches_starts_no_gateway() -> None:
    with pytest.raises(NoGateway, match="no gateway is running"):
        launcher.attach(None)
