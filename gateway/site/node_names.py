"""Finds the names of the nodes of each `[[nodes]]`: in its lists, which must be right, and in its file.

A file changes while a gateway runs. What cannot be used of it is left out and told, as then: no list of nodes that
another program writes may keep a gateway from starting.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from dispatch.config.cross_checks import Finding
from drivers.host_lists import BadNames, names_by_line
from drivers.nodes.group import CHANGING, MOST_NODES, NamedGroup, NodeGroup, expanded, possible_name
from gateway.site.unread import UNREAD

MOST_BYTES = 1 << 18  # of a file, as it is read later
SHOWN = 40  # characters of a name


def with_names(
    groups: Sequence[NodeGroup], path: Path, others: Collection[str] = (), room: int = MOST_NODES
) -> tuple[tuple[NodeGroup, ...], list[Finding]]:
    """Each group with all of its names in `names`, UNREAD where they cannot be found; and what is wrong with them.

    `path`: of the site file, beside which the files with names are. Of a file no name is used that is one of `others`,
    which are in small letters, or another group's; and of all files no more than `room` leaves.
    """
    found, errors, seen = list[NodeGroup](), list[Finding](), set(others)
    for n, group in enumerate(groups):
        if any(getattr(group, key) is UNREAD for key in ("names", *CHANGING)):
            found.append(group)
            continue
        fixed = _fixed(f"nodes[{n}]", group, errors)
        if fixed is None:
            found.append(msgspec.structs.replace(group, names=UNREAD))
            continue
        seen |= {name.casefold() for name in fixed}
        room -= len(fixed)
        found.append(NamedGroup(**msgspec.structs.asdict(group) | {"names": fixed, "fixed": fixed}))
    for n, group in enumerate(found):
        if isinstance(group, NamedGroup) and group.names_file:
            names, unusable = _names_of_file(path.parent / group.names_file, seen, room)
            room -= len(names)
            found[n] = msgspec.structs.replace(group, names=(*group.fixed, *names), unusable=unusable)
    return tuple(found), errors


def _fixed(where: str, group: NodeGroup, errors: list[Finding]) -> tuple[str, ...] | None:
    """Its names that never change; None where they cannot be found, with an error appended."""
    try:
        names = expanded(group.names)
    except BadNames as error:
        errors.append((f"{where}.names", list(group.names), str(error)))
        return None
    if not names and not group.changes:
        errors.append((f"{where}.names", list(group.names), "at least one name, here or in names_file"))
        return None
    return names


def _names_of_file(path: Path, seen: set[str], room: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of a file that can be used, which are then in `seen`; and what is wrong with it."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = f"not UTF-8 at byte {error.start}" if isinstance(error, UnicodeDecodeError) else error.strerror
        return (), (f"{path.name}: {why}",)
    used, wrong = list[str](), list[str]()
    for number, found in names_by_line(text.splitlines()):
        line = f"{path.name}, line {number}"
        if isinstance(found, BadNames):
            wrong.append(f"{line}: expected {found}")
            continue
        for name in found:
            if why := _unusable(name, seen, len(used) < room):
                wrong.append(f"{line}: {name[:SHOWN]!r} is {why}")
            else:
                seen.add(name.casefold())
                used.append(name)
    return tuple(used), tuple(_few(wrong))


def _unusable(name: str, seen: Collection[str], room: bool) -> str:
    """Why a name cannot be one more node; empty: it can."""
    if not possible_name(name):
        return "no name of 1..63 letters, digits, dots, dashes, underscores"
    if name.casefold() in seen:
        return "there twice, or the id of another device or node"
    return "" if room else "one too many"


def _few(texts: Sequence[str]) -> Iterator[str]:
    yield from texts[:3]
    if texts[3:]:
        yield f"and {len(texts) - 3} more names"
