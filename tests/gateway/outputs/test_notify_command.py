"""`skerry notify test`: by the running gateway, and without one by the site file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fake_mail import FakeMail
from small_gateway import ROOT, running

from console.cli.main import run
from gateway import exit_codes

SECTION = """
[[notify]]
id = "night"
kind = "mail"
host = "127.0.0.1"
port = {port}
security = "none"
sender = "s@example.org"
to = ["a@example.org"]
"""


async def test_without_a_gateway_the_command_sends_it_by_the_site_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "farm.toml"
    async with FakeMail() as server:
        text = (ROOT / "sites" / "render-farm.toml").read_text(encoding="utf-8")
        file.write_text(text + SECTION.format(port=server.port), encoding="utf-8")
        assert await asyncio.to_thread(run, ["notify", "test", "night", "--site", str(file)]) == exit_codes.OK
        assert capsys.readouterr().out == "ok   night: taken\n"
        assert "Nothing has happened" in server.mails[0][1]
        assert await asyncio.to_thread(run, ["notify", "test", "day", "--site", str(file)]) == exit_codes.USAGE
        assert "no receiver day in [[notify]], only: night" in capsys.readouterr().err
        server.answer = lambda line: b"550 no\r\n" if line.startswith("MAIL") else server._reply(line)
        assert await asyncio.to_thread(run, ["notify", "test", "--site", str(file)]) == exit_codes.FAILED
        assert capsys.readouterr().out.startswith("FAIL night: mail server 127.0.0.1")


async def test_a_running_gateway_sends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeMail() as server:
        section = {
            "id": "night", "kind": "mail", "host": "127.0.0.1", "port": server.port, "security": "none",
            "sender": "s@example.org", "to": ["a@example.org"],
        }  # fmt: skip
        async with running(tmp_path, tmp_path / "s.sock", notify=[section]) as there:
            assert await asyncio.to_thread(run, ["notify", "test", "--site", str(there.socket)]) == exit_codes.OK
            assert capsys.readouterr().out == "ok   night: taken\n"
            assert len(server.mails) == 1
