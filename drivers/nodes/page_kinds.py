"""Remembers which pages of nodes tell nothing of power: what a page that never answered is, other nodes' pages show."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from drivers.nodes.metrics import Figures

MOST_PLACES = 256


def place_of(url: str, node: str) -> str:
    """Port and path of an address, without the node's name, which nodes of a group have in common: ":9306/metrics"."""
    parts = urlsplit(url)
    return f":{parts.port or parts.scheme}{parts.path.replace(node, '{name}')}"


class PageKinds:
    """By port and path. Shared by the nodes of a site."""

    def __init__(self) -> None:
        self._with_power: dict[str, bool] = {}

    def found(self, place: str, figures: Sequence[Figures]) -> None:
        """What the page of a node at this place holds."""
        power = any(one.host is not None or one.gpus for one in figures)
        if place in self._with_power or len(self._with_power) < MOST_PLACES:
            self._with_power[place] = power or self._with_power.get(place, False)

    def without_power(self, place: str) -> bool:
        """Whether pages there are known, and none of them has told of a host or of GPUs."""
        return not self._with_power.get(place, True)
