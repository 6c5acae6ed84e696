"""What the API server of a Kubernetes cluster answers."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
from fake_cluster import node
from fuzzing import Parser, simple
from scheduler_parsers import are_possible
from test_kueue import RUNS, pod, workload

from drivers.kubernetes.api import Listing, Wanted, message_of, page_of
from drivers.kubernetes.errors import KubernetesError
from drivers.node_lists.kubernetes_nodes import _Node, _note
from drivers.schedulers.config import GPU_RESOURCES
from drivers.schedulers.job_list import JobList
from drivers.schedulers.kueue import WORKLOAD, Pod, Workload, _keys
from drivers.schedulers.kueue_workload import Naming, job_of

KINDS = {"WorkloadList": Workload, "PodList": Pod, "NodeList": _Node}
NAMING = Naming(GPU_RESOURCES, "user")


def _page(kind: str, *items: object) -> bytes:
    return json.dumps({"kind": kind, "metadata": {"continue": "x"}, "items": items}).encode()


def _lists(data: bytes, _directory: Path) -> None:
    """Whatever it is said to be."""
    refused = list[str]()
    for kind, type in KINDS.items():
        try:
            page = page_of(data, kind, "k8s")
        except KubernetesError as error:
            refused.append(str(error))
            continue
        wanted = Wanted("/", kind, msgspec.json.Decoder(type).decode)
        listing = Listing[object]([], [])
        for item in page.items or ():
            listing.add(wanted, item)
        assert all(why.isprintable() for why in listing.unusable)
        _use(listing.made)
    assert all(why.isprintable() for why in refused)
    if len(refused) == len(KINDS):
        raise KubernetesError(refused[0])


def _use(made: list[object]) -> None:
    jobs, placed = JobList("kueue"), set[str]()
    for each in made:
        if isinstance(each, Pod):
            placed |= set(_keys(each.metadata))
        elif isinstance(each, Workload):
            try:
                jobs.add(job_of(each, "kueue", NAMING, {"a/b": "gpu01"}))
            except ValueError as error:
                jobs.note(ascii(str(error)))
    are_possible(jobs.read)
    _note([each for each in made if isinstance(each, _Node)])


def _message(data: bytes, _directory: Path) -> None:
    assert message_of(data).isprintable()


PARSERS = (
    Parser(
        name="lists of a Kubernetes API server",
        covers=("drivers.kubernetes.api:page_of",),
        examples=lambda: [
            _page("WorkloadList", workload(), workload("b", RUNS, spec={"maximumExecutionTimeSeconds": 60})),
            _page("PodList", pod("a", "gpu01"), pod("b", "gpu02", **{WORKLOAD.replace(".x-k8s.io/", "__"): "b"})),
            _page("NodeList", node("gpu01"), node("gpu02", ready="Unknown", cordoned=True)),
        ],
        session=simple(_lists),
        errors=(KubernetesError,),
        tree="json",
    ),
    Parser(
        name="errors of a Kubernetes API server",
        covers=("drivers.kubernetes.api:message_of",),
        examples=lambda: [b'{"kind": "Status", "message": "nodes is forbidden", "reason": "Forbidden", "code": 403}'],
        session=simple(_message),
        tree="json",
    ),
)
