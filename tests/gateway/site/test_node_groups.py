"""Nodes that are read over HTTP in a site file: one by one, in groups by name and from a file, from a Prometheus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_site_file import document, errors_of

from drivers.host_lists import BadNames
from drivers.nodes.group import expanded
from gateway.site import loader

URLS = ["http://{name}:9100/metrics", "http://{name}.gpu.example:9400/metrics"]


def with_nodes(**group: Any) -> dict[str, Any]:
    raw = document()
    raw["prometheus"] = [{"id": "prom", "url": "https://prom.example:9090/prefix", "ca": "ca.pem"}]
    raw["node"] = [
        {
            "id": "own",
            "source": "exporters",
            "exporters": ["http://own:9100/metrics"],
            "on_cap": ["cap", "{watts}"],
            "cap_w": "2 kW",
        },
        {"id": "seen", "source": "prometheus", "prometheus": "prom", "match": "10.0.0.7"},
    ]
    raw["nodes"] = [{"names": ["gpu[08-10]", "login1"], "source": "exporters", "exporters": URLS} | group]
    return raw


def test_a_group_is_a_node_for_each_name_and_is_never_ordered() -> None:
    site = loader.compose(Path("x.toml"), with_nodes(gpus=8, period_s="30 s"))
    assert [n.id for n in site.every_node] == ["own", "seen", "gpu08", "gpu09", "gpu10", "login1"]
    assert site.every_node[2].exporters == ("http://gpu08:9100/metrics", "http://gpu08.gpu.example:9400/metrics")
    assert (site.every_node[5].gpus, site.every_node[5].period_s) == (8, 30.0)
    assert [(t.id, t.cap_w, t.can_suspend, t.can_shutdown) for t in site.dispatch.nodes] == [
        ("own", 2000.0, False, False),
        ("seen", None, False, False),
    ]
    assert not site.uses_twin


def test_names_of_a_file_come_after_those_of_the_group(tmp_path: Path) -> None:
    (tmp_path / "nodes.txt").write_text("# rack 1\ngpu[1-2]\n\nbig7   # on loan\n")
    raw = with_nodes(names=["login1"], names_file="nodes.txt")
    site = loader.compose(tmp_path / "site.toml", raw)
    assert (site.nodes[0].names, site.unusable_names) == (("login1", "gpu1", "gpu2", "big7"), ())


def test_what_cannot_be_used_of_a_file_keeps_no_gateway_from_starting(tmp_path: Path) -> None:
    """As while one runs: it is left out and told."""
    lines = "gpu[1-2]\nGPU1\nLogin1\nown\nbad name\ngpu[9-8]\n" + "x" * 63 + "\nx" + "x" * 63 + "\n"
    (tmp_path / "nodes.txt").write_text(lines)
    raw = with_nodes(names=["login1"], names_file="nodes.txt")
    site = loader.compose(tmp_path / "site.toml", raw)
    assert site.nodes[0].names == ("login1", "gpu1", "gpu2", "x" * 63)
    (_, twice), (_, host), (_, own), (_, more) = site.unusable_names
    assert twice == "nodes.txt, line 2: 'GPU1' is there twice, or the id of another device or node"
    assert ("'Login1'" in host, "'own'" in own, more) == (True, True, "and 3 more names")
    raw["nodes"][0]["names_file"] = "none.txt"
    site = loader.compose(tmp_path / "site.toml", raw)
    assert (site.nodes[0].names, site.unusable_names) == (
        ("login1",), ((0, "none.txt: No such file or directory"),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"names": []}, "nodes[0].names", "at least one name"),
        ({"names": ["gpu[9-8]"]}, "nodes[0].names", "ranges such as 001-064"),
        ({"names": ["gpu[1"]}, "nodes[0].names", "a list such as gpu[001-064,070]"),
        ({"names": ["gpu[1-9999999]"]}, "nodes[0].names", "at most 1000 names"),
        ({"names": ["a", "a"]}, "nodes[0].names", "a is there twice"),
        ({"names": ["own"]}, "nodes[0].names", "an id of its own; node[0] has it already"),
        ({"names": ["pfad/../x"]}, "nodes[0].names", "letters, digits"),
        ({"exporters": ["http://gpu01:9100/metrics"]}, "nodes[0].exporters", "{name} in it"),
        ({"exporters": []}, "nodes[0].exporters", "this key"),
        ({"prometheus": "prom"}, "nodes[0].prometheus", 'no such key, or source = "prometheus"'),
        ({"exporters": ["tcp://{name}:9100"]}, "nodes[0].exporters", "pages such as http://{name}:9100/metrics"),
        ({"ca": "ca.pem"}, "nodes[0].ca", "or https: without it nothing is verified"),
        ({"source": "modbus"}, "nodes[0].source", "one of exporters, prometheus, redfish"),
        ({"cap_w": 500}, "nodes[0].cap_w", "a known key"),
    ],
)
def test_mistakes_of_a_group(changes: dict[str, Any], key: str, expected: str) -> None:
    found = errors_of(with_nodes(**changes))
    assert expected in found[key]


@pytest.mark.parametrize(
    ("node", "changes", "key", "expected"),
    [
        (
            0,
            {"exporters": ["http://user:word@own:9100/metrics"]},
            "node[0].exporters",
            "pages such as http://gpu01:9100/metrics",
        ),
        (0, {"fingerprint": "AB"}, "node[0].fingerprint", "64 hexadecimal digits"),
        (0, {"fingerprint": "0" * 64, "ca": "ca.pem"}, "node[0].fingerprint", "ca or fingerprint, not both"),
        (0, {"fingerprint": "0" * 64}, "node[0].fingerprint", "or https: without it nothing is verified"),
        (0, {"ca": "ca.pem"}, "node[0].ca", "or https: without it nothing is verified"),
        (0, {"exporters": ["http://{name}:9100/metrics"]}, "node[0].exporters", "pages such as http://gpu01:9100"),
        (1, {"prometheus": "other"}, "node[1].prometheus", "the id of a [[prometheus]]: prom"),
        (1, {"id": "prom"}, "prometheus[0].id", "an id of its own; node[1] has it already"),
    ],
)
def test_mistakes_of_a_node(node: int, changes: dict[str, Any], key: str, expected: str) -> None:
    raw = with_nodes()
    raw["node"][node] |= changes
    assert expected in errors_of(raw)[key]


@pytest.mark.parametrize(
    ("caps", "node", "key", "expected"),
    [
        ({"slowdown_pct": 10}, {}, "caps.slowdown_pct", "caps.price_eur_per_gpu_hour beside it"),
        ({}, {"slowdown_pct": 0}, "node[0].slowdown_pct", "caps.price_eur_per_gpu_hour beside it"),
        ({"partition_slowdown_pct": {"a": 0}}, {}, "caps.partition_slowdown_pct", "caps.price_eur_per_gpu_hour beside"),
        ({"price_eur_per_gpu_hour": 2, "slowdown_pct": 15}, {}, "caps.slowdown_pct", "one of 0, 10, 25, 50"),
        ({"price_eur_per_gpu_hour": 0}, {}, "caps.price_eur_per_gpu_hour", "> 0"),
        ({"throughput": [[0.5, 0.6]]}, {}, "caps.throughput", "at least two points"),
        ({}, {"throughput": [[0.5, 0.6], [0.9, 1]]}, "node[0].throughput", "the last point must be [1.0, 1.0]"),
    ],
)
def test_mistakes_of_what_caps_cost(caps: dict[str, Any], node: dict[str, Any], key: str, expected: str) -> None:
    raw = with_nodes()
    raw["caps"] = caps
    raw["node"][0] |= node
    assert expected in errors_of(raw)[key]


def test_certificates_of_some_pages_of_a_node_are_verified() -> None:
    raw = with_nodes(exporters=["https://{name}:9100/metrics", "http://{name}:9400/metrics"], ca="ca.pem")
    assert loader.compose(Path("x.toml"), raw).nodes[0].ca == "ca.pem"
    raw["prometheus"][0]["url"] = "http://prom.example:9090"
    assert "or https: without it nothing is verified" in errors_of(raw)["prometheus[0].ca"]


def test_a_page_is_of_one_node() -> None:
    raw = with_nodes()
    raw["node"][1] = {"id": "twice", "source": "exporters", "exporters": ["http://own:9100/metrics"]}
    assert "a page of its own; node[0] reads it" in errors_of(raw)["node[1].exporters"]


def test_two_groups_may_have_the_same_pages_but_no_node_twice() -> None:
    raw = with_nodes()
    raw["nodes"].append({"names": ["gpu[11-12]"], "source": "exporters", "exporters": URLS, "period_s": 1})
    assert len(loader.compose(Path("x.toml"), raw).every_node) == 8
    raw["node"][1] = {"id": "again", "source": "exporters", "exporters": ["http://gpu11:9100/metrics"]}
    assert "a page of its own; node[1] reads it" in errors_of(raw)["nodes[1].exporters"]


def test_a_site_has_at_most_some_thousand_nodes() -> None:
    raw = with_nodes(names=["a[001-998]"])
    raw["nodes"].append({"names": ["b[01-24]"], "source": "exporters", "exporters": URLS})
    assert len(loader.compose(Path("x.toml"), raw).every_node) == 1024
    raw["nodes"][1]["names"].append("b")
    assert "at most 1024 nodes on a site" in errors_of(raw)["nodes"]


def test_lists_as_slurm_writes_them() -> None:
    assert expanded(("gpu[001-003,07]-a", " login ")) == ("gpu001-a", "gpu002-a", "gpu003-a", "gpu07-a", "login")
    assert expanded(("r[1-2]n[3-4]",)) == ("r1n3", "r1n4", "r2n3", "r2n4")
    for text in ("gpu[1-2", "gpu]", "gpu[a]", "gpu[2-1]", "gpu[]", "gpu[1-500,1-501]", "a[1-40]b[1-40]", "a,b"):
        with pytest.raises(BadNames):
            expanded((text,))
