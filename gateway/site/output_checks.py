"""Checks of what the gateway tells others: where the page of metrics is served, whom notifications go to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import suppress

from dispatch.alarms.definitions import DEFINITIONS
from dispatch.config.cross_checks import Finding
from gateway.site.output_sections import NotifyConfig
from gateway.site.schema import Site
from gateway.site.unread import MISSING_KEY, Unreadable


def outputs(site: Site) -> Iterator[Finding]:
    """An address that is none, and one that others than this machine reach without the owner having said so."""
    for n, config in enumerate(site.notify):
        with suppress(Unreadable):
            yield from ((f"notify[{n}].{key}", value, expected) for key, value, expected in _receiver(config))
    yield from _twice(site)
    metrics = site.metrics
    if metrics is None:
        return
    try:
        address, _ = metrics.place
    except ValueError as error:
        yield "metrics.listen", metrics.listen, f"an address and a port of 1 to 65535: {error}"
        return
    if not ipaddress.ip_address(address).is_loopback and not metrics.any_address:
        yield (
            "metrics.listen",
            metrics.listen,
            "an address of loopback, such as 127.0.0.1:9469 (a Prometheus elsewhere reaches it through a proxy with "
            "TLS and a password); or any_address = true beside it",
        )


# keys of one kind of receiver, and what they are where they are not given
WEBHOOK = {"url": None, "url_credential": "", "secret_credential": "", "token_credential": "", "fingerprint": ""}
MAIL = {"host": None, "username": "", "password_credential": "", "sender": None, "to": ()}


def _receiver(config: NotifyConfig) -> Iterator[Finding]:
    """Each kind has keys of its own."""
    others = MAIL if config.kind == "webhook" else WEBHOOK
    for key, absent in others.items():
        if (value := getattr(config, key)) != absent:
            yield key, value, f'no such key with kind = "{config.kind}"'
    yield from _webhook(config) if config.kind == "webhook" else _mail(config)
    known = {definition.id for definition in DEFINITIONS}
    for name in config.alarms:
        if name not in known:
            yield "alarms", name, "names of alarms without subject, such as fuse-overload (docs/outputs.md)"


def _webhook(config: NotifyConfig) -> Iterator[Finding]:
    if (config.url is None) == (not config.url_credential):
        yield "url", config.url or MISSING_KEY, "url, or url_credential for one that is a secret; one of both"
    if config.url is not None and config.url.startswith("http:"):
        for key in ("ca", "fingerprint"):
            if getattr(config, key):
                yield key, getattr(config, key), "an https:// url with it"
        if config.token_credential:
            yield "token_credential", config.token_credential, "an https:// url: a token is not sent without TLS"


def _mail(config: NotifyConfig) -> Iterator[Finding]:
    for key in ("host", "sender", "to"):
        if not getattr(config, key):
            yield key, MISSING_KEY, f'this key, because kind is "{config.kind}"'
    if bool(config.username) != bool(config.password_credential):
        given, other = "username", "password_credential"
        given, other = (given, other) if config.username else (other, given)
        yield given, getattr(config, given), f"{other} as well, or neither"
    if config.username and config.security == "none":
        yield "security", config.security, "starttls or tls: a password is not sent without"


def _twice(site: Site) -> Iterator[Finding]:
    seen = set[str]()
    for n, config in enumerate(site.notify):
        with suppress(Unreadable):
            if config.id in seen:
                yield f"notify[{n}].id", config.id, "an id of its own among [[notify]]"
            seen.add(config.id)
