"""`skerry demo --fleet`: three sites that load and differ, started together and ended together."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from console import demo_fleet
from console.cli.main import skerry
from console.demo_fleet import SITES, DemoSite, site_text, written
from console.launcher import GatewayChild
from drivers.twin.trace import read_trace
from fleet import sites
from gateway import exit_codes
from gateway.site.loader import load


def test_the_sites_load_and_differ(tmp_path: Path) -> None:
    addresses = written(tmp_path)
    assert sites.read(tmp_path / "fleet.toml").sites == tuple(addresses)
    found = [load(Path(address.site)) for address in addresses]
    assert len({site.site.name for site in found}) == len(SITES)
    assert len({site.dispatch.grid.contracted_peak_w for site in found}) == len(SITES)
    for site, address in zip(found, addresses, strict=True):
        assert site.twin is not None
        assert (site.twin.load_trace, site.twin.start_utc) == (f"{address.name}.csv", found[0].twin.start_utc)  # type: ignore[union-attr]
        assert "this-machine" not in {node.id for node in site.node}
    loads = [read_trace(tmp_path / f"{site.name}.csv") for site in SITES]
    assert len({load.start_utc_s for load in loads}) == 1, "one calendar"
    assert len({tuple(load.power_w[:5000]) for load in loads}) == len(SITES)
    assert sorted(loads[0].power_w) == sorted(loads[1].power_w), "the same record, from another day on"
    with pytest.raises(ValueError, match="colour: is not in the demo's site file"):
        site_text("[twin]\n", DemoSite("x", (), {"colour": "1"}, "", 0))


class Children:
    """Gateways that listen at once, but for those that are to fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: str = "") -> None:
        self.started: list[str] = []
        self.stopped: list[str] = []

        async def start(child: GatewayChild) -> None:
            self.started.append(child.log.parent.name)

        async def stop(child: GatewayChild) -> int:
            self.stopped.append(child.log.parent.name)
            return 0

        monkeypatch.setattr(GatewayChild, "start", start)
        monkeypatch.setattr(GatewayChild, "stop", stop)
        monkeypatch.setattr(
            GatewayChild, "ended", property(lambda child: 2 if child.log.parent.name == failing else None)
        )
        monkeypatch.setattr(demo_fleet, "listening", lambda path: failing not in str(path) or not failing)
        monkeypatch.setattr(demo_fleet, "in_terminal", lambda: True)
        monkeypatch.setattr(demo_fleet, "order_beside", lambda scene, path, speed, say: say(f"{scene.name} is told"))


NAMES = [site.name for site in SITES]


def test_it_shows_the_fleet_and_ends_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    children = Children(monkeypatch)
    monkeypatch.setattr(demo_fleet, "fresh_demo_dir", lambda: tmp_path)
    monkeypatch.setattr(demo_fleet, "fleet", lambda found, ssh: len(found))
    assert demo_fleet.demo() == len(SITES)
    assert (sorted(children.started), sorted(children.stopped)) == (sorted(NAMES), sorted(NAMES))
    assert "fjord is told" in capsys.readouterr().err


def test_all_are_ended_where_one_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    children = Children(monkeypatch, failing="office")
    monkeypatch.setattr(demo_fleet, "fresh_demo_dir", lambda: tmp_path)
    assert demo_fleet.demo() == exit_codes.FAILED
    assert sorted(children.stopped) == sorted(NAMES)
    assert "a gateway ended with exit code 2" in capsys.readouterr().err


def test_all_are_ended_where_the_screen_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(found: object, ssh: object) -> int:
        raise RuntimeError("no screen")

    children = Children(monkeypatch)
    monkeypatch.setattr(demo_fleet, "fresh_demo_dir", lambda: tmp_path)
    monkeypatch.setattr(demo_fleet, "fleet", broken)
    with pytest.raises(RuntimeError):
        demo_fleet.demo()
    assert sorted(children.stopped) == sorted(NAMES)


def test_it_takes_no_options_of_one_site_and_a_terminal() -> None:
    assert CliRunner().invoke(skerry, ["demo", "--fleet", "--headless"]).exit_code == exit_codes.USAGE
    assert demo_fleet.demo() == exit_codes.USAGE
