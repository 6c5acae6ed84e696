"""BMCs in a site file: beside exporters or alone, one account for many, no system as two nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_node_groups import with_nodes
from test_site_file import errors_of

from gateway.site import loader


def with_bmcs(*accounts: str, **group: Any) -> dict[str, Any]:
    raw = with_nodes(**{"bmc": "https://{name}-bmc"} | group)
    raw["bmc"] = [{"id": id, "user": "reader", "password_file": "bmc-password"} for id in accounts]
    return raw


def test_a_bmc_is_a_witness_beside_exporters_or_all_that_there_is() -> None:
    raw = with_bmcs("idrac")
    raw["nodes"].append({"names": ["old[1-2]"], "source": "redfish", "bmc": "https://{name}.oob.example:8443"})
    raw["nodes"].append({"names": ["n[1-2]"], "source": "redfish", "bmc": "https://manager", "bmc_system": "{name}"})
    site = loader.compose(Path("x.toml"), raw)
    found = {n.id: (n.source, n.bmc, n.bmc_system) for n in site.every_node}
    assert found["gpu08"] == ("exporters", "https://gpu08-bmc", "")
    assert found["old2"] == ("redfish", "https://old2.oob.example:8443", "")
    assert found["n2"] == ("redfish", "https://manager", "n2")
    assert (site.bmc[0].period_s, site.bmc[0].deadline_s) == (30.0, 30.0)


@pytest.mark.parametrize(
    ("accounts", "changes", "key", "expected"),
    [
        ((), {}, "nodes[0].bmc_account", "the id of a [[bmc]] with its account: there is none"),
        (("a", "b"), {}, "nodes[0].bmc_account", "the id of a [[bmc]] with its account: a, b"),
        (("a",), {"bmc_account": "c"}, "nodes[0].bmc_account", "the id of a [[bmc]] with its account: a"),
        (("a",), {"bmc": "https://gpu01-bmc"}, "nodes[0].bmc", "{name} in it"),
        (("a",), {"bmc": "http://{name}-bmc"}, "nodes[0].bmc", "https://{name}-bmc, without a path"),
        (("a",), {"bmc": "https://{name}-bmc/redfish/v1"}, "nodes[0].bmc", "without a path"),
        (("a",), {"source": "redfish", "exporters": [], "bmc": ""}, "nodes[0].bmc", "the address of its BMC"),
        (("a",), {"bmc": "", "bmc_chassis": "1"}, "nodes[0].bmc_chassis", "no such key, or bmc"),
        (("prom",), {}, "bmc[0].id", "an id of its own; prometheus[0] has it already"),
    ],
)
def test_mistakes_of_bmcs(accounts: tuple[str, ...], changes: dict[str, Any], key: str, expected: str) -> None:
    assert expected in errors_of(with_bmcs(*accounts, **changes))[key]


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"bmc": "https://gpu08-bmc/"}, "nodes[0].bmc", "a BMC of its own, or a bmc_system; node[0] reads it"),
        ({"bmc": "https://b", "bmc_fingerprint": "AB"}, "node[0].bmc_fingerprint", "64 hexadecimal digits"),
        ({"bmc": "https://b", "bmc_system": "a/b"}, "node[0].bmc_system", "the last part of its path"),
        ({"bmc": "https://user:word@b"}, "node[0].bmc", "https://host or https://host:port"),
        (
            {"bmc": "https://b", "source": "psutil", "exporters": []},
            "node[0].bmc",
            "no such key, or a source among exporters, prometheus, redfish",
        ),
    ],
)
def test_mistakes_of_a_node_s_bmc(changes: dict[str, Any], key: str, expected: str) -> None:
    raw = with_bmcs("a")
    raw["node"][0] |= changes
    assert expected in errors_of(raw)[key]


@pytest.mark.parametrize("period_s", [29, 601])
def test_a_bmc_is_not_read_more_often_than_every_30_s(period_s: float) -> None:
    raw = with_bmcs("a")
    raw["bmc"][0]["period_s"] = period_s
    assert "bmc[0].period_s" in errors_of(raw)


def capped(**changes: Any) -> dict[str, Any]:
    """A node that is capped by its BMC, beside others that are only read."""
    raw = with_bmcs("a", bmc_account="a")
    raw["bmc"].append({"id": "c", "user": "cap", "password_file": "cap-password", "may_cap": True})
    raw["node"][0] = {key: value for key, value in raw["node"][0].items() if not key.startswith("on_")}
    raw["node"][0] |= {"bmc": "https://b", "bmc_account": "c", "cap_w": 800, "cap_by": "redfish"} | changes
    return raw


def test_a_node_may_be_capped_by_its_bmc_with_an_account_for_it() -> None:
    site = loader.compose(Path("x.toml"), capped())
    assert site.node[0].terms.cap_w == 800
    assert [account.may_cap for account in site.bmc] == [False, True]
    raw = capped()
    del raw["node"][0]["cap_by"]
    assert loader.compose(Path("x.toml"), raw).node[0].terms.cap_w is None, "only where it says so"


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"bmc_account": "a"}, "node[0].bmc_account", "a [[bmc]] with may_cap = true: a is only for reading"),
        ({"on_cap": ["/bin/cap"], "on_uncap": ["/bin/uncap"]}, "node[0].on_cap", "on_cap or cap_by, not both"),
        ({"cap_w": None}, "node[0].cap_w", "this key beside cap_by"),
        ({"bmc": ""}, "node[0].bmc", "this key beside cap_by"),
        ({"bmc": "https://gpu08-bmc", "bmc_system": "2"}, "node[0].bmc_account", "the one of gpu08, which is behind"),
        ({"cap_by": "ipmi"}, "node[0].cap_by", ""),
    ],
)
def test_mistakes_of_a_cap_by_a_bmc(changes: dict[str, Any], key: str, expected: str) -> None:
    raw = capped(**changes)
    raw["node"][0] = {name: value for name, value in raw["node"][0].items() if value is not None}
    assert expected in errors_of(raw)[key]
