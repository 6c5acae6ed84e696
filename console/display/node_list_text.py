"""Lists of nodes that change, in words."""

from __future__ import annotations

from console.display.formats import duration
from dispatch.model.node_lists import NodeListNow


def list_text(now: NodeListNow, utc_s: float) -> str:
    """How many nodes a group has, from where, and how long ago its names were read."""
    read = "not read yet" if now.read_utc_s is None else f"read {_ago(now.read_utc_s, utc_s)}"
    return f"{now.nodes} node{'' if now.nodes == 1 else 's'} by {now.source}, {read}"


def changed_text(now: NodeListNow, utc_s: float) -> str:
    """What changed last, and which nodes are still there although they are no longer listed; empty: nothing."""
    when = "" if now.changed_utc_s is None else f"{_ago(now.changed_utc_s, utc_s)} "
    parts = [f"{when}{now.changed}"] if now.changed else []
    parts += [f"to be removed: {', '.join(now.leaving[:3])}{' …' if now.leaving[3:] else ''}"] if now.leaving else []
    return "; ".join(parts)


def list_line(now: NodeListNow, utc_s: float) -> str:
    """A list in one line: what is wrong with it before what it says."""
    wrong = f"NOT READ: {now.error}" if now.error else now.doubt
    told = (list_text(now, utc_s), wrong, changed_text(now, utc_s), now.note)
    return f"{now.group}: {'; '.join(text for text in told if text)}"


def _ago(then_utc_s: float, utc_s: float) -> str:
    return f"{duration(max(0.0, utc_s - then_utc_s))} ago"
