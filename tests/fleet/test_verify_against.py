"""`skerry verify --against`: an audit whose end was rewritten with the site's key does not fit what was collected."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli.failures import Failure
from console.cli.records import verify
from drivers.clock import VirtualClock
from fleet.store import HubFile
from gateway import exit_codes
from storage import audit_format, identity
from storage.audit import AuditLog
from storage.signing_key import KEY_FILE


def audit(directory: Path, *texts: str) -> tuple[int, bytes]:
    """Rows appended to the audit; the head after them."""
    log = AuditLog(directory, "boot/1", VirtualClock(1e9), lambda line: None)
    try:
        for text in texts:
            log.write({"kind": "note", "who": "test", "text": text})
    finally:
        log.close()
    con = audit_format.open_read_only(directory / audit_format.FILE)
    try:
        return audit_format.last(con)
    finally:
        con.close()


def verified(directory: Path, hub: Path | str) -> tuple[object, str]:
    found = CliRunner().invoke(verify, [str(directory), "--against", str(hub)], standalone_mode=False)
    if found.exception is not None:
        raise found.exception
    return found.return_value, found.output


def test_a_rewritten_end_shows(tmp_path: Path) -> None:
    site, forged, hub = tmp_path / "site", tmp_path / "forged", tmp_path / "hub"
    site.mkdir()
    found, _ = identity.establish(site)
    with pytest.raises(Failure, match="there is no history of a fleet"):
        verified(site, tmp_path)
    seq, digest = audit(site, "one", "two", "three")
    store = HubFile(hub)
    with pytest.raises(Failure, match="no head of the audit of site"):
        verified(site, hub)
    store.put_head(found.site, seq, digest, 1.0)
    store.close()
    audit(site, "four")
    assert verified(site, hub)[0] == exit_codes.OK
    forged.mkdir()
    for name in (identity.IDENTITY, identity.INCARNATION, KEY_FILE):
        shutil.copy2(site / name, forged)
    audit(forged, "one", "two", "another", "four")
    code, said = verified(forged, hub)
    assert code == exit_codes.FAILED
    assert f"row {seq} is not the one that was noted outside as head {seq}: the chain was rewritten" in said
