"""Records scenes for the console's tests and pictures: the twin in lock-step, steered by the real controller.

`python tests/console/tui/record.py` writes `scenes.json`; with `day`, `island` or `outage` only the scenes of the day,
of orders and drills, or of the outage. Per scene: a welcome, a plan, the snapshot to show, the trends before it, the
last events, answers to some questions. Same seed, same bytes; nothing in it depends on the machine's clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from scenes import SCENES, Scene  # noqa: E402

from console.display.viewmodel import Model, received  # noqa: E402
from dispatch.alarms.conditions import conditions  # noqa: E402
from dispatch.alarms.definitions import DEFINITIONS  # noqa: E402
from dispatch.alarms.facts import Facts  # noqa: E402
from dispatch.alarms.states import AlarmBook  # noqa: E402
from dispatch.billing.charges.energy_prices import import_price  # noqa: E402
from dispatch.config.battery_ratings import reserve_soc_pct  # noqa: E402
from dispatch.control.controller import Controller  # noqa: E402
from dispatch.forecasting.load import LoadForecaster  # noqa: E402
from dispatch.forecasting.pv import PvForecaster  # noqa: E402
from dispatch.model.battery_bank import BatteryBank  # noqa: E402
from dispatch.model.events import Event  # noqa: E402
from dispatch.model.islanding import (  # noqa: E402
    DrillReport,
    IslandReply,
    IslandRequest,
    IslandState,
)
from dispatch.model.orders import Order, OrderKind, Preview, Wanted  # noqa: E402
from dispatch.model.plan import Plan  # noqa: E402
from dispatch.model.snapshot import Snapshot  # noqa: E402
from dispatch.orders.book import OrderBook, words  # noqa: E402
from dispatch.orders.refusal import OrderRefused  # noqa: E402
from dispatch.orders.validation import preview  # noqa: E402
from dispatch.planning.inputs import PlanInputs  # noqa: E402
from dispatch.planning.planner import Planner  # noqa: E402
from dispatch.wording import catalogue  # noqa: E402
from dispatch.wording.formatting import span  # noqa: E402
from drivers.clock import VirtualClock  # noqa: E402
from drivers.tariffs.csv_file import load as load_prices  # noqa: E402
from drivers.twin.faults import Fault  # noqa: E402
from drivers.twin.lockstep import LockstepSite  # noqa: E402
from drivers.twin.physics import TwinSite  # noqa: E402
from gateway.api.protocol import VERSION, LastDrill, LoopStats, Published, TariffNow, Welcome  # noqa: E402
from gateway.quarter_mean import QuarterMean  # noqa: E402
from gateway.site.loader import compose  # noqa: E402
from gateway.site.schema import Site  # noqa: E402
from storage import audit_reader  # noqa: E402
from storage.audit import AuditLog  # noqa: E402

START = "2025-09-16T03:00:00Z"
STEP_S = 1.0
PLAN_EVERY_S = 900
SOLVE_MS = 10.0  # stands for what was measured, which would differ at each recording


def site(reserve_hours: float = 1.0, **deferrable: Any) -> Site:
    """A render farm of eight nodes: the demo site's sizes, with a name of its own. `deferrable`: keys of such nodes."""
    nodes = [
        {"id": f"gpu-{n:02d}", "source": "modbus", "unit": n, "critical": n <= 2} | (deferrable if n > 2 else {})
        for n in range(1, 9)
    ]
    raw: dict[str, Any] = {
        "site": {"name": "Fjord One", "timezone": "Europe/Oslo"},
        "grid": {
            "fuse_a": 160,
            "contracted_peak_w": "32 kW",
            "export_limit_w": "50 kW",
            "ramp_w_per_s": "0.5 kW/s",
            "meter_delay_max_s": 1.0,
        },
        "reserve": {"hours": reserve_hours, "critical_load_w": "12 kW"},
        "tariff": {
            "file": "bundled:de-lu-2025",
            "fee_eur_per_kwh": 0.025,
            "tax_eur_per_kwh": 0.04,
            "export_margin_eur_per_kwh": 0.005,
            "demand_eur_per_kw_month": 10.0,
        },
        "battery": [{"id": "bat1", "energy_kwh": 100}],
        "pcs": [
            {
                "id": "pcs1",
                "battery": "bat1",
                "charge_w": "60 kW",
                "discharge_w": "60 kW",
                "url": "twin",
                "revert_s": 60,
            }
        ],
        "meter": [{"id": "grid", "role": "grid", "url": "twin"}, {"id": "load", "role": "load", "url": "twin"}],
        "pv": [{"id": "pv1", "peak_w": "20 kW", "url": "twin"}],
        "switch": [{"id": "pcc", "url": "twin"}],
        "node": nodes,
        "twin": {"seed": 7, "start_utc": START},
    }
    return compose(ROOT / "sites" / "fjord-one.toml", raw)


