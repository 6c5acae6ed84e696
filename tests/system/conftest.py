"""Tests against real parts of Debian: `make test-system`. No other test needs them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import slurm_cluster
from slurm_cluster import Cluster
from small_gateway import ROOT, Running, running


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """A Slurm whose hooks are those that the project ships."""
    if why := slurm_cluster.missing():
        pytest.skip(f"no Slurm: {why}")
    with tempfile.TemporaryDirectory(prefix="sk", dir="/tmp") as name:
        cluster = Cluster(Path(name), ROOT / "deploy" / "hooks")
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


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
