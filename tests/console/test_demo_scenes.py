"""The scenes of `skerry demo`: sites that load, orders that the commands take, and that they show what they say."""

from __future__ import annotations

import socket
from datetime import datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from demo_day import DemoDay

from console.cli.main import skerry
from console.demo_scenes import SCENES, Order, Scene, give_orders, scene_named, set_in
from gateway import exit_codes
from gateway.site import paths
from gateway.site.loader import load
from gateway.site.schema import Site

ROOT = Path(__file__).parents[2]


def site_of(scene: Scene, tmp_path: Path) -> Site:
    """The demo's site as the scene starts it."""
    file = tmp_path / "demo.toml"
    file.write_text(set_in((ROOT / "sites" / "demo.toml").read_text(), scene))
    return load(file)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_scene_starts_the_demo_at_its_moment(scene: Scene, tmp_path: Path) -> None:
    twin = site_of(scene, tmp_path).twin
    assert twin is not None
    assert (twin.start_utc, twin.soc_pct) == (scene.start_utc, scene.soc_pct)
    assert datetime.fromisoformat(scene.start_utc).utcoffset() is not None


@pytest.mark.parametrize("scene", [s for s in SCENES if s.orders], ids=lambda scene: scene.name)
def test_its_orders_are_commands_with_options_they_take(scene: Scene) -> None:
    for order in scene.orders:
        command: click.Command | None = skerry
        words, context = list(order.words), click.Context(skerry)
        while isinstance(command, click.Group):
            command = command.get_command(context, words.pop(0))
        assert command is not None
        command.make_context("skerry", [*words, "--site", "demo.toml"])  # raises UsageError


def test_list_scenes_names_each_with_its_orders() -> None:
    shown = CliRunner().invoke(skerry, ["demo", "--list-scenes"])
    assert shown.exit_code == exit_codes.OK
    for scene in SCENES:
        assert f"{scene.name:<8} {scene.shows}" in shown.output
    assert "after 15 s: skerry fault outage --for 180s" in shown.output


def test_an_unknown_scene_is_refused_with_the_names() -> None:
    refused = CliRunner().invoke(skerry, ["demo", "--scene", "storm"])
    assert refused.exit_code == exit_codes.USAGE
    assert all(scene.name in refused.output for scene in SCENES)


def test_in_the_pulse_a_job_starts_and_the_battery_charges_less(tmp_path: Path) -> None:
    day = DemoDay(site_of(scene_named("pulse"), tmp_path), step_s=1.0)
    start_s = day.clock.utc_s()
    day.run_until(start_s + 24)
    before_w, charging_w = day.twin.load_w, day.decision.battery_w if day.decision else None
    day.run_until(start_s + 60)
    assert day.twin.load_w > before_w + 6_000
    assert charging_w is not None
    assert day.decision is not None
    assert day.decision.battery_w is not None
    assert charging_w < day.decision.battery_w - 5_000
    assert day.decision.battery_w < 0


def test_in_the_valley_the_spot_price_is_below_zero_and_the_battery_charges(tmp_path: Path) -> None:
    scene = scene_named("valley")
    site = site_of(scene, tmp_path)
    day = DemoDay(site, step_s=1.0)
    day.run_until(day.clock.utc_s() + 45)
    assert day.decision is not None
    assert day.decision.battery_w is not None
    assert day.decision.battery_w < -8_000
    assert day.plan is not None
    fixed = site.tariff.fee_eur_per_kwh + site.tariff.tax_eur_per_kwh
    assert day.plan.steps[0].price_eur_per_kwh < fixed


def test_an_order_that_fails_is_said_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    site_path, said = tmp_path / "demo.toml", list[str]()
    paths.socket_path(site_path).parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as gateway:
        gateway.bind(str(paths.socket_path(site_path)))
        gateway.listen()
        scene = Scene("broken", "2025-09-18T13:14:35Z", 65, "", (Order(0.0, ("fault", "storm")),))
        give_orders(scene, site_path, 10.0, said.append)
    assert len(said) == 1
    assert said[0].startswith("scene broken: skerry fault storm: exit code 2: ")
    assert "expected one of outage" in said[0]
