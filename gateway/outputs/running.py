"""Makes the outputs that the site file asks for; each runs in a task of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

from dispatch.alarms.states import Alarm
from dispatch.model.clock import Clock
from drivers.http.client import HttpClient
from gateway.api.protocol import Published
from gateway.event_sink import EventSink
from gateway.outputs import metrics_page
from gateway.outputs.figures import OLD_S
from gateway.outputs.metrics_server import MetricsServer
from gateway.outputs.mqtt_publisher import MqttPublisher, broker_of
from gateway.outputs.notice_text import Place
from gateway.outputs.notifier import Notifier
from gateway.outputs.outbox import Outbox
from gateway.outputs.receivers import Receiver, receiver_of
from gateway.outputs.trouble import OutputTrouble
from gateway.site.output_sections import MetricsConfig, NotifyConfig
from gateway.site.schema import Site
from gateway.task_supervisor import Work
from storage.version import installed


class Loop(Protocol):
    """The control loop."""

    @property
    def published(self) -> Published | None:
        """The state after the last tick; None before the first."""
        ...


class LatestTick:
    """What was published last, and how long ago."""

    def __init__(self, loop: Loop, clock: Clock) -> None:
        self._loop, self._clock = loop, clock

    def alarms(self) -> Sequence[Alarm] | None:
        """Those listed now; None where no tick of now is known."""
        found = self.now()
        return None if found is None or found[1] > OLD_S else found[0].alarms

    def shelved(self) -> frozenset[str]:
        """The ids of those that are shelved or out of service."""
        found = self.now()
        return frozenset() if found is None else frozenset(one.suppression.id for one in found[0].shelved)

    def now(self) -> tuple[Published, float] | None:
        """None before the first tick. The age is machine time, also where a twin's clock runs faster."""
        published = self._loop.published
        if published is None:
            return None
        return published, max(0.0, self._clock.mono_s() - published.snapshot.mono_s) / self._clock.speed


class MetricsPage:
    """The page of the last tick, made once for all who ask before the next one."""

    def __init__(self, config: MetricsConfig, site_name: str, latest: LatestTick) -> None:
        self._config, self._site_name, self._latest = config, site_name, latest
        self._seq, self._made = -1, ""

    def now(self) -> str | None:
        """None before the first tick."""
        found = self._latest.now()
        if found is None:
            return None
        published, age_s = found
        seq = published.snapshot.seq
        if seq != self._seq or age_s > OLD_S:
            self._made = metrics_page.page(published, self._site_name, version(), age_s, self._config.most_nodes)
            self._seq = seq
        return self._made


class Outputs(NamedTuple):
    """What the site file asks for. `background`: what is to run, by name."""

    background: list[Work]
    notifier: Notifier


def version() -> str:
    """Of Skerry, as others are told."""
    return installed() or "source"


def outputs_of(
    site: Site,
    loop: Loop,
    clock: Clock,
    events: EventSink,
    trouble: OutputTrouble,
    save: Callable[[str, Any], object],
    mqtt_topics: dict[str, str],
    outboxes: dict[str, Outbox],
) -> Outputs:
    """`mqtt_topics`: what an earlier run has told Home Assistant; `outboxes`: what it left to tell; `save` keeps both.

    There are no ticks yet: a webhook loads the HTTP client.
    """
    latest, found = LatestTick(loop, clock), list[Work]()
    if site.metrics is not None:
        found.append(
            (
                "metrics",
                MetricsServer(site.metrics.place, MetricsPage(site.metrics, site.site.name, latest).now, trouble).run,
            )
        )
    if site.mqtt is not None:
        publisher = MqttPublisher(
            site.mqtt,
            broker_of(site.mqtt, site.path.parent, site.site.name),
            site.site.name,
            version(),
            latest=latest.now,
            trouble=trouble,
            save=save,
            kept=mqtt_topics,
        )
        found.append(("mqtt", publisher.run))
    client = _client_for(site.notify)
    notifier = Notifier(
        receivers_of(site, site.notify, client),
        alarms=latest.alarms,
        shelved=latest.shelved,
        clock=clock,
        events=events,
        trouble=trouble,
        save=save,
        kept=outboxes,
        client=client,
    )
    return Outputs([*found, *notifier.background], notifier)


def receivers_of(site: Site, chosen: Sequence[NotifyConfig], client: HttpClient | None) -> list[Receiver]:
    """The receivers that sections name."""
    place = Place(site.site.name, site.site.timezone, site.uses_twin)
    return [receiver_of(config, place, site.path.parent, client) for config in chosen]


@asynccontextmanager
async def opened_receivers(site: Site, chosen: Sequence[NotifyConfig]) -> AsyncIterator[list[Receiver]]:
    """The same for a command: connections are closed at the end."""
    client = _client_for(chosen)
    if client is not None:
        client.join()
    try:
        yield receivers_of(site, chosen, client)
    finally:
        if client is not None:
            await client.leave()


def _client_for(chosen: Sequence[NotifyConfig]) -> HttpClient | None:
    if all(config.kind != "webhook" for config in chosen):
        return None
    return HttpClient()
