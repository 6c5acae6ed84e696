"""Texts from outside on a terminal: escapes do nothing, and what its encoding lacks is replaced one for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.terminal_output import ERRORS, one_line
from dispatch.wording.formatting import neutralised
from gateway import exit_codes
from gateway.api.server import LinkServer

if TYPE_CHECKING:
    from tests.console.cli.conftest import Machine


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("render\x1b[2J\x1b]0;owned\x07", "render�[2J�]0;owned�"),
        ("evil‮txt.exe", "evil�txt.exe"),  # right-to-left override
        ("a\x9b31m", "a�31m"),  # C1 control sequence introducer
        ("a\rb\bc\x7f", "a�b�c�"),
        ("no\u00a0break", "no break"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("Grüße — ▲1 ⣀", "Grüße — ▲1 ⣀"),
    ],
)
def test_what_could_steer_a_terminal_is_replaced(said: str, shown: str) -> None:
    assert neutralised(said) == shown
    assert one_line(said) == shown.replace("\n", "�")


@given(st.text())
def test_nothing_that_steers_is_left_and_no_column_moves(text: str) -> None:
    assert len(neutralised(text)) == len(text)
    assert all(c.isprintable() or c in "\n\t" for c in neutralised(text))
    assert one_line(text).isprintable() or "\t" in text


@given(st.text(st.characters(exclude_categories=("Cs",))), st.sampled_from(["ascii", "latin-1", "cp437", "cp1252"]))
def test_every_text_can_be_written_in_every_encoding_one_character_for_one(text: str, encoding: str) -> None:
    assert len(text.encode(encoding, errors=ERRORS).decode(encoding)) == len(text)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437"])
async def test_output_is_whole_on_a_terminal_of_another_encoding(
    machine: Machine, gateway: LinkServer, encoding: str
) -> None:
    machine.environment["PYTHONIOENCODING"] = encoding
    for command in (["status"], ["why"], ["plan"], ["events"], ["--help"]):
        ran = await machine.skerry(*command)
        assert (ran.code, ran.err) == (exit_codes.OK, ""), command
    lines = (await machine.skerry("status")).out.splitlines()
    assert any(line.startswith("Load") for line in lines)
    assert lines[-1].startswith("Lost")
