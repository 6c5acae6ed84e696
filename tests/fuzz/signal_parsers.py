"""Signals from outside: signed events as senders, files and brokers hand them in."""

from __future__ import annotations

import math
from pathlib import Path

from fuzzing import Parser, simple
from signed_signals import SOURCE, ed25519_key, event, load_target, p256_key, signed

from drivers.signals.cloud_event import SignalNotRead, read_signal
from drivers.signals.config import SignalSender
from drivers.signals.signature import BadSignature, public_key, verified

SENDERS = (
    SignalSender(id="acme", sort="market", source=SOURCE, public_key=ed25519_key()),
    SignalSender(id="fleet", sort="fleet", source="//fleet", public_key=p256_key(), group="flex"),
)
LIMIT = {
    "site": "00000000-0000-0000-0000-000000000001",
    "number": 7,
    "limits": [
        {
            "quantity": "import",
            "interval": {"end_time": "2025-09-16T09:00:00Z"},
            "limit": {"value": 4.2, "unit": "kilowatt"},
        }
    ],
}
TARGET = load_target(40, "2025-09-16T08:00:00Z", "2025-09-16T09:00:00Z", feed_tags=["main-a"])


def _signal(data: bytes, _directory: Path) -> None:
    message = read_signal(data, SENDERS, lambda _group: True)
    assert message.sender in ("acme", "fleet")
    for item in message.items:
        assert item.limit_w is None or 0 <= item.limit_w <= 1e9
        assert all(math.isfinite(t) for t in (item.start_utc_s, item.end_utc_s) if t is not None)


def _jws(data: bytes, _directory: Path) -> None:
    text = data.decode(errors="replace")
    refused = 0
    for sender in SENDERS:
        try:
            assert len(verified(text, public_key(sender.public_key)).digest) == 64
        except BadSignature:
            refused += 1
    if refused == len(SENDERS):
        raise BadSignature


PARSERS = (
    Parser(
        name="signals",
        covers=("drivers.signals.cloud_event:_decoded", "drivers.signals.signature:verified"),
        examples=lambda: [
            event(signed(TARGET)),
            event(signed({"time": "2025-09-16T08:00:00Z"}), "skerry.heartbeat.v1"),
            event(signed(LIMIT), "skerry.limit.set.v1"),
            event(signed(TARGET, "ES256"), source="//fleet"),
            event(TARGET, source="//fleet"),
        ],
        session=simple(_signal),
        errors=(SignalNotRead,),
        tree="json",
    ),
    Parser(
        name="signatures of signals",
        covers=("drivers.signals.signature:verified", "drivers.signals.signature:_verify"),
        examples=lambda: [signed(TARGET).encode(), signed(TARGET, "ES256").encode()],
        session=simple(_jws),
        errors=(BadSignature,),
    ),
)
