"""Which sites are meant, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.sites import FleetFile, FleetFileError, SiteAddress, address, chosen, parse, read

FILE = b"""
ssh = ["ssh", "-F", "/etc/skerry/ssh_config"]
[[site]]
name = "fjord"
host = "ops@fjord.example"
tags = ["north", "hydro"]
[[site]]
name = "delta"
host = "delta"
site = "/etc/skerry/site.toml"
tags = ["south"]
[[site]]
name = "here"
site = "/etc/skerry/site.toml"
"""


def test_a_file_lists_sites_with_tags_and_the_program() -> None:
    found = parse(FILE, "fleet.toml")
    assert found.ssh == ("ssh", "-F", "/etc/skerry/ssh_config")
    assert [(s.name, s.host, s.site) for s in found.sites] == [
        ("fjord", "ops@fjord.example", ""),
        ("delta", "delta", "/etc/skerry/site.toml"),
        ("here", "", "/etc/skerry/site.toml"),
    ]
    assert [s.name for s in chosen((), found)] == ["fjord", "delta", "here"]
    assert [s.name for s in chosen(("north", "delta", "fjord"), found)] == ["fjord", "delta"]
    assert chosen(("ops@x", "delta"), found)[0] == SiteAddress("ops@x", "ops@x")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("ops@fjord", SiteAddress("ops@fjord", "ops@fjord")),
        ("ops@fjord:/etc/s.toml", SiteAddress("ops@fjord:/etc/s.toml", "ops@fjord", "/etc/s.toml")),
        ("fjord:", SiteAddress("fjord:", "fjord")),
        ("fjord:s.toml", SiteAddress("fjord:s.toml", "fjord", "s.toml")),
        ("sites/demo.toml", SiteAddress("demo", "", "sites/demo.toml")),
        ("/run/skerry/a.sock", SiteAddress("a", "", "/run/skerry/a.sock")),
    ],
)
def test_an_argument_is_an_address(argument: str, expected: SiteAddress) -> None:
    assert address(argument) == expected


@pytest.mark.parametrize(
    "argument", ["fjord", "-oProxyCommand=x@y", "a b@c", "x@-oProxyCommand=y", "$(id)@x", "x@y:-oops", "x@y:\x1b[2J"]
)
def test_what_is_no_address_is_refused(argument: str) -> None:
    with pytest.raises(FleetFileError, match="expected"):
        address(argument)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[[site]]\nname = 3", "Expected `str`"),
        (b"[[site]]\nhost = 'a'", "name"),
        (b"[[site]]\nname = 'a'\nhos = 'b'", "hos"),
        (b"[[site]]\nname = 'a'\nhost = '-oProxyCommand=x'", "host or user@host"),
        (b"[[site]]\nname = 'a'\n[[site]]\nname = 'a'", "more than one site is called a"),
        (b"[[site]]\nname = ''", "expected a text that can be shown"),
        (b"ssh = []", "the program and its options"),
        (b"\xff", "utf-8"),
        (b"[[", "fleet.toml"),
    ],
)
def test_a_file_with_a_mistake_says_where(content: bytes, said: str) -> None:
    with pytest.raises(FleetFileError, match=said):
        parse(content, "fleet.toml")


def test_a_file_is_read_and_a_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_bytes(FILE)
    assert len(read(path).sites) == 3
    with pytest.raises(FleetFileError, match="more than one"):
        chosen(("a/x.toml", "b/x.toml"), FleetFile())
