"""Lists the nodes of a cluster by name."""

from __future__ import annotations

from pathlib import Path

import msgspec

from drivers.http.turns import at_once
from drivers.kubernetes.api import KubernetesApi, Wanted
from drivers.kubernetes.config import KubernetesServer
from drivers.kubernetes.errors import KubernetesError
from drivers.kubernetes.objects import Condition, Metadata
from drivers.node_lists.answer import Listed, ListNotRead, note_of

PATH, KIND = "/api/v1/nodes", "NodeList"
MOST_SHOWN = 5


class _Spec(msgspec.Struct, frozen=True):
    unschedulable: bool | None = None


class _Status(msgspec.Struct, frozen=True):
    conditions: tuple[Condition, ...] | None = None


class _Node(msgspec.Struct, frozen=True):
    """A node, core/v1."""

    metadata: Metadata
    spec: _Spec = _Spec()
    status: _Status = _Status()

    @property
    def ready(self) -> bool:
        """Whether its kubelet has said so lately."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions or ())


async def node_names(server: KubernetesServer, selector: str, directory: Path) -> Listed:
    """The names of the cluster's nodes as they are now, those that are not ready or cordoned among them.

    These stay in the list, as they draw power; the note names them. `selector`: labels, such as
    "node-role=gpu,zone!=test"; empty: every node. `directory`: that of the site file. Raises ListNotRead.
    """
    query = (("labelSelector", selector),) if selector else ()
    wanted = Wanted(PATH, KIND, msgspec.json.Decoder(_Node).decode, query)
    try:
        async with KubernetesApi(server, directory, server.deadline_s) as api:
            listing = await api.list(wanted, at_once)
    except KubernetesError as error:
        raise ListNotRead(str(error)) from None
    if listing.unusable:
        raise ListNotRead(f"{server.id} at {server.root}{PATH}: a node cannot be read: {listing.unusable[0]}")
    nodes = listing.made
    return Listed(tuple(node.metadata.name for node in nodes), _note(nodes))


def _note(nodes: list[_Node]) -> str:
    """Which nodes are not ready, and which take no new pods; empty: none."""
    states = {
        "not ready": [node.metadata.name for node in nodes if not node.ready],
        "cordoned": [node.metadata.name for node in nodes if node.spec.unschedulable],
    }
    return note_of(states, MOST_SHOWN)
