"""Console tests draw recorded scenes; the pictures they compare with are the ones the README shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_textual_snapshot import normalize_svg
from textual._doc import take_svg_screenshot
from textual.app import App
from waiting import LIMIT_S

SCREENSHOTS = Path(__file__).resolve().parents[3] / "screenshots"


@pytest.fixture
def gallery(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Compare an app's picture with screenshots/NAME.svg; with `--snapshot-update`, draw that anew.

    As `snap_compare` of pytest-textual-snapshot, whose baselines cannot lie outside the tests.
    """

    def compare(name: str, app: App[Any], size: tuple[int, int], run_before: Callable[..., Any]) -> None:
        drawn = normalize_svg(take_svg_screenshot(app=app, terminal_size=size, run_before=run_before))
        picture = SCREENSHOTS / f"{name}.svg"
        if request.config.option.update_snapshots:
            picture.write_text(drawn, encoding="utf-8")
        elif not picture.exists() or picture.read_text(encoding="utf-8") != drawn:
            actual = tmp_path / picture.name
            actual.write_text(drawn, encoding="utf-8")
            pytest.fail(f"{picture} is not what the console draws now, {actual}; if that is meant: make screenshots")

    return compare


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the terminal that runs the tests changes what is drawn."""
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_FPS", "TEXTUAL_DEBUG", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Await something becoming so, letting the app work; fails after LIMIT_S."""

    async def wait(pilot: Any, reached: Callable[[], bool]) -> None:
        pause_s = 0.01
        async with asyncio.timeout(LIMIT_S):
            while not reached():
                await pilot.pause(pause_s)
                pause_s = min(2 * pause_s, 0.1)  # looking is drawing: a hundred times a second it keeps a core busy
        await pilot.pause()

    return wait
