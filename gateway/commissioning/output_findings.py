"""Tries once whether each output of the site file can reach its receivers. Nothing is published, nobody is notified."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

from drivers.connect_errors import system_reason
from drivers.modbus.errors import DeviceError
from drivers.mqtt.client import connected
from gateway.commissioning.findings import Finding, ok, warning
from gateway.outputs.mqtt_publisher import broker_of
from gateway.outputs.receivers import Receiver
from gateway.outputs.running import opened_receivers
from gateway.site.output_sections import MetricsConfig, MqttConfig
from gateway.site.schema import Site

PROBE = "-doctor"  # behind the client identifier: the broker ends a connection whose identifier comes again


def output_findings(site: Site, *, gateway_runs: bool) -> Iterator[Finding]:
    """`gateway_runs`: then the address of the page of metrics is taken, by it."""
    if site.metrics is not None:
        yield _metrics(site.metrics, gateway_runs)
    if site.mqtt is not None:
        yield asyncio.run(_mqtt(site.mqtt, site))
    if site.notify:
        yield from asyncio.run(_receivers(site))


def _metrics(config: MetricsConfig, gateway_runs: bool) -> Finding:
    host, port = config.place
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.settimeout(2.0)
        try:
            if gateway_runs:
                probe.connect((host, port))
            else:
                probe.bind((host, port))
        except OSError as error:
            what = "is not reached, although a gateway runs" if gateway_runs else "cannot be listened on"
            text = f"{config.listen} {what}: {system_reason(error)}"
            return warning(
                "metrics", "listen", text, "check [metrics] listen, and which program has the port: ss -ltnp"
            )
    return ok("metrics", "listen", f"http://{config.listen}/metrics " + ("is reached" if gateway_runs else "is free"))


async def _receivers(site: Site) -> list[Finding]:
    """Connect to each, with its password; no message is sent."""
    async with opened_receivers(site, site.notify) as receivers:
        return list(await asyncio.gather(*map(_receiver, receivers)))


async def _receiver(receiver: Receiver) -> Finding:
    name = f"notify {receiver.config.id}"
    try:
        await receiver.try_out()
    except DeviceError as error:
        return warning(name, "receiver", f"{error.where}: {error.what}", error.advice)
    return ok(name, "receiver", f"reached; skerry notify test {receiver.config.id} sends a message")


async def _mqtt(config: MqttConfig, site: Site) -> Finding:
    broker = broker_of(config, site.path.parent, site.site.name, PROBE)
    try:
        async with connected(broker):
            pass
    except DeviceError as error:
        return warning("mqtt", "broker", f"{error.where}: {error.what}", error.advice)
    return ok("mqtt", "broker", f"{config.host}:{config.port} takes the connection")
