"""Names of nodes by DNS: records built by hand, cut, lying and circular ones, servers that are silent or refuse."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from dns_server import CNAME, SRV, A, answer, dns_server, name, record, srv

from drivers.node_lists.answer import ListNotRead
from drivers.node_lists.dns import names_in_dns, place_of, servers_in
from drivers.node_lists.dns_message import BadMessage, DnsAnswer, answer_in, question

SERVICE, HOSTS = "_node-exporter._tcp.example.org", "gpu.example.org"
ASKED = question(7, SERVICE)
DOMAIN = b"\xc0" + bytes([12 + len(name("_node-exporter._tcp")) - 1])  # a pointer to "example.org" in the question


def test_a_question_is_that_of_the_standard() -> None:
    assert bytes.fromhex("0007 0100 0001 0000 0000 0000") + name(SERVICE) + bytes.fromhex("0021 0001") == ASKED
    assert question(7, HOSTS + ".")[12:] == name(HOSTS) + bytes.fromhex("0001 0001")
    for bad in ("", "a..b", "x" * 64, ".".join(["x" * 60] * 5)):
        with pytest.raises(BadMessage, match="no name of DNS"):
            question(1, bad)


def test_targets_of_srv_records_with_compressed_names() -> None:
    message = answer(
        ASKED,
        record(SRV, srv(b"\x06gpu001" + DOMAIN)),
        record(CNAME, name("other.example")),
        record(SRV, srv(name("GPU002.example.org"))),
        record(SRV, srv(b"\x06gpu001" + DOMAIN)),
        record(SRV, srv(b"\0")),  # "." says that there is no such service
    )
    assert answer_in(message, 7, SERVICE) == DnsAnswer(("gpu001.example.org", "GPU002.example.org"))
    assert answer_in(message, 7, SERVICE.upper()) == answer_in(message, 7, SERVICE)
    assert answer_in(answer(ASKED), 7, SERVICE) == DnsAnswer()
    assert answer_in(answer(ASKED, flags=0x8380), 7, SERVICE) == DnsAnswer(truncated=True)
    assert answer_in(answer(ASKED, flags=0x8183), 7, SERVICE).refused == "knows no such name"
    assert answer_in(answer(ASKED, flags=0x818B), 7, SERVICE).refused == "answers with error 11"


def test_addresses_of_a_name() -> None:
    asked = question(9, HOSTS)
    good = answer(asked, record(A, bytes([10, 0, 0, 7])), record(28, bytes(16)), record(A, bytes([10, 0, 0, 8])))
    assert answer_in(good, 9, HOSTS) == DnsAnswer(("10.0.0.7", "10.0.0.8"))
    with pytest.raises(BadMessage, match="an address of 3 bytes"):
        answer_in(answer(asked, record(A, b"\x0a\0\0")), 9, HOSTS)


LOOP = b"\xc0" + bytes([len(ASKED) + 2 + 10 + 6])  # points at itself: behind owner, head of the record, three numbers


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"\0\x07\x81\x80", "less than a header"),
        (answer(question(8, SERVICE)), "not the answer"),
        (ASKED, "not the answer"),
        (answer(question(7, HOSTS)), "another question"),
        (answer(ASKED)[:-2], "breaks off in the question"),
        (answer(ASKED, count=1), "breaks off in a name"),
        (answer(ASKED, count=60_000), "at most 2048"),
        (answer(ASKED, record(SRV, srv(b"\0")))[:-1], "a record of 7 bytes, 6 are left"),
        (answer(ASKED, record(SRV, srv(b"\0"))[:8]), "breaks off in a record"),
        (answer(ASKED, record(SRV, b"\0" * 6)), "breaks off in a name"),
        (answer(ASKED, record(SRV, b"\0" * 4), record(SRV, srv(b"\0"))), "shorter than its target"),
        (answer(ASKED, record(SRV, srv(LOOP))), "in circles"),
        (answer(ASKED, record(SRV, srv(b"\xff\xff"))), "points forward"),
        (answer(ASKED, record(SRV, srv(b"\x41x" + bytes(80)))), "a label of kind 1"),
        (answer(ASKED, record(SRV, srv(b"\x09abc"))), "breaks off in a name"),
        (answer(ASKED, record(SRV, srv((b"\x3f" + b"x" * 63) * 5 + b"\0"))), "of more than 255 bytes"),
    ],
)
def test_what_is_no_answer_is_refused(message: bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        answer_in(message, 7, SERVICE)


def test_a_chain_of_pointers_is_followed_backwards_and_only_so_far() -> None:
    """Two steps back are a name; each step must go further back than the one before."""
    at = len(answer(ASKED)) + 12 + 6
    first = record(SRV, srv(b"\x01a\xc0\x0c"))
    second = record(SRV, srv(b"\x01b" + struct.pack("!H", 0xC000 | at)))
    assert answer_in(answer(ASKED, first, second), 7, SERVICE).found == (f"a.{SERVICE}", f"b.a.{SERVICE}")


async def test_names_come_over_udp_and_over_tcp_where_the_answer_is_cut() -> None:
    many = [record(SRV, srv(name(f"gpu{n:03d}.example.org"))) for n in range(600)]

    def by_udp(asked: bytes) -> bytes:
        if asked[12:].startswith(name(HOSTS)):
            return answer(asked, record(A, bytes([10, 0, 0, 7])))
        return answer(asked, flags=0x8380)

    async with dns_server(by_udp, lambda asked: answer(asked, *many)) as (place, asked):
        listed = await names_in_dns((SERVICE, HOSTS), place)
    assert (len(listed.names), listed.names[:2], listed.names[-1]) == (601, ("gpu000", "gpu001"), "10.0.0.7")
    assert len({question[:2] for question in asked}) == 2  # numbers are drawn by chance


@pytest.mark.parametrize(
    ("by_udp", "by_tcp", "why"),
    [
        (lambda asked: answer(asked, flags=0x8183), None, "knows no such name: look with `dig"),
        (lambda asked: b"\0" * 40, None, "sends what is no answer: not the answer"),
        (lambda asked: answer(asked, flags=0x8380), lambda asked: answer(asked, flags=0x8380), "cut over TCP, too"),
        (lambda asked: answer(asked, flags=0x8380), lambda asked: b"\0", "less than a header"),
        (lambda asked: b"", None, "did not answer within 0.05 s"),
    ],
)
async def test_a_server_that_does_not_answer_is_named(
    by_udp: object, by_tcp: object, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.node_lists.dns.WAIT_S", 0.05)
    async with dns_server(by_udp, by_tcp) as (place, asked):  # type: ignore[arg-type]
        with pytest.raises(ListNotRead, match=why) as refused:
            await names_in_dns((SERVICE,), place)
    assert "DNS server 127.0.0.1 port" in str(refused.value)
    assert len(asked) == 2


async def test_a_port_where_nobody_is_does_not_hang() -> None:
    async with dns_server(lambda asked: b"") as (place, _):
        pass
    with pytest.raises(ListNotRead, match="DNS server 127"):
        await names_in_dns((HOSTS,), place)


def test_servers_are_those_of_resolv_conf(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    text = "# made by hand\nsearch example.org\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver\n" * 2
    path.write_text(text)
    assert servers_in(path) == [("192.0.2.1", 53), ("2001:db8::1", 53), ("192.0.2.1", 53)]
    path.write_text("options edns0\n")
    with pytest.raises(ListNotRead, match="names no server: set dns_server"):
        servers_in(path)
    with pytest.raises(ListNotRead, match="No such file"):
        servers_in(tmp_path / "none")
    places = ["192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:5353", "[2001:db8::1]"]
    assert [place_of(one)[1] for one in places] == [53, 5353, 53, 5353, 53]
    assert {place_of(one)[0] for one in places[2:]} == {"2001:db8::1"}
