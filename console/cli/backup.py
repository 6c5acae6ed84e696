"""`skerry backup` and `skerry restore`: a site's records, audit, keys and memory in a directory, and back."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import click

from console.cli.data_source import record_of_gateway
from console.cli.failures import Failure
from console.cli.json_output import json_text
from console.value_parsers import json_option, site_option
from gateway import exit_codes

NICE = 10


@click.command()
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@site_option
@json_option
def backup(destination: Path, site: str | None, as_json: bool) -> int:
    """Copy everything a site needs to go on into the new directory DEST, also while its gateway runs.

    When none runs: the record of --site, else the one written last. Telemetry with the controller's memory, audit,
    key, identity, limits of GPUs: checked, and on the disk at the end.
    DEST holds the key that signs for the site: keep it as safe as the site itself. Exit code 1 with a backup made:
    the audit was not as it was written before, see `skerry verify DEST`.
    """
    from storage.site_backup import BackupError, back_up

    _step_back()
    shown: dict[str, int] = {}

    def progress(name: str, share: float) -> None:
        tenth = int(share * 10)
        if shown.get(name, 0) < tenth < 10:
            shown[name] = tenth
            click.echo(f"skerry: {name}: {tenth}0 % copied", err=True)

    with record_of_gateway(site) as source:
        source.archive.close()
        click.echo(f"skerry: backing up {source.shown}", err=True)
        try:
            made = back_up(source.directory, destination, progress)
        except BackupError as error:
            raise Failure(str(error)) from None
    if as_json:
        click.echo(json_text(made))
    else:
        for name, file in made.manifest["files"].items():
            click.echo(f"{destination / name}  {file['bytes']} bytes  mode {file['mode']}")
        click.echo(f"{made.size_bytes / 1e6:.1f} MB in {made.seconds:g} s, checked, on the disk")
    if made.manifest["audit"]:
        head = made.manifest["audit"]["head"]
        click.echo(f"skerry: head of the audit {head}; note it where this machine's root cannot", err=True)
    if made.left_out:
        click.echo(f"skerry: not in the backup: {', '.join(made.left_out)}", err=True)
    for line in made.findings:
        click.echo(f"skerry: the audit is not as it was written: {line}", err=True)
    return exit_codes.FAILED if made.findings else exit_codes.OK


@click.command()
@click.argument("source", metavar="BACKUP", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--site",
    type=click.Path(exists=True, dir_okay=False),
    metavar="SITE.toml",
    help="Site file: restores into its state directory.",
)
@click.option("--state-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Or this directory.")
@click.option("--replace", is_flag=True, help="Move records that are there aside, into before-restore-TIME.")
@json_option
def restore(source: Path, site: str | None, state_dir: Path | None, replace: bool, as_json: bool) -> None:
    """Put a backup into the state directory of a site whose gateway does not run.

    The site keeps its UUID and key and begins a new incarnation. A row of the audit says which backup it is from and
    which rows of the audit before are not in it.
    """
    from gateway.claims import Claims
    from gateway.instance_lock import AlreadyRunning, InstanceLock
    from storage.site_restore import RestoreError
    from storage.site_restore import restore as put_back

    directory = _directory(site, state_dir)
    claims = Claims()
    lock: InstanceLock | None = None
    try:
        real = os.path.realpath(directory)
        claims.take({f"state {real}": f"the state directory {real}"})
        if directory.is_dir():
            lock = InstanceLock(directory)
        done = put_back(source, directory, _who(), replace)
    except AlreadyRunning as error:
        raise Failure(f"{error}; stop it first", exit_codes.ALREADY_RUNNING) from None
    except RestoreError as error:
        raise Failure(str(error)) from None
    finally:
        if lock is not None:
            lock.release()
        claims.release()
    if as_json:
        click.echo(json_text(done))
        return
    click.echo(f"{done.directory}: {done.text}")
    click.echo("The next gateway there begins a new incarnation of the site.")


def _directory(site: str | None, state_dir: Path | None) -> Path:
    """The directory to restore into."""
    if (site is None) == (state_dir is None):
        raise click.UsageError("expected --site SITE.toml or --state-dir DIR")
    if state_dir is not None:
        return state_dir
    from gateway.site import paths
    from gateway.site.loader import load

    return paths.state_dir(load(Path(str(site))))


def _who() -> str:
    """Who restores, for the audit."""
    from gateway.api.peer import name_peer

    return name_peer(os.getpid(), os.getuid(), os.getgid()).who


def _step_back() -> None:
    """Let everything else on the machine have processor and disk first, as far as the kernel lets us."""
    import psutil

    with suppress(OSError):
        os.nice(NICE)
    with suppress(OSError, psutil.Error, AttributeError):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
