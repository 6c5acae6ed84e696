"""`[[scheduler]]` of a site file: the keys of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_site_file import document, errors_of

from gateway.site import loader

COMMAND = {"kind": "command", "command": ["x"]}
LIMIT: dict[str, Any] = {"limit": ["x"], "limit_unit_w": 450.0}
SSH = ["ssh", "-o", "BatchMode=yes", "head01", "squeue"]

CLUSTER = {"id": "k8s", "url": "https://10.0.0.1:6443", "ca": "k8s.pem"}


def with_schedulers(*schedulers: dict[str, Any]) -> dict[str, Any]:
    return document() | {"scheduler": list(schedulers)}


def test_each_kind_is_read_by_a_command() -> None:
    site = loader.compose(
        Path("/etc/skerry/x.toml"),
        with_schedulers(
            {"id": "alpha", "kind": "slurm", "squeue": SSH, "period_s": "60 s", "cluster": "prod"},
            {"id": "farm", "kind": "command", "command": ["/usr/local/bin/jobs", "--all"]},
            {"id": "other", "kind": "file", "file": "jobs.jsonl"},
        ),
    )
    assert [s.arguments(site.path.parent) for s in site.scheduler] == [
        tuple(SSH),
        ("/usr/local/bin/jobs", "--all"),
        ("cat", "--", "/etc/skerry/jobs.jsonl"),
    ]
    assert [(s.known_as, s.period_s) for s in site.scheduler] == [("prod", 60.0), ("farm", 30.0), ("other", 30.0)]


@pytest.mark.parametrize(
    ("scheduler", "key", "expected"),
    [
        ({"kind": "command"}, "command", "the command and its arguments"),
        ({"kind": "file"}, "file", "the file with the lines"),
        ({"kind": "slurm", "file": "x"}, "file", 'no such key with kind = "slurm"'),
        ({"kind": "slurm", "tell": ["x"]}, "tell", "there tell_owners = true does that"),
        ({"kind": "file", "file": "x", "tell_owners": True}, "tell_owners", 'with it, tell = ["command"] does that'),
        ({"kind": "slurm", "command": ["x"]}, "command", 'no such key with kind = "slurm"'),
        ({"kind": "file", "file": "x", "squeue": ["ssh", "squeue"]}, "squeue", 'no such key with kind = "file"'),
        ({"kind": "slurm", "squeue": []}, "squeue", ""),
        ({"kind": "slurm", "squeue": "squeue"}, "squeue", ""),
        ({"kind": "slurm", "period_s": 10, "deadline_s": 15}, "deadline_s", "at most period_s, 10; give both"),
        ({"kind": "slurm", "period_s": 1}, "period_s", ""),
        ({"kind": "slurm", "scontrol": ["ssh", "scontrol"]}, "scontrol", "no such key without admit = true"),
        ({"kind": "slurm", "license": "kw"}, "license", "no such key without admit = true"),
        ({"kind": "slurm", "admit_to": "plan"}, "admit_to", "no such key without admit = true"),
        ({"kind": "slurm", "admit_for_h": 2.0}, "admit_for_h", "no such key without admit = true"),
        ({"kind": "slurm", "admit": True, "limit": ["x"]}, "limit", 'no such key with kind = "slurm"'),
        (COMMAND | {"admit": True, "license": "kw", **LIMIT}, "license", 'no such key with kind = "command"'),
        (COMMAND | LIMIT, "limit", "no such key without admit = true"),
        (COMMAND | {"admit": True}, "limit", "the command that sets the limit"),
        (COMMAND | {"admit": True, "limit": ["x"]}, "limit_unit_w", "what one frame draws above an idle node"),
        ({"kind": "pbs"}, "kind", ""),
        ({"kind": "kueue"}, "kubernetes", "the id of a [[kubernetes]]: k8s"),
        ({"kind": "kueue", "kubernetes": "other"}, "kubernetes", "the id of a [[kubernetes]]: k8s"),
        ({"kind": "kueue", "kubernetes": "k8s", "admit": True}, "limit", "the command that sets the limit"),
        ({"kind": "kueue", "kubernetes": "k8s", "admit": True, "license": "x"}, "license", "no such key with kind"),
        ({"kind": "kueue", "kubernetes": "k8s", "gpu_resources": ["nvidia gpu"]}, "gpu_resources", "nvidia.com/gpu"),
        ({"kind": "slurm", "kubernetes": "k8s"}, "kubernetes", 'no such key with kind = "slurm"'),
        ({"kind": "slurm", "user_label": "user"}, "user_label", 'no such key with kind = "slurm"'),
        ({"kind": "slurm", "gpu_resources": ["a"]}, "gpu_resources", 'no such key with kind = "slurm"'),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(scheduler: dict[str, Any], key: str, expected: str) -> None:
    errors = errors_of(with_schedulers({"id": "alpha"} | scheduler) | {"kubernetes": [CLUSTER]})
    assert expected in errors[f"scheduler[0].{key}"]


def test_ids_are_given_once() -> None:
    errors = errors_of(with_schedulers({"id": "a", "kind": "slurm"}, {"id": "a", "kind": "slurm"}))
    assert list(errors) == ["scheduler[1].id"]


@pytest.mark.parametrize(
    ("cluster", "key", "expected"),
    [
        ({"url": "http://10.0.0.1:8001", "ca": ""}, "url", "https; http only to this machine"),
        ({"url": "http://127.0.0.1:8001"}, "ca", "no such key, or https: else nothing is verified"),
        ({"ca": ""}, "ca", "ca or fingerprint: a cluster signs its certificates itself"),
        ({"fingerprint": "0f" * 32}, "fingerprint", "ca or fingerprint, not both"),
        ({"url": "https://user:secret@10.0.0.1"}, "url", "https://host:port of the API server"),
    ],
)
def test_a_token_goes_to_a_server_that_is_verified_only(cluster: dict[str, Any], key: str, expected: str) -> None:
    errors = errors_of(document() | {"kubernetes": [CLUSTER | cluster]})
    assert expected in errors[f"kubernetes[0].{key}"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8001", "http://localhost:8001", "http://[::1]:8001/prefix"])
def test_a_proxy_on_this_machine_needs_no_certificate(url: str) -> None:
    assert loader.compose(Path("/x.toml"), document() | {"kubernetes": [{"id": "k8s", "url": url}]}).kubernetes


@pytest.mark.parametrize(
    ("group", "key", "expected"),
    [
        ({"kubernetes": "other"}, "kubernetes", "the id of a [[kubernetes]]: k8s"),
        ({"names": ["a"], "kubernetes_selector": "gpu"}, "kubernetes_selector", "no such key, or kubernetes"),
        ({"kubernetes": "k8s", "sinfo": ["sinfo"]}, "kubernetes", "one of sinfo and kubernetes"),
    ],
)
def test_a_list_of_nodes_has_its_cluster(group: dict[str, Any], key: str, expected: str) -> None:
    pages = {"source": "exporters", "exporters": ["http://{name}:9100/metrics"]}
    errors = errors_of(document() | {"kubernetes": [CLUSTER], "nodes": [group | pages]})
    assert expected in errors[f"nodes[0].{key}"]
