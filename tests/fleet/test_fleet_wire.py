"""`skerry fleet` with real gateways: one on this machine, one by `skerry link --stdio` through a stand-in for ssh."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import warm_start
from small_gateway import running
from waiting import LIMIT_S

from gateway import exit_codes


async def fleet(*arguments: str) -> tuple[int, Any, str]:
    """Exit code, document and errors of `skerry fleet --json`."""
    pipe = asyncio.subprocess.PIPE
    process = await warm_start.start(["fleet", "--json", *arguments], os.environ, stdout=pipe, stderr=pipe)
    out, errors = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode is not None
    return process.returncode, json.loads(out) if out else None, errors.decode()


async def test_sites_here_and_by_ssh_and_one_whose_key_is_not_known(place: Path, ssh: Path) -> None:
    for name in ("a", "b"):
        (place / name).mkdir()
    (place / "fleet.toml").write_text(
        f'ssh = ["{ssh}"]\n'
        f'[[site]]\nname = "near"\nsite = "{place}/a.sock"\ntags = ["north"]\n'
        f'[[site]]\nname = "far"\nhost = "ops@far"\nsite = "{place}/b.sock"\n'
        '[[site]]\nname = "unknown"\nhost = "ops@unknown"\n'
    )
    async with running(place / "a", place / "a.sock"), running(place / "b", place / "b.sock"):
        code, said, errors = await fleet("--file", str(place / "fleet.toml"), "--wait", "30s")
    assert (code, errors) == (exit_codes.OK, "")
    sites = {site["name"]: site for site in said["sites"]}
    assert [sites[name]["link"] for name in ("near", "far", "unknown")] == ["live", "live", "silent"]
    assert sites["unknown"]["trouble"] == "unknown: Host key verification failed."
    assert sites["far"]["overview"]["site"] == "Small"
    assert sites["far"]["overview"]["load_w"] == 20_000.0
    assert said["sites"][0]["name"] == "unknown", "the worst first"
    assert said["sums"]["load_w"] == {"value": 40_000.0, "sites": 2}
    asked = (place / "ssh.log").read_text().splitlines()
    assert len(asked) == 2, "one connection to each host"
    for line in asked:
        assert "BatchMode=yes" in line
        assert "StrictHostKeyChecking=yes" in line
    assert f"ops@far skerry link --stdio --site {place}/b.sock" in "\n".join(asked)


async def test_without_an_answer_and_without_sites(place: Path, ssh: Path) -> None:
    code, said, _ = await fleet("--ssh", str(ssh), "ops@unknown", "--wait", "30s")
    assert (code, said["sums"]["live"], said["sums"]["silent"]) == (exit_codes.NO_GATEWAY, 0, 1)
    code, said, errors = await fleet()
    assert (code, said) == (exit_codes.USAGE, None)
    assert "expected a SITE, or sites in" in errors
