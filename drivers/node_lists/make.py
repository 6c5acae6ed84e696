"""Asks for the names of a `[[nodes]]` by what its keys say, and tells in words where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drivers.kubernetes.config import KubernetesServer
from drivers.node_lists.answer import Listed, ListNotRead
from drivers.nodes.group import NodeGroup


def described(group: NodeGroup) -> str:
    """Where the names of a group come from, beside its `names`; empty: from nowhere, it does not change."""
    if group.names_file:
        return f"the file {group.names_file}"
    if group.names_dns:
        return f"DNS, {', '.join(group.names_dns)}"
    if group.sinfo:
        return f"Slurm, {' '.join(group.sinfo)}{f', partition {group.partition}' if group.partition else ''}"
    if group.kubernetes:
        return f"Kubernetes, {group.kubernetes}{f', {group.kubernetes_selector}' if group.kubernetes_selector else ''}"
    return ""


async def names_now(group: NodeGroup, clusters: Sequence[KubernetesServer], directory: Path) -> Listed:
    """The names that are listed now. `clusters`, `directory`: of the site file. Raises ListNotRead."""
    if group.names_dns:
        from drivers.node_lists.dns import names_in_dns  # here, as below: most sites have no such list

        return await names_in_dns(group.names_dns, group.dns_server)
    from drivers.node_lists.command_lists import names_in_file, names_in_slurm

    if group.names_file:
        return await names_in_file(str((directory / group.names_file).absolute()))
    if group.sinfo:
        return await names_in_slurm(group.sinfo, group.partition)
    if group.kubernetes:
        from drivers.node_lists.kubernetes_nodes import node_names

        server = next(cluster for cluster in clusters if cluster.id == group.kubernetes)
        return await node_names(server, group.kubernetes_selector, directory)
    raise ListNotRead("its section says nowhere where its names come from")  # pragma: no cover  described() is empty
