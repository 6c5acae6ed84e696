"""What is published by MQTT: states as JSON by device, and what Home Assistant needs to find and show them.

By home-assistant.io, integrations "MQTT" (MQTT Discovery: `<prefix>/sensor/<object_id>/config`, object_id = unique_id;
an empty retained payload removes it; `device` and `origin`) and "MQTT Sensor"; device classes and state classes by
"Sensor entity" of its developers' pages. The energy dashboard takes sensors of class `energy` that are
`total_increasing`: the registers of the grid meter. A figure that is not known now is null, which it shows as unknown.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Any

import msgspec

from dispatch.alarms.states import AlarmState
from dispatch.wording.catalogue import alarm_text
from gateway.api.protocol import Published
from gateway.outputs.figures import figures, words

SITE = "site"  # where the figures of the site itself are told
MOST_TEXT = 255  # characters of a state of Home Assistant
DIGITS = 4  # behind the point

# end of a quantity's name: unit, device class, state class
UNITS = {
    "_eur_per_kwh": ("EUR/kWh", "", "measurement"),
    "_wh": ("Wh", "energy", "total_increasing"),
    "_pct": ("%", "", "measurement"),
    "_hz": ("Hz", "frequency", "measurement"),
    "_w": ("W", "power", "measurement"),
    "_v": ("V", "voltage", "measurement"),
    "_a": ("A", "current", "measurement"),
    "_c": ("°C", "temperature", "measurement"),
}
CHARGES = frozenset(("battery_soc_pct", "ups_charge_pct"))  # device class "battery"
WORDS = {"mode": "Control mode", "island_state": "Islanding state", "first_alarm": "First alarm", "alarms": "Alarms"}

State = dict[str, float | str | None]


class Topics(msgspec.Struct, frozen=True):
    """Where what is published. `root`: prefix and site."""

    root: str
    discovery: str
    site_name: str

    @property
    def status(self) -> str:
        """Retained `online` or `offline`; the latter is the connection's will."""
        return f"{self.root}/status"

    def state(self, device: str) -> str:
        """JSON with the figures of a device; of the site with an empty name."""
        return f"{self.root}/device/{slug(device)}" if device else f"{self.root}/{SITE}"

    def unique_id(self, device: str, key: str) -> str:
        """One for each figure, of all sites."""
        return f"skerry_{slug(self.site_name)}_{slug(device) if device else SITE}_{key}"

    def config(self, device: str, key: str) -> str:
        """Retained, what Home Assistant is to know of a figure."""
        return f"{self.discovery}/sensor/{self.unique_id(device, key)}/config"


def topics_of(prefix: str, discovery_prefix: str, site_name: str) -> Topics:
    """The topics of a site."""
    return Topics(f"{prefix}/{slug(site_name)}", discovery_prefix, site_name)


def slug(name: str) -> str:
    """A name of A-Z, a-z, 0-9, _ and - for a topic; others are told apart by a checksum behind it."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return plain if plain == name else f"{plain}-{zlib.crc32(name.encode()):08x}"


def states(published: Published, most_nodes: int) -> dict[str, State]:
    """By device what can be told now; "" is the site."""
    found: dict[str, State] = {"": {word.quantity: word.value for word in words(published)}}
    present = [alarm for alarm in published.alarms if alarm.state is not AlarmState.RETURNED]
    found[""]["alarms"] = float(len(present))
    found[""]["first_alarm"] = alarm_text(present[0].id).title[:MOST_TEXT] if present else "none"
    for figure in figures(published, most_nodes):
        key = f"{figure.quantity}_{figure.phase.lower()}" if figure.phase else figure.quantity
        found.setdefault(figure.device, {})[key] = round(figure.value, DIGITS)
    return found


def devices(published: Published, most_nodes: int) -> frozenset[str]:
    """All that the site has now, silent ones too; "" is the site."""
    snapshot = published.snapshot
    load = () if snapshot.load is None else (snapshot.load.id,)
    found = {"", snapshot.grid.id, *load, *(pcs.id for pcs in snapshot.pcs), *(pv.id for pv in snapshot.pv)}
    found |= {battery.id for battery in snapshot.batteries} | {ups.id for ups in snapshot.ups}
    return frozenset(found | {node.id for node in snapshot.nodes[:most_nodes]})


def payload(state: State, known: Iterable[str]) -> bytes:
    """A state as JSON; what of `known` is not known now is null."""
    return msgspec.json.encode({key: state.get(key) for key in sorted({*known, *state})})


def config(topics: Topics, device: str, key: str, words_of: tuple[str, ...], expire_s: int, version: str) -> bytes:
    """What Home Assistant is to know of one figure. `words_of`: all that it may be, where it is a word of a few."""
    found: dict[str, Any] = {
        "name": WORDS.get(key) or _name(key),
        "unique_id": topics.unique_id(device, key),
        "state_topic": topics.state(device),
        "value_template": "{{ value_json.%s }}" % key,  # noqa: UP031  braces are its own
        "availability_topic": topics.status,
        "expire_after": expire_s,
        "device": {
            "identifiers": [f"skerry_{slug(topics.site_name)}_{slug(device) if device else SITE}"],
            "name": f"{topics.site_name} {device}" if device else topics.site_name,
            "manufacturer": "Skerry",
            "sw_version": version,
        },
        "origin": {"name": "Skerry", "sw_version": version},
    }
    if words_of:
        found |= {"device_class": "enum", "options": list(words_of)}
    elif key == "alarms":
        found["state_class"] = "measurement"
    elif key != "first_alarm":
        found |= _unit(key)
    return msgspec.json.encode(found)


def _unit(key: str) -> dict[str, str]:
    quantity = re.sub(r"_l[123]$", "", key)
    unit, device_class, state_class = next(found for suffix, found in UNITS.items() if quantity.endswith(suffix))
    device_class = "battery" if quantity in CHARGES else device_class
    told = {"unit_of_measurement": unit, "state_class": state_class}
    return {**told, "device_class": device_class} if device_class else told


def _name(key: str) -> str:
    """ "grid_voltage_v_l1" is "Grid voltage L1"."""
    quantity, phase = (key[:-3], f" {key[-2:].upper()}") if re.search(r"_l[123]$", key) else (key, "")
    suffix = next(suffix for suffix in UNITS if quantity.endswith(suffix))
    told = quantity.removesuffix(suffix).replace("_", " ").capitalize()
    for capitals in ("PCS", "SoC", "SoH", "PV", "UPS"):
        told = re.sub(rf"\b{capitals}\b", capitals, told, flags=re.IGNORECASE)
    return told + phase
