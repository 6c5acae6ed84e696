"""Lists of an API server: pages, tokens, rights, and whatever else servers answer."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
from fake_cluster import EXPIRED, NODES, FakeCluster, node
from http_server import response
from test_http_client import certificate

from drivers.kubernetes import api
from drivers.kubernetes.config import KubernetesServer
from drivers.kubernetes.objects import amount_of, utc_s_of
from drivers.node_lists.answer import Listed, ListNotRead
from drivers.node_lists.kubernetes_nodes import node_names
from drivers.node_lists.make import described, names_now
from drivers.nodes.group import NodeGroup


def server_of(cluster: FakeCluster, **keys: object) -> KubernetesServer:
    return KubernetesServer(id="k8s", url=cluster.url + "/", **keys)  # type: ignore[arg-type]


async def refused(cluster: FakeCluster, directory: Path = Path(), **keys: object) -> str:
    with pytest.raises(ListNotRead) as raised:
        await node_names(server_of(cluster, **keys), "", directory)
    assert str(raised.value).isprintable()
    return str(raised.value)


async def test_nodes_come_in_pages_and_those_in_trouble_are_told() -> None:
    odd = [node("gpu03", ready="Unknown"), node("gpu04", cordoned=True)]
    many = [node(f"cpu{n:03d}", pool="cpu") for n in range(api.PAGE_OBJECTS * 2)]
    async with FakeCluster({NODES: [node("gpu01", pool="gpu"), *many, *odd]}) as cluster:
        found = await node_names(server_of(cluster), "", Path())
        assert found.names == ("gpu01", *(f"cpu{n:03d}" for n in range(100)), "gpu03", "gpu04")
        assert found.note == "1 not ready: gpu03; 1 cordoned: gpu04"
        assert [query.get("continue") for query in cluster.queries] == [None, "key+/=50", "key+/=100"]
        assert await node_names(server_of(cluster), "pool=gpu", Path()) == Listed(("gpu01",))


async def test_a_group_names_its_cluster_and_its_labels() -> None:
    group = NodeGroup(source="exporters", kubernetes="k8s", kubernetes_selector="pool=gpu")
    assert (group.changes, described(group)) == (True, "Kubernetes, k8s, pool=gpu")
    async with FakeCluster({NODES: [node("gpu01", pool="gpu"), node("cpu01")]}) as cluster:
        found = await names_now(group, [KubernetesServer(id="other", url="x"), server_of(cluster)], Path())
    assert found.names == ("gpu01",)


async def test_many_in_trouble_are_counted() -> None:
    async with FakeCluster({NODES: [node(f"n{n}", ready="False") for n in range(7)]}) as cluster:
        found = await node_names(server_of(cluster), "", Path())
    assert found.note == "7 not ready: n0, n1, n2, n3, n4 and 2 more"


async def test_a_list_whose_token_has_expired_is_begun_anew() -> None:
    nodes = [node(f"n{n}") for n in range(api.PAGE_OBJECTS + 1)]
    async with FakeCluster({NODES: nodes}) as cluster:
        cluster.tokens_expire = 2
        assert len((await node_names(server_of(cluster), "", Path())).names) == len(nodes)  # none twice
        cluster.tokens_expire = 3
        assert f"answers HTTP 410 Expired; {EXPIRED}; it was begun anew 2 times" in await refused(cluster)


async def test_a_token_is_read_anew_when_it_has_been_renewed(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    token.chmod(0o600)
    async with FakeCluster({NODES: [node("gpu01")]}) as cluster:
        cluster.token = "second"
        text = await refused(cluster, tmp_path, token_file="token")
        assert "refuses token_file = 'token' (HTTP 401); Unauthorized; has it expired?" in text
        token.write_text("second\n")
        assert (await node_names(server_of(cluster, token_file="token"), "", tmp_path)).names == ("gpu01",)
        token.chmod(0o644)
        asked = len(cluster.queries)
        assert "every user can read it (mode 0644)" in await refused(cluster, tmp_path, token_file="token")
        assert len(cluster.queries) == asked


async def test_missing_rights_are_named_by_the_server() -> None:
    async with FakeCluster({NODES: []}) as cluster:
        cluster.allowed = set()
        text = await refused(cluster)
    assert 'nodes is forbidden: User "system:serviceaccount:skerry:skerry" cannot list resource "nodes"' in text
    assert "deploy/kubernetes" in text


async def test_a_certificate_is_verified_before_the_token_goes_out(tmp_path: Path) -> None:
    pem, private, fingerprint = certificate(tmp_path)
    (tmp_path / "token").write_text("secret")
    (tmp_path / "token").chmod(0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    async with FakeCluster({NODES: [node("gpu01")]}, context) as cluster:
        cluster.token = "secret"
        for trust in ({"ca": pem.name}, {"fingerprint": fingerprint}):
            server = server_of(cluster, token_file="token", **trust)
            assert (await node_names(server, "", tmp_path)).names == ("gpu01",)
        asked = len(cluster.queries)
        assert "certificate" in await refused(cluster, tmp_path, token_file="token", fingerprint="00" * 32)
        assert len(cluster.queries) == asked


def page(**keys: object) -> bytes:
    return response(
        json.dumps({"kind": "NodeList", "metadata": {}, "items": []} | keys).encode(), kind="application/json"
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (response(b"<html>log in</html>", kind="text/html"), "sends 'text/html', expected plain text or JSON"),
        (
            response(b"", "302 Found", Location="https://login.example.org/"),
            "redirects to 'https://login.example.org/'",
        ),
        (response(b"\x00\xff{", kind="application/json"), "expected a NodeList"),
        (response(b"{}", kind="application/json"), "expected a NodeList"),
        (response(b"[" * 5000, kind="application/json"), "expected a NodeList"),
        (response(b'{"kind": "NodeList", "metadata": {}}', kind="application/json"), "missing required field `items`"),
        (page(kind="PodList"), "found a 'PodList', expected a NodeList"),
        (page(items=[{"metadata": {}}]), "a node cannot be read: Object missing required field `name`"),
        (page(items=[7]), "a node cannot be read"),
        (page(metadata={"continue": "again"}), "more than 100 objects are not read"),
        (response(b"x", "500 Error\x1b[31m"), "answers HTTP 500 Error"),
        (b"\x16\x03\x01 no HTTP\r\n\r\n", ""),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n{",
            "announces 99999999 bytes",
        ),
    ],
)
async def test_what_is_no_list_is_no_list_without_nodes(
    answer: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "MOST_OBJECTS", 100)
    async with FakeCluster({}) as cluster:
        cluster.instead[NODES] = answer
        assert words in await refused(cluster)


async def test_an_empty_list_may_be_null() -> None:
    async with FakeCluster({}) as cluster:
        cluster.instead[NODES] = page(items=None)
        assert await node_names(server_of(cluster), "", Path()) == Listed(())


async def test_a_server_that_hangs() -> None:
    async with FakeCluster({NODES: [node("n")] * 200}) as cluster:
        cluster.instead[NODES] = b""
        assert "no whole list within 0.3 s" in await refused(cluster, deadline_s=0.3)


async def test_nobody_there() -> None:
    async with FakeCluster({}) as cluster:
        url = cluster.url
    with pytest.raises(ListNotRead, match="refused"):
        await node_names(KubernetesServer(id="k8s", url=url), "", Path())


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [("4", 4), (4, 4), (0.5, 0.5), ("500m", 0.5), ("1.5", 1.5), (".5", 0.5), ("2k", 2000), ("1Ki", 1024), ("1e3", 1000),
     ("1E2", 100), ("2E", 10_000_000), ("1e400", 10_000_000), ("100n", 1e-7), ("0", 0)],
)  # fmt: skip
def test_quantities(quantity: str | int | float, amount: float) -> None:
    assert amount_of(quantity) == pytest.approx(amount, rel=1e-12)


@pytest.mark.parametrize(
    "quantity", ["", "-1", "four", "1.2.3", "1 k", "1ki", "nan", "inf", "1e9999", float("nan"), -2]
)
def test_no_quantities(quantity: str | float) -> None:
    with pytest.raises(ValueError, match="expected a quantity"):
        amount_of(quantity)


@pytest.mark.parametrize(
    "time", [None, "", "yesterday", "2026-11-30T07:14:54", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
def test_no_times(time: str | None) -> None:
    with pytest.raises(ValueError, match="expected a time"):
        utc_s_of(time)


def test_times() -> None:
    assert utc_s_of("2026-11-30T10:30:00Z") == utc_s_of("2026-11-30T11:30:00.000000+01:00") == 1796034600.0
