"""What lists of nodes print: answers of DNS, of sinfo, files."""

from __future__ import annotations

from pathlib import Path

from dns_server import SRV, A, answer, name, record, srv
from fuzzing import Parser, simple

from drivers.node_lists.answer import ListNotRead
from drivers.node_lists.command_lists import names_of_lines, names_of_sinfo
from drivers.node_lists.dns import servers_in
from drivers.node_lists.dns_message import BadMessage, answer_in, question

SERVICE, HOSTS = "_node-exporter._tcp.example.org", "gpu.example.org"


def _dns(data: bytes, _directory: Path) -> None:
    for asked in (SERVICE, HOSTS):
        try:
            found = answer_in(data, 7, asked).found
        except BadMessage:
            continue
        assert len(found) == len(set(found)) <= 2048
        assert all(0 < len(one) <= 255 for one in found)


def _printed(data: bytes, _directory: Path) -> None:
    refused = 0
    for read in (names_of_sinfo, names_of_lines):
        try:
            assert all(read(data, "here").names)
        except ListNotRead:
            refused += 1
    if refused == 2:
        raise ListNotRead


def _resolv_conf(data: bytes, directory: Path) -> None:
    path = directory / "resolv.conf"
    path.write_bytes(data)
    assert 0 < len(servers_in(path)) <= 3


PARSERS = (
    Parser(
        name="answers of DNS",
        covers=("drivers.node_lists.dns_message:answer_in", "drivers.node_lists.dns_message:_pair",
                "drivers.node_lists.dns_message:_record", "drivers.node_lists.dns_message:_name_at"),
        examples=lambda: [
            answer(
                question(7, SERVICE),
                record(SRV, srv(b"\x06gpu001\xc0\x20")),
                record(SRV, srv(name("gpu002.example.org"))),
            ),
            answer(question(7, HOSTS), record(A, bytes([10, 0, 0, 7]))),
        ],
        session=simple(_dns),
        errors=(BadMessage,),
    ),
    Parser(
        name="what commands print of nodes",
        covers=("drivers.node_lists.command_lists:_lines",),
        examples=lambda: [b"# rack\ngpu[01-03]\nbig7=down*\n", b"gpu001=idle\ngpu002=drained\n"],
        session=simple(_printed),
        errors=(ListNotRead,),
    ),
    Parser(
        name="resolv.conf",
        covers=("drivers.node_lists.dns:servers_in",),
        examples=lambda: [b"search example.org\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n"],
        session=simple(_resolv_conf),
        errors=(ListNotRead,),
    ),
)  # fmt: skip
