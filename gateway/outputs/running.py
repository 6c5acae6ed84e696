"""Makes the outputs that the site file asks for, to run beside the tick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from dispatch.model.clock import Clock
from gateway.api.protocol import Published
from gateway.outputs import metrics_page
from gateway.outputs.figures import OLD_S
from gateway.outputs.metrics_server import MetricsServer
from gateway.outputs.mqtt_publisher import MqttPublisher, broker_of
from gateway.outputs.trouble import OutputTrouble
from gateway.site.output_sections import MetricsConfig
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


def version() -> str:
    """Of Skerry, as others are told."""
    return installed() or "source"


def outputs_of(
    site: Site,
    loop: Loop,
    clock: Clock,
    trouble: OutputTrouble,
    save: Callable[[str, Any], object],
    mqtt_topics: dict[str, str],
) -> list[Work]:
    """What is to run, by name. `mqtt_topics`: what an earlier run has told Home Assistant; `save` keeps it."""
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
    return found
