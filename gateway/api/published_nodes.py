"""What of a site's nodes is sent to consoles: not each GPU where there are many, or the message would be too long.

What exporters tell of jobs is not: the names of pods are for accounting alone.
"""

from __future__ import annotations

import msgspec

from dispatch.model.equipment import Node
from dispatch.model.snapshot import Snapshot

MOST_GPUS = 1024  # 0.25 kB each, of a message of 1 MiB
MOST_NODES = 256  # with each of their powers, 0.1 kB each
NOT_SENT = "too many GPUs on the site to show each"


class ConsoleNodes:
    """Shortens the nodes of one snapshot after the other; one that is the same object as before is not done again."""

    def __init__(self) -> None:
        self._before: tuple[Node, ...] = ()
        self._sent: tuple[Node, ...] = ()
        self._many = False

    def shortened(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot without single GPUs where the site has too many, and without the powers that do not count."""
        nodes = snapshot.nodes
        many = sum(len(node.gpus) for node in nodes) > MOST_GPUS
        few = not many and len(nodes) <= MOST_NODES
        if few and all(node.job_use is None for node in nodes):
            return snapshot
        if few:
            return msgspec.structs.replace(snapshot, nodes=tuple(map(_without_jobs, nodes)))
        if many != self._many or len(nodes) != len(self._before):
            self._many, self._before = many, (Node(""),) * len(nodes)
            self._sent = self._before
        triples = zip(nodes, self._before, self._sent, strict=True)
        self._sent = tuple([sent if node is was else _shortened(node, many) for node, was, sent in triples])
        self._before = nodes
        return msgspec.structs.replace(snapshot, nodes=self._sent)


def _shortened(node: Node, many_gpus: bool) -> Node:
    if many_gpus and node.gpus:
        note = f"{node.note}; {NOT_SENT}" if node.note else NOT_SENT
        return msgspec.structs.replace(node, gpus=(), powers=(), note=note, job_use=None)
    return msgspec.structs.replace(node, powers=(), job_use=None)


def _without_jobs(node: Node) -> Node:
    return node if node.job_use is None else msgspec.structs.replace(node, job_use=None)