class Recorder:
    """A site in lock-step with its controller, planner and alarms, and the console's model of it."""

    def __init__(self, cfg: Site | None = None) -> None:
        self.site = cfg = cfg or site()
        assert cfg.twin is not None
        self.twin = TwinSite.from_sections(
            cfg.twin, cfg.grid, cfg.battery, cfg.pcs, cfg.meter, cfg.pv, cfg.switch, cfg.node
        )
        self.clock = VirtualClock(self.twin.utc_s)
        self.lockstep = LockstepSite(self.twin, self.clock, step_s=0.25)
        self.controller = Controller(cfg.dispatch)
        self.planner, self.plan = Planner(cfg.dispatch), None
        self.load, self.pv = LoadForecaster(), PvForecaster(cfg.site.timezone)
        self.load_mean = QuarterMean(lambda start_s, w, latest_w: self.load.observe(start_s, w, None, latest_w))
        self.pv_mean = QuarterMean(lambda start_s, w, _: self.pv.observe(start_s, w))
        self.prices = load_prices("bundled:de-lu-2025", ROOT)
        self.alarms = AlarmBook(DEFINITIONS)
        limits = {
            "fuse_w": cfg.grid.fuse_w,
            "contracted_peak_w": cfg.grid.contracted_peak_w,
            "energy_kwh": cfg.dispatch.energy_kwh,
            "reserve_soc_pct": reserve_soc_pct(cfg.dispatch),
            "pv_peak_w": 20_000.0,
            "demand_eur_per_kw_month": 10.0,
        }
        welcome = Welcome(
            1, cfg.site.name, cfg.site.timezone, "tech1", 4711, self.clock.utc_s(), 1.0, True, 1 / STEP_S, limits
        )
        start = Event(self.clock.utc_s(), "gateway", "info", "start", "gateway started, pid 4711, 1 Hz")
        self.model = Model(welcome=welcome, events=(start,))
        self.seq = 0
        self.orders = OrderBook()
        self.replies: tuple[IslandReply, ...] = ()
        self.report: DrillReport | None = None

    def step(self, *requests: IslandRequest) -> Published:
        """One second: physics, snapshot, decision, alarms, and what a console is told of it."""
        self.lockstep.advance(STEP_S)
        self.seq += 1
        snapshot = self.lockstep.snapshot(self.seq)
        self._plan(snapshot)
        decision = self.controller.step(snapshot, self.plan, requests, orders=self.orders.active)
        self.replies, self.report = decision.replies, decision.report or self.report
        self.lockstep.apply(decision)
        found = conditions(snapshot, decision, self.facts(snapshot.utc_s))
        events = (*decision.events, *self.alarms.update(found, snapshot.utc_s, snapshot.mono_s))
        published = Published(
            snapshot,
            decision,
            self.alarms.active(),
            self.controller.interval,
            self.controller.month_peak_w,
            self.tariff(snapshot.utc_s),
            LoopStats(ticks=self.seq, period_s=STEP_S, consoles=1),
            self.controller.pulse_since_utc_s,
            self.controller.pulses_seen,
            self.orders.active,
            self.controller.month_unmeasured_s,
            None if (r := self.report) is None else LastDrill(r.ended_utc_s, r.minutes, r.result, r.why, r.who),
        )
        self.model = msgspec.structs.replace(self.model, plan=self.plan, events=self.model.events + events)
        self.model = received(self.model, published)
        return published

    def _plan(self, snapshot: Snapshot) -> None:
        self.load_mean.add(snapshot.utc_s, snapshot.load_w)
        self.pv_mean.add(snapshot.utc_s, snapshot.pv_w)
        soc = BatteryBank(self.site.dispatch, snapshot).soc_pct
        if self.seq % PLAN_EVERY_S != 2 or soc is None or snapshot.load_w is None or snapshot.pv_w is None:
            return
        start_s, steps = int(snapshot.utc_s // 900) * 900, int(self.site.plan.horizon_h * 4)
        plan = self.planner.solve(
            PlanInputs(
                now_utc_s=snapshot.utc_s,
                config=self.site.dispatch,
                prices=self.prices,
                load=self.load.predict(start_s, steps, now_w=snapshot.load_w),
                pv_w=self.pv.predict(start_s, steps, now_w=snapshot.pv_w),
                soc_pct=soc,
                month_peak_w=self.controller.month_peak_w,
            )
        )
        self.plan = msgspec.structs.replace(plan, solve_ms=SOLVE_MS)

    def tariff(self, utc_s: float) -> TariffNow:
        """What the gateway would say of prices."""
        price = partial(import_price, self.site.tariff, self.site.site.timezone)
        changes = self.prices.changes(int(utc_s // 3600) * 3600, utc_s + 36 * 3600)
        found = [(int(at), price(at, market)) for at, market in changes]
        ahead = tuple((at, round(eur, 5)) for at, eur in found if eur is not None)
        now = price(utc_s, self.prices.at(utc_s))
        return TariffNow(None if now is None else round(now, 5), ahead, self.prices.end_utc_s)

    def facts(self, utc_s: float) -> Facts:
        """What the gateway would tell the alarms besides."""
        return Facts(
            config=self.site.dispatch,
            interval=self.controller.interval,
            plan_age_s=None if self.plan is None else utc_s - self.plan.made_utc_s,
            prices_end_utc_s=self.prices.end_utc_s,
        )

    def until(self, reached: Callable[[Published], bool], limit_s: int) -> Published:
        """Let time pass until something is so; at most `limit_s`."""
        for _ in range(limit_s):
            published = self.step()
            if reached(published):
                return published
        raise RuntimeError(f"not within {limit_s} s of site time")

    def run(self, seconds: int) -> None:
        """Let time pass."""
        for _ in range(seconds):
            self.step()

    def scene(self, **answers: Any) -> Scene:
        """The moment as it is, and what a gateway would answer to some questions in it."""
        m = self.model
        assert m.welcome is not None
        assert m.published is not None
        return Scene(m.welcome, m.published, m.plan, m.trend[-160:], m.day, m.events[-60:], answers)


def scenes() -> dict[str, Scene]:
    """A calm morning; an evening with a pulse; then the grid meter hangs, and the PV inverter too."""
    rec = Recorder()
    rec.run(5 * 3600 + 280)
    found = {"calm": rec.scene()}
    rec.run(8 * 3600)
    rec.until(lambda p: p.pulse_since_utc_s is not None and (p.snapshot.pcs_w or 0) > 9000, 4 * 3600)
    rec.run(150)
    found["pulse"] = rec.scene()
    rec.twin.faults.put(Fault("hung", "grid"))
    rec.run(4)
    found["stale"] = rec.scene()
    rec.run(40)
    rec.twin.faults.put(Fault("hung", "pv1"))
    rec.run(15)
    found["alarms"] = rec.scene()
    return found


class Hands:
    """Somebody who commands a recorded site. What is put on record goes through the real audit file."""

    def __init__(self, rec: Recorder, directory: Path) -> None:
        self.rec, self._directory = rec, directory
        self._audit = AuditLog(directory, "recorded", rec.clock, lambda line: None)

    def _row(self, kind: str, command: str, text: str, **more: Any) -> int:
        row = {"kind": kind, "who": "tech1", "uid": 1000, "pid": 4800, "command": command, "text": text, "reason": ""}
        return self._audit.spool(row | more).result()

    def preview(self, wanted: Wanted) -> Preview:
        """What the order would change now. Raises OrderRefused."""
        rec = self.rec
        assert rec.model.published is not None
        published, nodes = rec.model.published, frozenset(n.id for n in rec.site.node)
        args = rec.site.dispatch, published.snapshot, published.decision, rec.orders.active, nodes
        return preview(wanted, *args)

    def order(self, wanted: Wanted) -> None:
        """Give an order as `gateway/api/order_commands.py` does, or have it refused."""
        rec, command = self.rec, f"order.set {wanted.kind.value}"
        asked = words(wanted.kind, wanted.value, wanted.target)
        try:
            found = self.preview(wanted)
        except OrderRefused as refusal:
            self._row("refused", command, f"{asked}: {refusal}", outcome="refused")
            return
        text = f"{catalogue.words(found.old)} → {catalogue.words(found.new)}, for {span(found.for_s)}"
        row = self._row("intent", command, text, reason=wanted.reason, value=wanted.value)
        utc_s, mono_s = rec.clock.utc_s(), rec.clock.mono_s()
        ends = (utc_s, utc_s + found.for_s, mono_s + found.for_s)
        order = Order(f"o{row}", wanted.kind, wanted.value, wanted.target, "tech1", wanted.reason, *ends)
        rec.orders.put(order)
        effect = catalogue.words(rec.step().decision.reason)
        self._row("result", command, f"{text}; now {effect}", of=row, outcome="in force", order=order.id)

    def end(self, reason: str) -> None:
        """End the order of the battery."""
        order = self.rec.orders.active[0]
        said = f"{order.id}: {words(order.kind, order.value, order.target)}"
        row = self._row("intent", "order.end", said, reason=reason)
        self.rec.orders.end(order.id)
        effect = catalogue.words(self.rec.step().decision.reason)
        self._row("result", "order.end", f"{said}; now {effect}", of=row, outcome="ended")

    def ask(self, kind: Literal["drill", "check"], minutes: float, reason: str) -> IslandReply:
        """Ask the state machine; a drill goes on record."""
        said = f"drill of {minutes:g} min"
        row = self._row("intent", "drill.start", said, reason=reason) if kind == "drill" else 0
        request = IslandRequest(id="i1", kind=kind, who="tech1", reason=reason, minutes=minutes)
        self.rec.step(request)
        (reply,) = self.rec.replies
        if kind == "drill":
            outcome = "accepted" if reply.ok else "refused"
            self._row("result", "drill.start", catalogue.words(reply.reason), of=row, outcome=outcome)
        return reply

    def rows(self) -> list[dict[str, Any]]:
        """The audit as a console reads it."""
        return audit_reader.rows(self._directory)


def island_scenes(directory: Path) -> dict[str, Scene]:
    """An order in force; a drill that holds; what it left behind."""
    rec = Recorder()
    hands = Hands(rec, directory)
    rec.run(1500)
    hands.order(Wanted(OrderKind.SETPOINT, 70_000.0, reason="feeder 2 test", for_s=600))
    hands.order(Wanted(OrderKind.SETPOINT, 12_000.0, reason="feeder 2 test", for_s=600))
    rec.run(80)
    second = hands.preview(Wanted(OrderKind.IMPORT_TARGET, 10_000.0, reason="meter check"))
    found = {"order": rec.scene(**{"order.preview": msgspec.to_builtins(second), "audit": hands.rows()})}
    hands.end("feeder is fine")
    rec.run(60)
    reply = hands.ask("drill", 5, "monthly test")
    assert reply.ok, catalogue.words(reply.reason)
    rec.until(lambda p: p.decision.island is IslandState.ISLANDED, 300)
    rec.run(133)
    found["drill"] = rec.scene(audit=hands.rows())
    rec.until(lambda p: rec.report is not None, 1200)
    rec.run(45)
    check = hands.ask("check", 10, "")
    answers = msgspec.to_builtins(check) | {"text": catalogue.words(check.reason)}
    status = {"report": msgspec.to_builtins(rec.report)}
    found["drilled"] = rec.scene(**{"audit": hands.rows(), "drill.check": answers, "drill.status": status})
    return found


def outage_scenes() -> dict[str, Scene]:
    """A site in an outage that caps its deferrable nodes; it has no other step but the shutdown."""
    rec = Recorder(site(reserve_hours=4.0, cap_w="3 kW"))
    rec.run(900)
    rec.twin.faults.put(Fault("outage"))
    rec.until(lambda p: p.decision.ride is not None and p.decision.ride.rung >= 2, 7200)
    rec.run(300)
    return {"outage": rec.scene()}


def feed(seconds: int) -> Iterator[tuple[Published, Plan | None]]:
    """A living site, second by second, beginning in an ordinary morning hour."""
    rec = Recorder()
    rec.run(1800)
    for _ in range(seconds):
        yield rec.step(), rec.plan


GROUPS: dict[str, Callable[[Path], dict[str, Scene]]] = {
    "day": lambda _: scenes(),
    "island": island_scenes,
    "outage": lambda _: outage_scenes(),
}


def main(wanted: list[str]) -> None:
    """Record the groups that are named, or all; the other scenes stay as they are."""
    kept = msgspec.json.decode(SCENES.read_bytes())
    with TemporaryDirectory() as place:
        for group in wanted or GROUPS:
            for name, scene in GROUPS[group](Path(place)).items():
                kept[name] = msgspec.to_builtins(scene) | {"version": VERSION}
                print(f"{name}: {len(msgspec.json.encode(scene)) // 1024} kB")
    SCENES.write_bytes(msgspec.json.encode(kept))


if __name__ == "__main__":
    main(sys.argv[1:])
