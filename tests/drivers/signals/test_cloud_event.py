"""Signed CloudEvents: what is read of them, and what is refused and why."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import PublicFormat
from signed_signals import SOURCE, b64url, ed25519_key, event, load_target, p256_key, signed

from dispatch.model.signals import Item, Quantity
from drivers.signals.cloud_event import SignalNotRead, read_signal
from drivers.signals.config import SignalSender
from drivers.signals.signature import public_key

T0 = 1_758_009_600.0  # 2025-09-16 08:00 UTC
ACME = SignalSender(id="acme", sort="market", source=SOURCE, public_key=ed25519_key())
TARGET = load_target(40, "2025-09-16T08:00:00Z", "2025-09-16T10:00:00+01:00")
VECTOR = (  # RFC 8037, appendix A.4
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki"
    "4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)
VECTOR_KEY = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def test_a_load_target_of_dsx_flex_is_read() -> None:
    message = read_signal(event(signed(TARGET)), [ACME])
    assert message.sender == "acme"
    assert message.items == (Item(Quantity.IMPORT, 40_000, T0, T0 + 3600),)
    assert len(message.digest) == 64


@pytest.mark.parametrize("form", [PublicFormat.CompressedPoint, PublicFormat.UncompressedPoint])
def test_es256_of_dsx_flex_is_checked_too(form: PublicFormat) -> None:
    acme = msgspec.structs.replace(ACME, public_key=p256_key(form))
    assert read_signal(event(signed(TARGET, "ES256")), [acme]).items[0].limit_w == 40_000


def test_the_published_vector_of_eddsa_is_good_and_no_signal() -> None:
    rfc = msgspec.structs.replace(ACME, public_key=base64.b64encode(base64.urlsafe_b64decode(VECTOR_KEY)).decode())
    with pytest.raises(SignalNotRead, match="no data of grid"):
        read_signal(event(VECTOR), [rfc])
    with pytest.raises(SignalNotRead, match="not that of public_key"):
        read_signal(event(VECTOR.replace("RXhhb", "RXhhc")), [rfc])


def test_units_and_a_target_that_is_taken_back() -> None:
    data = load_target(None, None, "2025-09-16T09:00:00Z")
    data["targets"] += load_target(0.04, None, None)["targets"]
    data["targets"][1]["load_constraint"]["unit"] = "megawatt"
    assert read_signal(event(signed(data)), [ACME]).items == (
        Item(Quantity.IMPORT, None, None, T0 + 3600),
        Item(Quantity.IMPORT, 40_000, None, None),
    )


def test_targets_for_other_feeds_are_left_out() -> None:
    acme = msgspec.structs.replace(ACME, feed_tags=("main-a",))
    data = load_target(40, None, "2025-09-16T09:00:00Z", feed_tags=["main-b"])
    with pytest.raises(SignalNotRead, match="for other feeds, expected one of main-a"):
        read_signal(event(signed(data)), [acme])
    data["targets"] += load_target(50, None, "2025-09-16T09:00:00Z", feed_tags=["main-b", "main-a"])["targets"]
    assert [item.limit_w for item in read_signal(event(signed(data)), [acme]).items] == [50_000]
    assert len(read_signal(event(signed(data)), [ACME]).items) == 2, "a site without feed_tags is any feed"


def test_limits_and_heartbeats_are_read() -> None:
    interval = {"end_time": "2025-09-16T09:00:00Z"}
    limits = [
        {"quantity": "export", "interval": interval, "limit": {"value": 5, "unit": "kilowatt"}},
        {"quantity": "charge", "interval": interval, "limit": None},
    ]
    read = read_signal(event(signed({"limits": limits}), "skerry.limit.set.v1"), [ACME])
    assert read.items == (Item(Quantity.EXPORT, 5_000, None, T0 + 3600), Item(Quantity.CHARGE, None, None, T0 + 3600))
    beat = read_signal(event(signed({"time": "2025-09-16T08:00:00Z"}), "skerry.heartbeat.v1"), [ACME])
    assert (beat.beat_utc_s, beat.items) == (T0, ())


NO_SIGNALS = [
    (b"", "no CloudEvent 1.0 with data"),
    (b"\xff{", "no CloudEvent 1.0 with data"),
    (b" " * 70_000, "70000 bytes, expected one CloudEvent of at most 65536"),
    (b'{"x":' + b"[" * 60_000, "no CloudEvent 1.0 with data: maximum recursion depth"),
    (event(b64url(b'{"x":' + b"[" * 9_000) + ".e30.AA"), "the JWS header cannot be read"),
    (event(signed(TARGET), specversion="0.3"), "no CloudEvent 1.0"),
    (event(TARGET), "acme has no group in the site file: expected signed data"),
    (event(signed(TARGET), source="//grid/v1/isv/other"), "expected that of a .*signal"),
    (event(signed(TARGET), "grid.powerstate.status.v1"), "type 'grid.powerstate.status.v1': expected grid"),
    (event(signed(TARGET), "skerry.limit.set.v1"), "no data of skerry.limit.set.v1"),
    (event(signed(TARGET, "ES256")), 'says alg "ES256", expected "EdDSA" by the key'),
    (event(signed(TARGET, header={"alg": "none"})), 'says alg "none", expected "EdDSA"'),
    (event(signed(TARGET, header={"alg": "EdDSA", "crit": ["b64"]})), "no crit"),
    (event("a.b"), "no JWS in compact serialization"),
    (event(signed(TARGET) + "AA"), "the signature has 66 bytes, expected 64"),
    (event(signed(load_target(40, None, "2025-09-16T09:00:00"))), "expected one with its offset"),
    (event(signed(load_target(2e6, None, None))), "a limit of 2e.09 W: expected at most 1e.09"),
    (event(signed(load_target(-1, None, None))), "no data of grid"),
    (event(signed({"targets": []})), "no data of grid"),
]


@pytest.mark.parametrize(("raw", "why"), NO_SIGNALS, ids=[why for _, why in NO_SIGNALS])
def test_what_is_no_signal_of_this_sender_says_what_was_expected(raw: bytes, why: str) -> None:
    with pytest.raises(SignalNotRead, match=why):
        read_signal(raw, [ACME])


def test_every_byte_of_the_signed_text_counts() -> None:
    header, payload, signature = signed(TARGET).split(".")
    other = b64url(b'{"targets":[{"interval":{},"load_constraint":null}]}')
    for data in (f"{header}.{other}.{signature}", f"{payload}.{header}.{signature}", f"{header}.{payload}.{'A' * 86}"):
        with pytest.raises(SignalNotRead):
            read_signal(event(data), [ACME])


def test_a_sender_without_a_key_is_never_believed() -> None:
    with pytest.raises(SignalNotRead, match="acme has no public_key"):
        read_signal(event(signed(TARGET)), [msgspec.structs.replace(ACME, public_key="")])


@pytest.mark.parametrize(
    "text", ["x", "AAAA", b64url(b"x" * 32)[:-2] + "!!", base64.b64encode(b"\x02" + b"\xff" * 32).decode()]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64 of a public key"):
        public_key(text)


def test_an_event_that_is_not_text_of_this_site_names_no_other_sender() -> None:
    other: Any = msgspec.structs.replace(ACME, id="other", source="//grid/v1/isv/other", public_key=p256_key())
    with pytest.raises(SignalNotRead, match='other: the JWS header says alg "EdDSA", expected "ES256"'):
        read_signal(event(signed(TARGET), source=other.source), [ACME, other])


def test_the_program_of_the_docs_signs_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "signals.md").read_text(encoding="utf-8")
    program = compile(page.partition("```python\n")[2].partition("```")[0], "sign.py", "exec")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["sign.py"])
    exec(program, {})
    key = capsys.readouterr().out.removeprefix("public_key = ").strip().strip('"')
    monkeypatch.setattr("sys.argv", ["sign.py", "40", "2025-09-16T08:00:00Z", "2025-09-16T09:00:00Z"])
    exec(program, {})
    message = read_signal(capsys.readouterr().out.encode(), [msgspec.structs.replace(ACME, public_key=key)])
    assert message.items == (Item(Quantity.IMPORT, 40_000, T0, T0 + 3600),)
    assert (tmp_path / "signal.key").stat().st_mode & 0o777 == 0o600


def test_a_member_of_the_group_of_a_sender_need_not_sign() -> None:
    acme = msgspec.structs.replace(ACME, public_key="", group="flex")
    message = read_signal(event(TARGET), [acme], {"flex"}.__contains__)
    assert (message.sender, message.group, message.items) == (
        "acme",
        "flex",
        read_signal(event(signed(TARGET)), [ACME]).items,
    )
    assert len(message.digest) == 64
    assert read_signal(event(signed(TARGET)), [msgspec.structs.replace(ACME, group="flex")]).group == "", "or may sign"
    for in_group, senders, why in (
        ({"other"}, [acme], "in the Unix group flex"),
        ({"flex"}, [ACME], "has no group in the site file"),
        ({""}, [ACME], "has no group in the site file"),
    ):
        with pytest.raises(SignalNotRead, match=why):
            read_signal(event(TARGET), senders, in_group.__contains__)
    with pytest.raises(SignalNotRead, match="in the Unix group flex"):
        read_signal(event(TARGET), [acme])
    with pytest.raises(SignalNotRead, match="nobody can sign for it"):
        read_signal(event(signed(TARGET)), [acme], {"flex"}.__contains__)
