"""The identity of a site as a running gateway tells it, and as its record does afterwards."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from harness import Site, a_site, site_text, until
from waiting import LIMIT_S

from gateway import exit_codes
from storage.identity import IDENTITY
from storage.signing_key import KEY_FILE
from storage.verify import verify


async def identity_of(site: Site, code: int = exit_codes.OK) -> dict[str, Any]:
    """What `skerry status --json` says."""
    process = await site.run("status", "--json", "--site", str(site.path))
    out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == code, (out + err).decode()
    found: dict[str, Any] = json.loads(out)["identity"]
    return found


async def test_a_restart_keeps_it_and_the_record_tells_it(tmp_path: Path) -> None:
    async with a_site(tmp_path, site_text()) as site:
        site.environment["STATE_DIRECTORY"] = str(site.state_dir)
        await site.twin()
        gateway = await site.gateway()
        client = await site.client()
        first = await identity_of(site)
        assert first["kept"] is True
        assert client.welcome.identity is not None
        assert client.welcome.identity.site == first["site"]
        gateway.terminate()
        await asyncio.wait_for(gateway.communicate(), LIMIT_S)
        assert await identity_of(site, exit_codes.NO_GATEWAY) == first
        assert verify(site.state_dir).public_key == first["public_key"], "the audit's key"
        await site.gateway()
        await site.client()
        assert await identity_of(site) == first


async def test_a_gateway_controls_without_a_kept_identity(tmp_path: Path) -> None:
    async with a_site(tmp_path, site_text()) as site:
        (site.state_dir / IDENTITY).mkdir(parents=True)  # nothing can be kept there, by root neither
        await site.twin()
        await site.gateway()
        client = await site.client()
        await until(client, lambda p: p.decision.battery_w is not None)
        found = await identity_of(site)
        assert (found["kept"], found["public_key"]) == (False, "")
        events = await client.request("events", limit=50)
        (told,) = (e for e in events if e["subject"] == "identity")
        assert told["severity"] == "warning"
        assert f"{IDENTITY}: Is a directory" in told["text"]
        assert (site.state_dir / KEY_FILE).exists(), "the audit has its key all the same"
