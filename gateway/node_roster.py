"""Knows which nodes over the network there are: those of the site file, and what the lists of its groups name now."""

from __future__ import annotations

from collections.abc import Callable

from drivers.node_config import OBSERVED, NodeDevice
from gateway.last_answers import LastAnswers
from gateway.node_frames import ListAnswer
from gateway.node_lists import Change, NodeLists
from gateway.shown_nodes import ShownNodes
from gateway.site.schema import Site


class NodeRoster:
    """The nodes, and what has to know of it when they are other ones."""

    def __init__(
        self,
        site: Site,
        lists: NodeLists,
        shown: ShownNodes,
        answers_of: Callable[[NodeDevice], LastAnswers],
        on_nodes: Callable[[tuple[NodeDevice, ...]], None],
    ) -> None:
        """`answers_of` makes what keeps a node's answers. `on_nodes` is called with every node of the site."""
        self._every = site.node
        self._own = tuple(node for node in site.node if node.source in OBSERVED)
        self._lists, self._shown, self._answers_of, self._on_nodes = lists, shown, answers_of, on_nodes
        for node in self.nodes:
            shown.add(answers_of(node))

    @property
    def nodes(self) -> tuple[NodeDevice, ...]:
        """Those that are read over the network now."""
        return (*self._own, *self._lists.nodes)

    @property
    def leaving(self) -> tuple[str, ...]:
        """Those that are no longer listed, and still read."""
        return self._lists.leaving

    def take(self, answer: ListAnswer) -> Change:
        """A list has answered. What that changes, which is in force already."""
        return self._in_force(self._lists.take(answer))

    def expire(self) -> Change:
        """Remove nodes that are no longer listed, once nothing counts of them any more or their time is up."""
        return self._in_force(self._lists.expire(self._shown.spent()))

    def _in_force(self, change: Change) -> Change:
        self._shown.leave(self._lists.leaving)
        if change.added or change.removed:
            self._shown.remove(change.removed)
            for node in change.added:
                self._shown.add(self._answers_of(node))
            self._on_nodes((*self._every, *self._lists.nodes))
        return change
