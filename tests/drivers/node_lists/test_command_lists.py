"""Names of nodes by commands: what sinfo prints, a file that is read again, commands that fail or hang."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.node_lists.answer import ListNotRead
from drivers.node_lists.command_lists import names_in_file, names_in_slurm, names_of_lines, names_of_sinfo

PRINTED = """gpu001=idle
gpu001=idle
gpu002=mixed-
GPU003=down*
gpu004=drained
gpu005=drained$
gpu006=allocated+
gpu007=draining@
gpu008=drained
gpu009=drained
"""


def stub(directory: Path, script: str) -> list[str]:
    path = directory / "sinfo"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return [str(path)]


def test_every_node_is_listed_and_those_that_take_no_jobs_are_told() -> None:
    listed = names_of_sinfo(PRINTED.encode(), "sinfo")
    assert listed.names == ("gpu001", "gpu002", "GPU003", *(f"gpu{n:03d}" for n in range(4, 10)))
    assert listed.note == "1 down: GPU003; 4 drained: gpu004, gpu005, gpu008 and 1 more; 1 draining: gpu007"
    assert names_of_sinfo(b"", "sinfo").names == ()


async def test_sinfo_is_called_so_that_no_shell_takes_its_arguments_apart(tmp_path: Path) -> None:
    sinfo = stub(tmp_path, 'echo "$*" >"$0.args"; echo "gpu001=idle"')
    assert (await names_in_slurm(sinfo, "gpu,long")).names == ("gpu001",)
    assert (tmp_path / "sinfo.args").read_text() == "-h -a -N -o %N=%T -p gpu,long\n"
    await names_in_slurm(sinfo, "")
    assert (tmp_path / "sinfo.args").read_text() == "-h -a -N -o %N=%T\n"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'slurm_load_partitions: Unable to contact' >&2; exit 1", "exit code 1.*Unable to contact"),
        ("echo 'Warning: motd of head01'", "expected NAME=STATE; have it print nothing else"),
        ("echo gpu001", "expected NAME=STATE"),
        ("echo gpu001=", "expected NAME=STATE"),
        ("head -c 300000 /dev/zero", "prints more than 256 KiB"),
        (r"printf 'gpu\377=idle\n'", "not UTF-8 at byte 3"),
        ("exec sleep 60", "no whole answer within 0.2 s"),
    ],
)
async def test_a_command_that_cannot_be_used_is_told(
    tmp_path: Path, script: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in script:
        monkeypatch.setattr("drivers.node_lists.command_lists.DEADLINE_S", 0.2)
    with pytest.raises(ListNotRead, match=why):
        await names_in_slurm(stub(tmp_path, script), "")


async def test_a_file_is_read_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "nodes.txt"
    path.write_text("# rack 1\ngpu[1-2]\n\nbig7   # on loan\n")
    assert (await names_in_file(str(path))).names == ("gpu1", "gpu2", "big7")
    path.write_text("gpu3\n")
    assert (await names_in_file(str(path))).names == ("gpu3",)
    path.unlink()
    with pytest.raises(ListNotRead, match="No such file"):
        await names_in_file(str(path))
    with pytest.raises(ListNotRead, match=r"nodes\.txt, line 2: expected ranges such as"):
        names_of_lines(b"a\ngpu[2-1]\n", "nodes.txt")
