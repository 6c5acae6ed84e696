"""A small gateway to speak to."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from small_gateway import Running, running

from gateway.api.client import GatewayClient


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path: sockets live in it."""
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        yield Path(name)


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
