"""Tests against real parts of Debian: `make test-system`. No other test needs them."""

from __future__ import annotations

import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import slurm_cluster
from hub_bases import Base
from slurm_cluster import Cluster
from small_gateway import ROOT, Running, running

from benchmarks.hub_engines import Nats, Postgres

MEMORY = "/dev/shm"  # a cluster there takes a quarter of the time; nothing of these tests is about its disk


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for all tests; each takes a database of its own."""
    with tempfile.TemporaryDirectory(prefix="sk", dir=MEMORY) as name:
        Path(name).chmod(0o755)
        made = Postgres(Path(name) / "pg")
        made.start()
        yield made
        made.stop(signal.SIGQUIT)


@pytest.fixture
def nats(place: Path) -> Iterator[Nats]:
    """A nats-server with JetStream."""
    made = Nats(place / "nats")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def base(postgres: Postgres) -> Base:
    return Base(postgres, f"t{uuid.uuid4().hex}")
