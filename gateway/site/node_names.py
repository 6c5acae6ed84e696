"""Finds the names of the nodes of each `[[nodes]]`: in its lists and in its file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from dispatch.config.cross_checks import Finding
from drivers.host_lists import BadNames
from drivers.nodes.group import NamedGroup, NodeGroup, expanded
from gateway.site.unread import UNREAD


def with_names(groups: Sequence[NodeGroup], path: Path) -> tuple[tuple[NodeGroup, ...], list[Finding]]:
    """Each group with all of its names in `names`, UNREAD where they cannot be found; and what is wrong with them.

    `path`: of the site file, beside which the files with names are.
    """
    found, errors = [], list[Finding]()
    for n, group in enumerate(groups):
        changing = (group.names_file, group.names_dns, group.sinfo, group.kubernetes)
        if group.names is UNREAD or any(value is UNREAD for value in changing):
            found.append(group)
            continue
        fixed, names = _names(f"nodes[{n}]", group, path, errors)
        keys = msgspec.structs.asdict(group) | {"names": names, "fixed": fixed}
        found.append(NamedGroup(**keys) if names is not UNREAD else msgspec.structs.replace(group, names=UNREAD))
    return tuple(found), errors


def _names(where: str, group: NodeGroup, path: Path, errors: list[Finding]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those of its names that never change, and all; UNREAD where they cannot be found, with an error appended."""
    lists, key = list(group.names), "names"
    try:
        fixed = expanded(tuple(lists))
        if group.names_file:
            key = "names_file"
            text = (path.parent / group.names_file).read_text(encoding="utf-8")
            lists += [bare for line in text.splitlines() if (bare := line.partition("#")[0].strip())]
        names = expanded(tuple(lists))
    except (OSError, UnicodeDecodeError) as error:
        why = f"not UTF-8 at byte {error.start}" if isinstance(error, UnicodeDecodeError) else error.strerror
        errors.append((f"{where}.{key}", group.names_file, f"a text file that can be read; {why}"))
        return (), UNREAD
    except BadNames as error:
        errors.append((f"{where}.{key}", group.names_file or list(group.names), str(error)))
        return (), UNREAD
    if not names and not (group.names_dns or group.sinfo or group.kubernetes):
        errors.append((f"{where}.names", list(group.names), "at least one name, here or in names_file"))
        return (), UNREAD
    return fixed, names
