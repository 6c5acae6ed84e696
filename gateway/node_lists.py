"""Keeps the names of every group of nodes: those of its list, doubted where many are gone at once.

The process that reads nodes asks the lists (`list_asking.py`); this module decides which names are in force. A name
that is no longer listed stays for `REMOVED_AFTER_S`. A gateway that starts takes the names that the one before has
saved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from dispatch.model.clock import Clock
from dispatch.model.node_lists import NodeListNow
from dispatch.wording.formatting import one_line, some, span
from drivers.node_config import NodeDevice
from drivers.node_lists.make import described
from drivers.nodes.group import NamedGroup, NodeGroup, possible_name
from gateway.node_frames import ListAnswer
from gateway.site.node_checks import MOST_NODES
from gateway.site.schema import WITH_IDS, Site

STATE = "node_lists"  # under which the record keeps them
REMOVED_AFTER_S = 900.0  # real seconds after a name is no longer listed
DOUBTED_SHARE = 0.5  # of the names gone at once: looked at once more before it is believed
SAVE_S = 900.0  # how old a list on record may look at most
SHOWN = 5


class KeptList(msgspec.Struct, frozen=True):
    """The names of a list as the record keeps them."""

    names: tuple[str, ...]
    read_utc_s: float


class ListState(msgspec.Struct, frozen=True):
    """A list as it stands. `leaving`: names that are no longer listed, until when they stay, monotonic seconds."""

    names: tuple[str, ...] = ()
    leaving: dict[str, float] = {}
    read_utc_s: float | None = None
    error: str = ""
    note: str = ""
    doubt: str = ""
    changed: str = ""
    changed_utc_s: float | None = None


class Change(NamedTuple):
    """Nodes that are to be read from now on, and the ids of those that no longer are. One that differs is in both."""

    added: tuple[NodeDevice, ...] = ()
    removed: tuple[str, ...] = ()


def after_answer(before: ListState, answer: ListAnswer, utc_s: float, mono_s: float) -> ListState:
    """The list after it was asked. Names of hosts are the same in capitals; the spelling that is known stays."""
    if answer.error:
        return msgspec.structs.replace(before, error=answer.error)
    spelt = {name.casefold(): name for name in (*before.leaving, *before.names)}
    names = tuple({name.casefold(): spelt.get(name.casefold(), name) for name in answer.names}.values())
    listed, known = set(names), set(before.names)
    gone = [name for name in before.names if name not in listed]
    if gone and len(gone) > DOUBTED_SHARE * len(before.names) and not before.doubt:
        doubt = f"lists {_names(len(names))} where there were {len(before.names)}: doubted until it says so twice"
        return msgspec.structs.replace(before, error="", doubt=doubt)
    leaving = {name: until_s for name, until_s in before.leaving.items() if name not in listed}
    leaving |= dict.fromkeys(gone, mono_s + REMOVED_AFTER_S)
    changed = _changed([name for name in names if name not in known], gone)
    changed_utc_s = utc_s if changed else before.changed_utc_s
    return ListState(names, leaving, utc_s, "", answer.note, "", changed or before.changed, changed_utc_s)


def after_time(before: ListState, mono_s: float, spent: Collection[str]) -> ListState:
    """The list without the names whose time is up. `spent`: of which nothing counts any more."""
    left = {name: until_s for name, until_s in before.leaving.items() if until_s > mono_s and name not in spent}
    if len(left) == len(before.leaving):
        return before
    return msgspec.structs.replace(before, leaving=left)


def news(before: ListState, now: ListState, source: str, utc_s: float) -> Iterator[tuple[str, str]]:
    """The events that a change of a list gives: severity and text."""
    count = _names(len(now.names))
    if now.error and not before.error:
        ago = "" if now.read_utc_s is None else span(max(0.0, utc_s - now.read_utc_s))
        stay = f"the {count} of {ago} ago stay" if ago else "nothing is known of before"
        yield "warning", f"not read by {source}, {stay}: {now.error}"
    elif before.error and not now.error:
        yield "info", f"read again by {source}: {count}"
    if now.doubt and not before.doubt:
        yield "warning", f"{source} {now.doubt}"
    if now.names != before.names:
        gone = now.leaving.keys() - before.leaving.keys()
        stay = f"; these are removed when they no longer answer, or in {span(REMOVED_AFTER_S)}" if gone else ""
        yield "info", f"{count} by {source}; {now.changed}{stay}"


def _changed(new: Sequence[str], gone: Sequence[str]) -> str:
    parts = [f"new: {_some(new)}"] if new else []
    parts += [f"no longer listed: {_some(gone)}"] if gone else []
    return "; ".join(parts)


def _names(count: int) -> str:
    return "no name" if not count else f"{count} name{'s' if count > 1 else ''}"


def _some(names: Sequence[str]) -> str:
    return some([one_line(name) for name in names], SHOWN)


class NodeLists:
    """The groups of a site, and the nodes that they are now."""

    def __init__(
        self,
        site: Site,
        clock: Clock,
        tell: Callable[[str, str, str], None] = lambda severity, subject, text: None,
        save: Callable[[str, Any], None] = lambda key, value: None,
        kept: Mapping[str, KeptList] = {},
    ) -> None:
        """`tell` is given events: severity, subject, text. `save` keeps a value under a key in the record's memory;
        `kept`: what the gateway before has saved there.
        """
        self._clock, self._told, self._save = clock, tell, save
        self._groups = site.nodes
        others = (device for section in WITH_IDS for device in getattr(site, section))
        self._others = frozenset(str(device.id).casefold() for device in others)
        self._most = MOST_NODES - len(site.node)
        self._states = {n: self._first(group, kept) for n, group in enumerate(self._groups) if group.changes}
        self._bad: dict[int, tuple[str, ...]] = {}  # names that can be no node's
        self._refused: dict[int, str] = {}  # the message on those, and on others that are not used
        self._nodes: dict[str, tuple[int, NodeDevice]] = {}  # with the number of its group
        self._saved_utc_s = clock.utc_s()
        self._refresh()

    def _first(self, group: NodeGroup, kept: Mapping[str, KeptList]) -> ListState:
        """What is known at the start: the file as the loader has read it, or what was saved."""
        of_file = group.names[len(_fixed(group)) :]
        if of_file:
            return ListState(of_file, read_utc_s=self._clock.utc_s())
        before = kept.get(described(group))
        if before is None:
            return ListState(note="not read yet")
        return ListState(before.names, read_utc_s=before.read_utc_s, note="kept from before the start")

    @property
    def asked(self) -> tuple[int, ...]:
        """The numbers of the groups whose lists are asked."""
        return tuple(self._states)

    @property
    def nodes(self) -> tuple[NodeDevice, ...]:
        """The nodes of every group as they are now, in the site file's order."""
        return tuple(node for _, node in self._nodes.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Their ids. The same object until something has changed."""
        return self._names

    def take(self, answer: ListAnswer) -> Change:
        """A list was asked."""
        before = self._states.get(answer.group)
        if before is None:
            return Change()
        refused = self._refused[answer.group]
        answer, other = self._usable(answer)
        utc_s = self._clock.utc_s()
        now = self._states[answer.group] = after_answer(before, answer, utc_s, self._clock.mono_s() / self._clock.speed)
        same = (now.names, now.leaving) == (before.names, before.leaving) and not other
        change = Change() if same else self._refresh()
        self._show()
        self._tell(answer.group, before, now)
        if self._refused[answer.group] not in ("", refused):
            self._told("warning", f"nodes[{answer.group}]", self._refused[answer.group])
        if now.names != before.names or utc_s - self._saved_utc_s >= SAVE_S:
            self._keep(utc_s)
        return change

    def _usable(self, answer: ListAnswer) -> tuple[ListAnswer, bool]:
        """The answer without names that the group has anyway or that can be no node's; whether these are other ones."""
        if answer.error:
            return answer, False
        fixed = {name.casefold() for name in _fixed(self._groups[answer.group])}
        bad = tuple(name for name in answer.names if not possible_name(name))
        other = bad != self._bad.get(answer.group, ())
        self._bad[answer.group] = bad
        names = tuple(name for name in answer.names if possible_name(name) and name.casefold() not in fixed)
        return msgspec.structs.replace(answer, names=names), other

    def names_of(self, n: int) -> tuple[str, ...]:
        """The nodes of one group."""
        return tuple(id for id, (group_n, _) in self._nodes.items() if group_n == n)

    @property
    def leaving(self) -> tuple[str, ...]:
        """The nodes that are no longer listed."""
        return tuple(name for state in self._states.values() for name in state.leaving if name in self._nodes)

    def expire(self, spent: Collection[str]) -> Change:
        """Remove the names whose time is up, and of those that are no longer listed these."""
        mono_s = self._clock.mono_s() / self._clock.speed
        after = {n: after_time(state, mono_s, spent) for n, state in self._states.items() if state.leaving}
        if all(state is self._states[n] for n, state in after.items()):
            return Change()
        self._states |= after
        return self._refresh()

    def now(self) -> tuple[NodeListNow, ...]:
        """Every list as consoles show it. The same object until something has changed."""
        return self._shown

    def _refresh(self) -> Change:
        """Put the names in force together anew. What that changes."""
        before, seen = self._nodes, set(self._others)
        self._nodes = {}
        for n, group in enumerate(self._groups):
            state = self._states.get(n, ListState())
            wanted = (*_fixed(group), *state.names, *state.leaving)
            used, refused = self._admitted(wanted, seen, self._most - len(self._nodes))
            refused = ((self._bad.get(n, ()), "not 1..63 letters, digits, dots, dashes, underscores"), *refused)
            self._refused[n] = "; ".join(f"not used: {_some(names)}: {why}" for names, why in refused if names)
            for name in used:
                group_n, node = before.get(name, (n, None))
                self._nodes[name] = (n, node if node is not None and group_n == n else group.node(name))
        self._names = tuple(self._nodes)
        self._show()
        added = tuple(node for id, (_, node) in self._nodes.items() if before.get(id, (0, None))[1] is not node)
        removed = tuple(id for id, (_, node) in before.items() if self._nodes.get(id, (0, None))[1] is not node)
        return Change(added, removed)

    def _show(self) -> None:
        self._shown = tuple(self._list_now(n, state) for n, state in self._states.items())

    @staticmethod
    def _admitted(
        wanted: Iterable[str], seen: set[str], room: int
    ) -> tuple[list[str], tuple[tuple[Sequence[str], str], ...]]:
        """The names that can be nodes, which are then in `seen`; and others, each kind with why it is not used."""
        used, taken, over = list[str](), list[str](), list[str]()
        for name in wanted:
            if name.casefold() in seen:
                taken.append(name)
            elif len(used) >= room:
                over.append(name)
            else:
                seen.add(name.casefold())
                used.append(name)
        of_another, too_many = "the id of another device or node", f"a site has at most {MOST_NODES} nodes"
        return used, ((taken, of_another), (over, too_many))

    def _list_now(self, n: int, state: ListState) -> NodeListNow:
        return NodeListNow(
            group=f"nodes[{n}]",
            source=described(self._groups[n]),
            nodes=len(self.names_of(n)),
            read_utc_s=state.read_utc_s,
            leaving=tuple(state.leaving),
            error=state.error,
            note="; ".join(text for text in (state.note, self._refused[n]) if text),
            doubt=state.doubt,
            changed=state.changed,
            changed_utc_s=state.changed_utc_s,
        )

    def _tell(self, n: int, before: ListState, now: ListState) -> None:
        """Each change once."""
        for severity, text in news(before, now, described(self._groups[n]), self._clock.utc_s()):
            self._told(severity, f"nodes[{n}]", text)

    def _keep(self, utc_s: float) -> None:
        self._saved_utc_s = utc_s
        lists = {
            described(self._groups[n]): msgspec.to_builtins(KeptList(state.names, state.read_utc_s))
            for n, state in self._states.items()
            if state.read_utc_s is not None
        }
        self._save(STATE, lists)


def _fixed(group: NodeGroup) -> tuple[str, ...]:
    """Its names that never change."""
    return group.fixed if isinstance(group, NamedGroup) else group.names


def kept_lists(raw: Any) -> dict[str, KeptList]:
    """What an earlier gateway has saved. Raises msgspec.ValidationError."""
    return {} if raw is None else msgspec.convert(raw, dict[str, KeptList])
