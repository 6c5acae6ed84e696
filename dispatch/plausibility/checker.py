"""Checks all readings of a site, tick by tick. Owned by the controller; everything after it sees what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.model.doubts import Doubt
from dispatch.model.equipment import Meter, Node, Pcs, Pv
from dispatch.model.events import Event
from dispatch.model.readings import MISSING, Quality, Reading
from dispatch.model.snapshot import Snapshot
from dispatch.plausibility.bounds import Range, SiteBounds, out_of_watts
from dispatch.plausibility.device_states import BatteryProtection, PcsStates, SwitchStates
from dispatch.plausibility.meter_pair import MeterPair
from dispatch.plausibility.node_power import NodeCheck, figures_of_node
from dispatch.plausibility.reading_history import ReadingHistory, figures_of
from dispatch.plausibility.soc import SocCheck
from dispatch.plausibility.source_power import REACH_S, BusNow, SourceCheck
from dispatch.plausibility.witnesses import Band, PowerWindow, window_s
from dispatch.wording.catalogue import words

PV_STEP = 0.1  # of its peak power: clouds move faster than the load


SELDOM_S = 90.0  # figures of nodes are that old at most when they are still used: twice 30 s, and some more


class PlausibilityCheck:
    """Snapshots must not go back in `mono_s`.

    steps: False where readings are those of a replay, minutes apart: there only bounds are checked.
    """

    def __init__(self, config: DispatchConfig, steps: bool = True) -> None:
        self._config, self._steps = config, steps
        self._bounds = SiteBounds(config)
        self._hold_s = config.rules.meter_lost_hold_s
        self._window_s = window_s(config.grid.meter_delay_max_s)
        self._pv_peak_w = {p.id: p.peak_w for p in config.pv}
        self._meters = MeterPair(config, self._bounds, self._window_s)
        self._sources: dict[str, SourceCheck] = {}
        self.soc = SocCheck(config)
        self._pcs: dict[str, PcsStates] = {}
        self._batteries: dict[str, BatteryProtection] = {}
        self._switches: dict[str, SwitchStates] = {}
        self._nodes: dict[str, NodeCheck] = {}
        self._judged: tuple[Node, ...] = ()  # the nodes of the tick before, as they were judged
        self._measured_load = PowerWindow()
        self._histories: tuple[ReadingHistory, ...] = ()  # of all checks; each check has the same ones for ever
        self._checks = 0  # so many checks they are of
        self._load_w: float | None = None  # where the load meter can witness a step
        self._joined: tuple[object, ...] = ()  # how the site is joined to the grid,
        self._joined_s = float("-inf")  # and since when
        self.often: tuple[Doubt, ...] = ()  # what is rejected again and again
        self.holds_back = False  # a word that would take the site off the grid is doubted: write nothing

    # ── the tick ────────────────────────────────────────────────────────────────────────────────────────────────────

    def check(self, raw: Snapshot, asked: Mapping[str, float]) -> Snapshot:
        """The snapshot with each doubted reading replaced: by the last accepted value, SUSPECT; later by a missing one.

        A limit or temperature keeps the last value; SoC goes on by energy. Where only bounds count (`steps` False), a
        power out of bounds is missing. `asked`: the setpoint last asked of each PCS, W, > 0 discharges.
        """
        if not self._steps:
            return self._bounded(raw)
        replace, now = msgspec.structs.replace, raw
        now = replace(now, **self._check_words(raw))
        self._check_sources(now, asked)

        def power(part: Pcs | Pv) -> Reading:
            return self._source(part.id).power.shown(part.w, raw.mono_s, self._hold_s)

        now = replace(
            now,
            pcs=tuple(replace(p, w=power(p)) for p in now.pcs),
            pv=tuple(replace(p, w=power(p)) for p in now.pv),
            batteries=tuple(self._battery(b.id).check(b, raw.mono_s) for b in now.batteries),
        )
        now = replace(now, batteries=self.soc.check(now))
        grid, load = self._meters.check(now, self._pcs_band(now), self._hold_s)
        now = replace(now, grid=grid, load=load)
        nodes_w = sum(c.power.value or 0.0 for c in self._nodes.values())
        measured_w = None if now.load is None else now.load.w.good
        load_w = measured_w if measured_w is not None else now.load_w
        ranges = self._bounds.node_w(load_w), self._bounds.node_w(self._highest_load(load_w, raw))
        now = replace(now, nodes=self._judged_nodes(raw, ranges, nodes_w))
        self.often = tuple(d for t in self._followed() if (d := t.often(raw.mono_s)) is not None)
        return now

    def events(self, utc_s: float) -> Iterator[Event]:
        """What was rejected since the last call."""
        for history in self._followed():
            for doubt in history.rejected:
                text = f"reading not believed: {words(doubt.why)}"
                yield Event(utc_s, "device", "warning", doubt.device_id, text)
            history.rejected.clear()
        yield from self.soc.news
        self.soc.news.clear()

    def established(self, device_id: str) -> bool:
        """Two distinct samples of this meter's or source's power have agreed; always so where only bounds count."""
        if not self._steps:
            return True
        source = self._sources.get(device_id)
        return source.power.established if source is not None else self._meters.established(device_id)

    def _followed(self) -> tuple[ReadingHistory, ...]:
        """Every reading that is followed. Asked for twice in each tick, so they are collected only when one is new."""
        groups = (self._sources, self._pcs, self._batteries, self._switches, self._nodes)
        checks = self._meters.count + sum(len(group) for group in groups)
        if checks != self._checks:
            found = list(self._meters.histories)
            for group in groups:
                for check in group.values():
                    found += check.histories
            self._histories, self._checks = (*found, *self.soc.histories.values()), checks
        return self._histories

    # ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _check_words(self, raw: Snapshot) -> dict[str, object]:
        switches = tuple(self._switch(s.id).check(s, raw) for s in raw.switches)
        pcs = tuple(self._states(p.id).check(p, raw) for p in raw.pcs)
        self.holds_back = any(s.held_back for s in self._switches.values()) or any(
            p.held_back for p in self._pcs.values()
        )
        return {"switches": switches, "pcs": pcs}

    def _switch(self, switch_id: str) -> SwitchStates:
        if switch_id not in self._switches:
            self._switches[switch_id] = SwitchStates(switch_id, self._bounds, self._hold_s)
        return self._switches[switch_id]

    def _states(self, pcs_id: str) -> PcsStates:
        if pcs_id not in self._pcs:
            self._pcs[pcs_id] = PcsStates(self._config, self._bounds, pcs_id)
        return self._pcs[pcs_id]

    def _battery(self, battery_id: str) -> BatteryProtection:
        if battery_id not in self._batteries:
            self._batteries[battery_id] = BatteryProtection(self._config, battery_id)
        return self._batteries[battery_id]

    def _node_check(self, node_id: str) -> NodeCheck:
        if node_id not in self._nodes:
            self._nodes[node_id] = NodeCheck(node_id)
        return self._nodes[node_id]

    def _highest_load(self, load_w: float | None, raw: Snapshot) -> float | None:
        """The site's load of the last minute at its highest: what a node says that is seldom measured belongs to it."""
        if load_w is None or not any(node.period_s for node in raw.nodes):
            return load_w
        self._measured_load.add(raw.mono_s, load_w)
        band = self._measured_load.band(raw.mono_s - SELDOM_S)
        return load_w if band is None else band.high_w

    def _judged_nodes(self, raw: Snapshot, ranges: tuple[Range, Range], nodes_w: float) -> tuple[Node, ...]:
        """A node that is the same object as in the tick before has not been read since: nothing new is to be judged."""
        before = self._judged if len(self._judged) == len(raw.nodes) else (None,) * len(raw.nodes)

        def judged(node: Node) -> Node:
            return self._node(node, ranges[node.period_s > 0], raw.mono_s, nodes_w)

        pairs = zip(raw.nodes, before, strict=True)
        self._judged = tuple([node if node is was and node.period_s else judged(node) for node, was in pairs])
        if len(self._nodes) > len(raw.nodes):  # some are no longer nodes of the site
            there = {node.id for node in raw.nodes}
            self._nodes = {id: check for id, check in self._nodes.items() if id in there}
            self._checks = -1  # the histories are other ones
        return self._judged

    def _node(self, node: Node, allowed: Range, mono_s: float, nodes_w: float) -> Node:
        check = self._node_check(node.id)
        room_w = None if self._load_w is None else self._load_w - nodes_w + (check.power.value or 0.0)
        figures, step_w = figures_of_node(node), self._bounds.step_w
        w = check.check(node.w, figures, allowed, step_w, room_w, mono_s, self._hold_s, node.period_s)
        return node if w == node.w else msgspec.structs.replace(node, w=w)

    # ── sources ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _source(self, source_id: str) -> SourceCheck:
        if source_id not in self._sources:
            self._sources[source_id] = SourceCheck(source_id, self._window_s)
        return self._sources[source_id]

    def _pcs_band(self, now: Snapshot) -> Band | None:
        """What all PCS may have given at the moment that the meters show; None: one is silent, or was never read."""
        low_w = high_w = 0.0
        for pcs in now.pcs:
            band = self._source(pcs.id).window.band(now.mono_s - self._window_s)
            if band is None or pcs.w.good is None:  # it may have reverted meanwhile
                return None
            low_w, high_w = low_w + band.low_w, high_w + band.high_w
        return Band(low_w, high_w)

    def _check_sources(self, now: Snapshot, asked: Mapping[str, float]) -> None:
        grid_w, load_w = self._meters.take(now)
        self._load_w = load_w
        if any(s.isolates for s in now.switches):
            grid_w = 0.0
        step_w = self._step_w(now)
        powers = {name: self._source(name).power for name in (*(p.id for p in now.pcs), *(p.id for p in now.pv))}
        silent = {p.id for p in now.pcs if p.w.good is None}
        for pcs in now.pcs:
            check = self._source(pcs.id)
            check.ask(now.mono_s, asked.get(pcs.id))
            allowed = self._bounds.pcs_w(pcs.id, pcs.mode.good == "grid_forming")
            rests = pcs.state.good not in ("running", "throttled", None) or pcs.connection.good == "disconnected"
            bus = self._bus(now.mono_s, pcs.id, powers, grid_w if silent <= {pcs.id} else None, load_w)
            check.check(pcs.w, figures_of(pcs), allowed, step_w, bus, self._bounds.step_w if rests else None)
        for pv in now.pv:
            bus = self._bus(now.mono_s, pv.id, powers, None if silent else grid_w, load_w)
            self._check_pv(pv, step_w, bus)

    def _check_pv(self, pv: Pv, step_w: float, bus: BusNow) -> None:
        pv_step_w = PV_STEP * self._pv_peak_w.get(pv.id, 0.0)
        rests = pv.state.good in ("off", "sleeping", "fault", "standby")
        least_w, rest_w = max(step_w, pv_step_w), max(self._bounds.step_w, pv_step_w) if rests else None
        self._source(pv.id).check(pv.w, figures_of(pv), self._bounds.pv_w(pv.id), least_w, bus, rest_w)

    def _step_w(self, now: Snapshot) -> float:
        """By how much a source may change unseen. While the site leaves or joins the grid a PCS moves by itself."""
        contacts = ((s.position.good, s.source.good) for s in now.switches)
        joined = (*contacts, *((p.mode.good, p.connection.good) for p in now.pcs))
        if joined != self._joined:
            self._joined, self._joined_s = joined, now.mono_s if self._joined else float("-inf")
        return self._bounds.step_w if now.mono_s - self._joined_s > REACH_S + self._window_s else float("inf")

    @staticmethod
    def _bus(
        mono_s: float, source_id: str, powers: Mapping[str, ReadingHistory], grid_w: float | None, load_w: float | None
    ) -> BusNow:
        others = [history for name, history in powers.items() if name != source_id]
        if grid_w is None or any(t.doubted or t.value is None for t in others):
            return BusNow(mono_s, None, False)
        outlet_w = (load_w or 0.0) - grid_w - sum(t.value or 0.0 for t in others)
        return BusNow(mono_s, outlet_w, load_w is not None)

    # ── replay ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _bounded(self, raw: Snapshot) -> Snapshot:
        replace = msgspec.structs.replace
        known = self._bounds.knows_pv(tuple(p.id for p in raw.pv))

        def within(part: Meter | Pcs | Pv, allowed: Range | None) -> Reading:
            return self._within(part.id, part.w, allowed, raw.mono_s)

        return replace(
            raw,
            grid=replace(raw.grid, w=within(raw.grid, self._bounds.grid_w(known))),
            pcs=tuple(replace(p, w=within(p, self._bounds.pcs_w(p.id, False))) for p in raw.pcs),
            pv=tuple(replace(p, w=within(p, self._bounds.pv_w(p.id))) for p in raw.pv),
        )

    def _within(self, device_id: str, w: Reading, allowed: Range | None, mono_s: float) -> Reading:
        """The reading, missing where it is out of bounds."""
        value = w.good
        if value is None or allowed is None:
            return w
        history = self._source(device_id).power
        if allowed.holds(value):
            history.accept(value, mono_s)
            return w
        history.reject(mono_s, out_of_watts("power", value, allowed))
        return Reading(None, w.age_s, Quality.MISSING) if w.age_s is not None else MISSING
