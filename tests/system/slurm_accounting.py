"""A slurmdbd with a MariaDB of its own, for a Cluster that keeps accounts; only the recording needs it.

Beside `packages.txt` it takes `apt-get install --no-install-recommends slurmdbd mariadb-server`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

PROGRAMS = ("mariadbd", "mariadb-install-db", "slurmdbd", "sacct")
PATH = "/usr/sbin:/usr/bin"

SLURM_CONF = """AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[0]}
AccountingStoragePass={place}/munge.sock
AccountingStorageTRES=gres/gpu
JobAcctGatherType=jobacct_gather/linux
"""
SLURMDBD_CONF = """AuthType=auth/munge
AuthInfo=socket={place}/munge.sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports[0]}
SlurmUser=root
PidFile={place}/slurmdbd.pid
LogFile={place}/log/slurmdbd
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[1]}
StorageUser=root
StorageLoc=slurm
"""


def installed() -> bool:
    """Whether there can be accounts here."""
    return all(shutil.which(program, path=PATH) for program in PROGRAMS)


def install_database(place: Path) -> tuple[str, ...]:
    """The command that makes the files of the database, of a user root without a password."""
    return (
        "mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={place}/database",
        "--auth-root-authentication-method=normal", "--skip-test-db",
    )  # fmt: skip


def database(place: Path, port: int) -> tuple[str, ...]:
    """The command that serves it, on loopback."""
    return (
        "mariadbd", "--no-defaults", "--user=root", f"--datadir={place}/database", f"--socket={place}/database.sock",
        f"--pid-file={place}/database.pid", "--bind-address=127.0.0.1", f"--port={port}", "--skip-name-resolve",
    )  # fmt: skip


def write_files(place: Path, ports: list[int]) -> None:
    """Write slurmdbd.conf, and add to slurm.conf."""
    conf = place / "slurmdbd.conf"
    conf.write_text(SLURMDBD_CONF.format(place=place, ports=ports))
    conf.chmod(0o600)  # slurmdbd insists
    with (place / "slurm.conf").open("a") as slurm:
        slurm.write(SLURM_CONF.format(place=place, ports=ports))
