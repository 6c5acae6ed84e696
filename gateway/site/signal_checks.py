"""Checks of `[signals]` and `[[signal]]`: that each sender can be told from the others and can be believed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from dispatch.config.cross_checks import Finding
from dispatch.model.signals import MAY_LIMIT, Quantity, Sort
from drivers.signals.config import SignalSender
from drivers.signals.signature import public_key
from gateway.site.schema import Site
from gateway.site.unread import Unreadable


def signals(site: Site) -> Iterator[Finding]:
    """Names and sources once, keys that are keys, failsafes that can come to hold."""
    taken: dict[str, int] = {}
    for n, sender in enumerate(site.signal):
        for check in (_key, _heartbeat, _failsafes):
            with suppress(Unreadable):
                yield from ((f"signal[{n}].{key}", value, expected) for key, value, expected in check(sender))
        with suppress(Unreadable):
            yield from _once(n, sender, taken)
    yield from _ways(site)


def _ways(site: Site) -> Iterator[Finding]:
    directory, mqtt = site.signals.directory, site.signals.mqtt
    signed = any(sender.public_key for sender in site.signal)
    if directory and not signed and not any(sender.group for sender in site.signal):
        yield "signals.directory", directory, "a [[signal]] with public_key or group: files are believed by these only"
    if mqtt is not None and not signed:
        yield "signals.mqtt.topic", mqtt.topic, "a [[signal]] with public_key: messages are believed by it only"
    if mqtt is not None and mqtt.ca and not mqtt.tls:
        yield "signals.mqtt.ca", mqtt.ca, "tls = true, too: without TLS no certificate is looked at"


def _key(sender: SignalSender) -> Iterator[Finding]:
    if sender.public_key:
        try:
            public_key(sender.public_key)
        except ValueError as error:
            yield "public_key", sender.public_key, str(error)
    if (sender.public_key or sender.group) and not sender.source:
        yield "source", sender.source, "the source of its CloudEvents: by it public_key and group are found"


def _heartbeat(sender: SignalSender) -> Iterator[Finding]:
    if sender.heartbeat_s is not None and not sender.has_failsafe:
        expected = "failsafe_import_w, failsafe_export_w or failsafe_charge_w: what holds without it"
        yield "heartbeat_s", sender.heartbeat_s, expected
    if sender.heartbeat_s is not None and not (sender.public_key or sender.group):
        yield "heartbeat_s", sender.heartbeat_s, "public_key or group, too: only its own messages count as a heartbeat"


def _failsafes(sender: SignalSender) -> Iterator[Finding]:
    for key, quantity, limit_w in (
        ("failsafe_import_w", Quantity.IMPORT, sender.failsafe_import_w),
        ("failsafe_export_w", Quantity.EXPORT, sender.failsafe_export_w),
        ("failsafe_charge_w", Quantity.CHARGE, sender.failsafe_charge_w),
    ):
        if limit_w is None:
            continue
        if sender.heartbeat_s is None:
            yield key, limit_w, "heartbeat_s, too: after how long it holds"
        if quantity not in MAY_LIMIT[Sort(sender.sort)]:
            yield key, limit_w, f'no such key: a sender with sort = "{sender.sort}" may not limit {quantity.value}'


def _once(n: int, sender: SignalSender, taken: dict[str, int]) -> Iterator[Finding]:
    # neither source nor type is signed: with one key for two senders anybody could make a fleet limit an obligation
    for key, value in (("id", sender.id), ("source", sender.source), ("public_key", sender.public_key)):
        if value and taken.setdefault(f"{key} {value}", n) != n:
            yield f"signal[{n}].{key}", value, f"one of its own; signal[{taken[f'{key} {value}']}] has it already"
