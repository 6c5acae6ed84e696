"""Judges what several devices say together: the balance, the sign of the grid meter, who commands the PCS."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from dispatch.model.equipment import Pcs
from dispatch.model.proofs import Proofs, proof_holds
from dispatch.model.snapshot import Snapshot
from dispatch.plausibility.bounds import SiteBounds
from gateway.commissioning.findings import Finding, fault, note, ok, warning
from gateway.site.schema import Site

BALANCE = 0.05  # of the load: by how much meters of class 1 that are not read at the same instant differ
MOVED_W = 1_000.0  # a battery that moves by less shows nothing in the grid meter
FOLLOWED = 0.5  # of its movement must be seen in the grid meter: the load may move, too
LARGE_W = 135_000.0  # VDE-AR-N 4110: generating plants of more than this, or connected at medium voltage
RENEWED_S = 2.0  # a countdown that is higher by this than it was has been started again
SUNSPEC = "sunspec"  # the driver of a proof without a map
OWN_FIGURES = ("v_low_pct", "v_high_pct", "hz_low", "hz_high", "wait_s", "gradient_pct_per_min")  # of [island]


def site_findings(site: Site, samples: Sequence[Snapshot], *, gateway_runs: bool) -> Iterator[Finding]:
    """What the devices say together, over a few samples."""
    yield from balance(site, samples)
    if site.pcs:
        yield from signs(samples)
    if not gateway_runs:
        for pcs in site.pcs:
            yield from other_masters([p for s in samples for p in s.pcs if p.id == pcs.id])
    yield from grid_code(site)


def balance(site: Site, samples: Sequence[Snapshot]) -> Iterator[Finding]:
    """Whether load = grid + PCS + PV closes; where it does not, whether it would with one sign reversed."""
    known = [s for s in samples if s.load_w is not None and (s.load is None or s.load.w.good is not None)]
    if not known:
        text = "grid meter, PCS and PV were not all read at once: the balance is not checked"
        yield note("site", "balance", text, "mend what cannot be read, then look again")
        return
    last = known[-1]
    grid_w, pcs_w, pv_w = last.grid.w.good or 0.0, last.pcs_w or 0.0, last.pv_w or 0.0
    by_balance_w = grid_w + pcs_w + pv_w
    shown = f"grid {grid_w / 1000:.1f} + PCS {pcs_w / 1000:.1f} + PV {pv_w / 1000:.1f} = {by_balance_w / 1000:.1f} kW"
    step_w = SiteBounds(site.dispatch).step_w
    if last.load is None:
        yield _without_load_meter(by_balance_w, step_w, shown)
        return
    load_w = last.load.w.good or 0.0
    tolerance_w = max(step_w, BALANCE * abs(load_w))
    if any(abs((s.load.w.good or 0.0) - (s.load_w or 0.0)) <= tolerance_w for s in known if s.load is not None):
        yield ok("site", "balance", f"{shown}, load meter {load_w / 1000:.1f} kW")
        return
    text = f"{shown}, but the load meter reads {load_w / 1000:.1f} kW"
    yield fault("site", "balance", text, _remedy(grid_w, pcs_w, pv_w, load_w, tolerance_w))


def _without_load_meter(by_balance_w: float, step_w: float, shown: str) -> Finding:
    """What the load by balance shows where no meter measures it."""
    if by_balance_w < -step_w:
        advice = "set invert on the grid meter, or add the source that is missing in the site file"
        return fault("site", "negative-load", f"{shown}: the load would be negative", advice)
    text = f"{shown} of load; without a load meter nothing confirms it"
    return note("site", "balance", text, "compare with what the site is known to draw")


def _remedy(grid_w: float, pcs_w: float, pv_w: float, load_w: float, tolerance_w: float) -> str:
    """What would close the balance, where it is one thing only."""
    ways = (
        ("set invert on the grid meter", load_w + grid_w - pcs_w - pv_w),
        ("set invert on the load meter", load_w + grid_w + pcs_w + pv_w),
        ("check the sign of the PCS' power", load_w - grid_w + pcs_w - pv_w),
        ("the load meter does not see the PV: check where it sits", load_w - grid_w - pcs_w),
    )
    closing = [words for words, left_w in ways if abs(left_w) <= tolerance_w]
    if len(closing) == 1:
        return f"{closing[0]}: then the balance closes"
    return "check sign and CT ratio of each meter, and that every source is in the site file"


def signs(samples: Sequence[Snapshot]) -> Iterator[Finding]:
    """Whether the grid meter moved against the battery, where that moved."""
    steps = [
        ((b.pcs_w or 0.0) - (a.pcs_w or 0.0), (b.grid.w.good or 0.0) - (a.grid.w.good or 0.0))
        for a, b in itertools.combinations(samples, 2)
        if None not in (a.pcs_w, b.pcs_w, a.grid.w.good, b.grid.w.good)
    ]
    pcs_w, grid_w = max(steps, key=lambda step: abs(step[0]), default=(0.0, 0.0))
    if abs(pcs_w) < MOVED_W:
        text = "the battery did not move: whether the grid meter follows it is not checked"
        yield note("site", "sign", text, "skerry devices prove checks it with a step of the battery")
        return
    moved = f"the battery moved by {pcs_w / 1000:+.1f} kW, the grid meter by {grid_w / 1000:+.1f} kW"
    if pcs_w * grid_w > 0 and abs(grid_w) >= FOLLOWED * abs(pcs_w):
        yield fault("site", "sign", f"{moved}, in the same direction", "set or remove invert on the grid meter")
    elif pcs_w * grid_w < 0 and abs(grid_w) >= FOLLOWED * abs(pcs_w):
        yield ok("site", "sign", moved)
    else:
        yield note("site", "sign", f"{moved}: that shows nothing", "look again while the load is steady")


def other_masters(readings: Sequence[Pcs]) -> Iterator[Finding]:
    """Who holds a setpoint although no gateway runs. `readings`: of one PCS, in order."""
    if not readings or readings[-1].setpoint_enabled.good != 1.0:
        return
    id, setpoints = readings[-1].id, [p.setpoint_w.good for p in readings if p.setpoint_w.good is not None]
    left = [p.revert_remaining_s.good for p in readings if p.revert_remaining_s.good is not None]
    held = f"{setpoints[-1] / 1000:g} kW" if setpoints else "a setpoint"
    stop_it = "end the other controller, or take its access away: two masters make the battery swing"
    if len(set(setpoints)) > 1:
        low, high = min(setpoints) / 1000, max(setpoints) / 1000
        yield fault(id, "other-master", f"its setpoint changed ({low:g} to {high:g} kW), no gateway runs", stop_it)
    elif any(b - a > RENEWED_S for a, b in itertools.pairwise(left)):
        yield fault(id, "other-master", f"holds {held}; its timer was started again, no gateway runs", stop_it)
    elif left and left[-1] > 0:
        yield note(id, "setpoint", f"holds {held} from before, {left[-1]:.0f} s of its timer are left")
    else:
        text = f"holds {held}, enabled, no gateway runs, and no timer ends it"
        yield warning(id, "setpoint", text, "skerry devices release, if no other controller is to command it")


def proofs_of(site: Site, kept: Proofs, snapshot: Snapshot) -> Iterator[Finding]:
    """Whether what each PCS does has been proven, as the device that it is now."""
    said = {d.id: d.identity for d in snapshot.devices}
    for pcs in site.pcs:
        proof = kept.proofs.get(pcs.id)
        prove = f"skerry devices prove {pcs.id}, while the gateway runs and with a person beside it"
        if proof is None:
            yield note(pcs.id, "proof", "what it does has not been proven", prove)
        elif said.get(pcs.id) is not None and not proof_holds(proof, pcs.map or SUNSPEC, said[pcs.id]):
            was, identity = proof.identity.text or "a device without a name", said[pcs.id]
            text = f"was proven as {was}, and is now {identity.text if identity else ''}"
            yield warning(pcs.id, "proof", text, prove)
        else:
            yield ok(pcs.id, "proof", f"was proven, watched by {proof.on_site}")


def grid_code(site: Site) -> Iterator[Finding]:
    """Whether the profile of [island] can be the right one for a plant of this size and connection."""
    sources_w = sum(p.discharge_w for p in site.pcs) + sum(p.rated_w or p.peak_w for p in site.pv)
    own = [key for key in OWN_FIGURES if getattr(site.island, key) is not None]
    medium = site.grid.connection == "medium-voltage"
    if not (medium or sources_w > LARGE_W) or len(own) == len(OWN_FIGURES):
        return
    why = "connected at medium voltage" if medium else f"PCS and PV of {sources_w / 1000:.0f} kW in all, above 135 kW"
    text = f"{why}: VDE-AR-N 4110 applies, and the profile {site.island.profile} is not made for it"
    missing = ", ".join(key for key in OWN_FIGURES if key not in own)
    yield warning("site", "grid-code", text, f"set [island] {missing} as your grid operator's form says")
