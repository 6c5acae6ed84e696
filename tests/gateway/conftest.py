"""A small gateway to speak to."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from small_gateway import Running, executable, running
from waiting import LIMIT_S

from gateway.api import client as client_module
from gateway.api.client import GatewayClient


@pytest.fixture(autouse=True)
def patient_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway on a busy machine answers late; that is not what these tests are about."""
    monkeypatch.setattr(client_module, "CONNECT_TIMEOUT_S", LIMIT_S)
    monkeypatch.setattr(client_module, "REQUEST_TIMEOUT_S", LIMIT_S)


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path: sockets live in it."""
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def shim(place: Path) -> Path:
    """`skerry` as one executable file."""
    return executable(place)


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `su`: no runtime directory of a login session."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")


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
