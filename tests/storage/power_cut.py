"""A power cut, simulated: from the log of a program's system calls, what a disk may hold at an instant.

What was synced is there. What was written since is lost, or partly there, or torn at a sector of 512 bytes. Marks that
the program writes to its standard output say what it had been promised by then.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

CALLS = "pwrite64,write,fsync,fdatasync,ftruncate,unlink,rename"
CALL = re.compile(r"^\d+\s+(\w+)\((?:1<|\d+<([^>]*)>)?(.*)\)\s+= (\d+)")
SECTOR = 512
LOST, SOME, TORN = range(3)  # what becomes of writes that were not synced


class Call(NamedTuple):
    """One system call on a file, or a mark."""

    kind: str  # write | truncate | sync | unlink | rename | mark
    name: str  # of the file, the directory itself is ""; of a mark its text
    offset: int = 0  # or length
    content: bytes = b""
    to: str = ""  # of a rename


def logged(command: Sequence[str], directory: Path, log: Path) -> list[Call]:
    """Run a program to its end under strace; its calls on files of a directory, and its marks, in order."""
    trace = ["strace", "-f", "-y", "-xx", "-s", "10000000", "-e", f"trace={CALLS}", "-o", str(log)]
    subprocess.run([*trace, *command], check=True, stdout=subprocess.DEVNULL)
    found = (_call(line, f"{directory}/") for line in _whole(log.read_text().splitlines()))
    return [call for call in found if call is not None]


def _whole(lines: Sequence[str]) -> Iterator[str]:
    """Calls on one line each, when they end: one that another thread's call interrupts has two."""
    begun: dict[str, str] = {}
    for line in lines:
        thread = line.partition(" ")[0]
        if line.endswith(" <unfinished ...>"):
            begun[thread] = line.removesuffix(" <unfinished ...>")
        elif match := re.match(r"\d+\s+<\.\.\. \w+ resumed>(.*)", line):
            yield begun.pop(thread) + match[1]
        else:
            yield line


def _call(line: str, inside: str) -> Call | None:
    match = CALL.match(line)
    if match is None:
        return None
    kind, path, rest = match[1], match[2], match[3]
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', rest)]
    numbers = [int(number) for number in re.findall(r", (\d+)", rest)]
    if kind == "write" and path is None:
        text = texts[0].decode().strip()
        return Call("mark", text) if text else None
    if kind == "unlink":
        name = texts[0].decode()
        return Call("unlink", name.removeprefix(inside)) if name.startswith(inside) else None
    if kind == "rename":
        name, to = (text.decode().removeprefix(inside) for text in texts)
        return Call("rename", name, to=to)
    path = _plain(path or "")
    if not f"{path}/".startswith(inside) or path.endswith("-shm"):
        return None
    name = path.removeprefix(inside.rstrip("/")).removeprefix("/")
    if kind == "pwrite64":
        return Call("write", name, numbers[-1], texts[0])
    if kind == "write":  # of files that are written once, from their beginning
        return Call("write", name, 0, texts[0])
    if kind == "ftruncate":
        return Call("truncate", name, numbers[-1])
    if kind in ("fsync", "fdatasync"):
        return Call("sync", name)
    raise AssertionError(f"a call that is not understood: {line[:200]}")


def _plain(path: str) -> str:
    """A path as strace shows it, in hex or not."""
    return bytes.fromhex(path.replace("\\x", "")).decode() if path.startswith("\\x") else path


def cut(calls: Sequence[Call], kind: int, chance: random.Random, out: Path) -> None:
    """Leave in `out` what a disk may hold after these calls. Files in `out` are what it held before them.

    A rename counts once the directory was synced; before, it may have happened or not.
    """
    synced = {path.name: bytearray(path.read_bytes()) for path in out.iterdir()}
    waiting: dict[str, list[Call]] = defaultdict(list)
    renames: list[Call] = []
    for call in calls:
        if call.kind in ("write", "truncate"):
            waiting[call.name].append(call)
        elif call.kind == "rename":
            renames.append(call)
        elif call.kind == "sync" and not call.name:
            _rename(synced, renames)
            renames.clear()
        elif call.kind == "sync":
            _apply(synced.setdefault(call.name, bytearray()), waiting.pop(call.name, []))
        elif call.kind == "unlink":
            synced.pop(call.name, None)
            waiting.pop(call.name, None)
    for name, writes in waiting.items():
        if kind == SOME:
            _apply(synced.setdefault(name, bytearray()), [call for call in writes if chance.random() < 0.5])
        elif kind == TORN:
            whole = chance.randrange(len(writes) + 1)
            part = [
                call._replace(content=call.content[: chance.randrange(len(call.content) + 1) // SECTOR * SECTOR])
                for call in writes[whole : whole + 1]
                if call.kind == "write"
            ]
            _apply(synced.setdefault(name, bytearray()), [*writes[:whole], *part])
    if kind != LOST and chance.random() < 0.5:
        _rename(synced, renames)
    for name, content in synced.items():
        if name and os.sep not in name:
            (out / name).write_bytes(content)


def _rename(files: dict[str, bytearray], renames: Sequence[Call]) -> None:
    for call in renames:
        if call.name in files:
            files[call.to] = files.pop(call.name)


def _apply(content: bytearray, calls: Sequence[Call]) -> None:
    for call in calls:
        if call.kind == "truncate":
            del content[call.offset :]
            content.extend(bytes(call.offset - len(content)))
        else:
            content.extend(bytes(max(0, call.offset + len(call.content) - len(content))))
            content[call.offset : call.offset + len(call.content)] = call.content
