"""Lists of nodes that change, in words."""

from __future__ import annotations

from console.display.formats import duration
from console.display.language import say, say_n
from dispatch.model.node_lists import NodeListNow


def list_text(now: NodeListNow, utc_s: float) -> str:
    """How many nodes a group has, from where, and how long ago its names were read."""
    read = say("nodelist.not_yet")
    if now.read_utc_s is not None:
        read = say("nodelist.read", ago=_ago(now.read_utc_s, utc_s))
    return say_n("nodelist.line", now.nodes, source=now.source, read=read)


def changed_text(now: NodeListNow, utc_s: float) -> str:
    """What changed last, and which nodes are still there although they are no longer listed; empty: nothing."""
    when = "" if now.changed_utc_s is None else f"{_ago(now.changed_utc_s, utc_s)} "
    parts = [f"{when}{now.changed}"] if now.changed else []
    leaving = ", ".join(now.leaving[:3]) + (" …" if now.leaving[3:] else "")
    parts += [say("nodelist.leaving", nodes=leaving)] if now.leaving else []
    return "; ".join(parts)


def list_line(now: NodeListNow, utc_s: float) -> str:
    """A list in one line: what is wrong with it before what it says."""
    wrong = say("nodelist.not_read", error=now.error) if now.error else now.doubt
    told = (list_text(now, utc_s), wrong, changed_text(now, utc_s), now.note)
    return f"{now.group}: {'; '.join(text for text in told if text)}"


def _ago(then_utc_s: float, utc_s: float) -> str:
    return say("nodelist.ago", duration=duration(max(0.0, utc_s - then_utc_s)))
