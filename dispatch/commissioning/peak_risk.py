"""Says by how much a proof may raise the billed peak of the month, before it begins.

While a PCS is proven it holds no peak down: it rests, makes its steps, and is silent. The mean of the metering interval
is reckoned with the load as it is now and with every step that charges.
"""

from __future__ import annotations

from dispatch.commissioning.preconditions import Room, Site, rated_w, room
from dispatch.commissioning.procedure import CALM_S, SHARES, hold_s, silence_most_s
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig
from dispatch.model.reasons import Reason

NEAR_W = 50.0  # a rise that is smaller is none
SETTLING_S = 3.0  # what a step takes besides its hold, about


def peak_risk(config: DispatchConfig, pcs_id: str, site: Site, terms: DemandTerms, revert_s: float) -> Reason | None:
    """By how much the peak may rise, and what that costs; None: it does not, or nothing is billed by it."""
    decision, interval, import_w = site.decision, site.interval, site.snapshot.grid.w.good
    if decision is None or decision.net_load_w is None or interval is None or import_w is None or not terms.eur_per_kw:
        return None
    others_w = sum(s.w or 0.0 for s in decision.setpoints if s.device_id != pcs_id)
    resting_w = decision.net_load_w - others_w
    step_s = hold_s(config) + SETTLING_S
    proof_s = CALM_S + (2 * 2 * len(SHARES) + 2) * step_s + silence_most_s(revert_s)
    charged_ws = _charge_w(config, pcs_id, room(config, pcs_id, decision)) * step_s
    left_s = max(interval.start_utc_s + interval.length_s - site.snapshot.utc_s, 0.0)
    as_now_w = max(import_w, 0.0)

    def mean_w(begun_ws: float, in_proof_s: float, after_s: float) -> float:
        in_proof_ws = max(in_proof_s * resting_w + charged_ws, 0.0) if in_proof_s else 0.0
        return (begun_ws + in_proof_ws + after_s * as_now_w) / interval.length_s

    begun_ws = 3600 * interval.energy_wh
    here_s, next_s = min(proof_s, left_s), min(max(proof_s - left_s, 0.0), interval.length_s)
    reach_w = mean_w(begun_ws, here_s, left_s - here_s)
    if next_s:
        reach_w = max(reach_w, mean_w(0.0, next_s, interval.length_s - next_s))
    anyway_w = max(site.free_peak_w, mean_w(begun_ws, 0.0, left_s))
    if reach_w <= anyway_w + NEAR_W:
        return None
    by_w = reach_w - anyway_w
    eur = by_w / 1000 * terms.rise_eur_per_kw
    return Reason("prove.raises_peak", {"reach_w": reach_w, "peak_w": anyway_w, "by_w": by_w, "eur": eur})


def _charge_w(config: DispatchConfig, pcs_id: str, left: Room) -> float:
    """The sum of the steps that charge, W."""
    return sum(min(share * rated_w(config, pcs_id), -left.low_w) for share in SHARES)
