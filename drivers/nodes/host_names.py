"""Sees to it that no machine is counted as two nodes: which node a host name or a GPU's UUID belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

KEPT = 20_000  # claims that are kept although they may have lapsed: 1000 nodes of 8 GPUs make 9000


class Identities:
    """What each node says it is. A claim lapses when its node has not been read for a while."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[str, float]] = {}  # node id, until when on the event loop's clock
        self._room = KEPT  # how many are there before lapsed ones are looked for
        self._leaving: frozenset[str] = frozenset()

    def give_way(self, node_ids: Iterable[str]) -> None:
        """These nodes are no longer listed: what another one claims is theirs no more."""
        self._leaving = frozenset(node_ids)

    def was(self, node_id: str, identities: Iterable[str]) -> str:
        """Which node that is no longer listed is this machine, to be told; empty: none."""
        now_s = asyncio.get_running_loop().time()
        owners = (self._owners.get(identity, (node_id, 0.0)) for identity in identities)
        return next((id for id, until_s in owners if id != node_id and id in self._leaving and until_s > now_s), "")

    def claim(self, node_id: str, identities: Iterable[str], for_s: float) -> str:
        """Take them for this node. Returns which other node has one of them, in words; empty: none."""
        now_s, wanted = asyncio.get_running_loop().time(), tuple(identities)
        for identity in wanted:
            owner, until_s = self._owners.get(identity, (node_id, 0.0))
            if owner != node_id and until_s > now_s and owner not in self._leaving:
                return f"answers as {identity}, which is node {owner}: nothing of it is used"
        for identity in wanted:
            self._owners[identity] = (node_id, now_s + for_s)
        if len(self._owners) > self._room:  # a page may name other GPUs each time
            self._owners = {identity: claim for identity, claim in self._owners.items() if claim[1] > now_s}
            self._room = max(KEPT, 2 * len(self._owners))
        return ""
