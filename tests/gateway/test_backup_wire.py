"""A site backed up while its gateway runs, lost, and restored: a gateway goes on from it."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from pathlib import Path
from typing import Any

from harness import Site, a_site, site_text, until
from waiting import LIMIT_S

from gateway import exit_codes
from storage.audit_reader import rows
from storage.verify import verify


async def told(site: Site, *args: str, code: int = exit_codes.OK) -> str:
    """What a command prints, or why it was refused."""
    process = await site.run(*args)
    out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == code, (out + err).decode()
    return (out or err).decode()


async def stopped(gateway: asyncio.subprocess.Process) -> None:
    gateway.send_signal(signal.SIGTERM)
    await asyncio.wait_for(gateway.communicate(), LIMIT_S)
    assert gateway.returncode == exit_codes.OK


async def test_a_site_that_is_lost_goes_on_from_its_backup(tmp_path: Path) -> None:
    copy = tmp_path / "backup"
    async with a_site(tmp_path, site_text(extra="[orders]\nmax_s = 3600\n")) as site:
        await site.twin()
        gateway = await site.gateway()
        client = await site.client()
        await until(client, lambda p: p.decision.battery_w is not None)
        before = client.welcome.identity
        assert before is not None
        await client.request("stop", reason="before the backup")
        made = json.loads(await told(site, "backup", str(copy), "--site", str(site.path), "--json"))
        await client.request("stop", reason="after the backup")
        aim = ("restore", str(copy), "--state-dir", str(site.state_dir))
        assert "stop it first" in await told(site, *aim, "--replace", code=exit_codes.ALREADY_RUNNING)
        await stopped(gateway)
        assert made["findings"] == []
        assert verify(copy, public_key=before.public_key).ok

        shutil.rmtree(site.state_dir)
        assert "the state directory was empty" in await told(site, *aim)
        gateway = await site.gateway()
        client = await site.client()
        await until(client, lambda p: p.decision.battery_w is not None)
        now = client.welcome.identity
        assert now is not None
        assert (now.site, now.public_key) == (before.site, before.public_key)
        assert now.incarnation != before.incarnation
        published = await client.request("status")
        assert [alarm["id"] for alarm in published["alarms"] if "audit" in alarm["id"]] == []
        await stopped(gateway)
    found: list[dict[str, Any]] = rows(site.state_dir, 1000)
    reasons = [row.get("reason") for row in found if row["kind"] == "intent"]
    assert "before the backup" in reasons
    assert "after the backup" not in reasons
    kinds = [row["kind"] for row in found]
    assert kinds[kinds.index("restored") + 1] == "start"
    (said,) = [row["text"] for row in found[kinds.index("restored") :] if row["kind"] == "identity"]
    assert f"a new incarnation of the site begins, {now.incarnation}" in said
    assert verify(site.state_dir, public_key=before.public_key).findings == ()
