"""A small gateway to speak to."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from small_gateway import Running, running

from gateway.api.client import GatewayClient
from gateway.site import paths


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path: sockets live in it."""
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own: no variables, and system directories that do not exist."""
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "STATE_DIRECTORY", "XDG_STATE_HOME", "SKERRY_SITE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "_SYSTEM", place / "closed" / "skerry")
    monkeypatch.setattr(paths, "_private_dir", lambda: place / "private")


@pytest.fixture
async def there(place: Path) -> AsyncIterator[Running]:
    """A gateway that ticks."""
    async with running(place, place / "s.sock") as gateway:
        yield gateway


@pytest.fixture
async def client(there: Running) -> AsyncIterator[GatewayClient]:
    """A console's side of its link."""
    made = await GatewayClient.connect(there.socket, 0)
    yield made
    await made.close()
