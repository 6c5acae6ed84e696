"""Debian's nats-server and PostgreSQL, without systemd, each in a directory of its own, on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

BINARIES = Path("/usr/lib/postgresql/15/bin")
LIMIT_S = 60.0
USER = "postgres"  # the server refuses to run as root


def missing() -> str:
    """Why the engines cannot run here; empty: they can."""
    absent = [name for name in ("nats-server", "setpriv") if shutil.which(name) is None]
    absent += [] if (BINARIES / "postgres").exists() else [f"{BINARIES}/postgres"]
    if absent:
        return f"not installed: {', '.join(absent)}; as root: apt-get install nats-server postgresql"
    for module in ("nats", "psycopg"):
        try:
            __import__(module)
        except ImportError:
            return f"{module} cannot be imported: pip install '.[hub]'"
    return "" if os.geteuid() == 0 else "PostgreSQL is started as its own user, which only root can do"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Engine:
    """A server process. Only what it has started is ended."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.place / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, start_new_session=True)
        end_s = time.monotonic() + LIMIT_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError((self.place / "log").read_text()[-2000:])
            time.sleep(0.02)

    def stop(self, sign: int = signal.SIGINT) -> None:
        """End it, with SIGKILL at once."""
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait(LIMIT_S)
            self._process = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError


class Nats(Engine):
    """nats-server with JetStream. `config`: more of its configuration."""

    def __init__(self, place: Path, config: str = "") -> None:
        super().__init__(place)
        place.mkdir()
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        (place / "nats.conf").write_text(
            f'host: 127.0.0.1\nport: {self.port}\nmax_payload: 8MB\njetstream {{ store_dir: "{place}/js" }}\n{config}'
        )

    def command(self) -> list[str]:
        return ["nats-server", "-c", str(self.place / "nats.conf")]

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Postgres(Engine):
    """A cluster with its socket in its own directory; `create` makes a database and gives its URL."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        place.mkdir()
        shutil.chown(place, USER, USER)
        self._run(
            str(BINARIES / "initdb"),
            "-D",
            str(place / "data"),
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--wal-segsize=1",
        )

    def start(self) -> None:
        """Start it and wait until it answers. After a kill, children of the former one hold its memory for a moment."""
        end_s = time.monotonic() + LIMIT_S
        while True:
            try:
                return super().start()
            except RuntimeError as error:
                if "still in use" not in str(error) or time.monotonic() > end_s:
                    raise
                time.sleep(0.1)

    def _as_user(self, *command: str) -> list[str]:
        return ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", *command]

    def _run(self, *command: str) -> None:
        done = subprocess.run(self._as_user(*command), cwd="/", capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def command(self) -> list[str]:
        settings = (
            "-c",
            "listen_addresses=",
            "-c",
            f"unix_socket_directories={self.place}",
            "-c",
            "max_wal_size=8MB",
            "-c",
            "min_wal_size=2MB",
        )
        return self._as_user(str(BINARIES / "postgres"), "-D", str(self.place / "data"), *settings)

    def answers(self) -> bool:
        asked = [BINARIES / "pg_isready", "-q", "-h", self.place]
        return subprocess.run(asked, check=False).returncode == 0

    def sql(self, text: str) -> None:
        """Run a statement by psql."""
        self._run("psql", "-q", "-h", str(self.place), "-c", text, "postgres")

    def url(self, name: str) -> str:
        return f"postgresql://{USER}@/{name}?host={self.place}"

    def create(self, name: str, more: str = "") -> str:
        """A new database; its URL."""
        self.sql(f"CREATE DATABASE {name} {more}")
        return self.url(name)
