"""Proving a PCS: what is checked before, what is done and seen, what ends it, and what its figures are called."""

from __future__ import annotations

TEMPLATES = {
    # conditions
    "check.on_site": "a person on site",
    "check.no_order": "no manual order",
    "check.middle_soc": "SoC {battery}",
    "check.room": "room for steps",
    "found.name": "{name}",
    "found.order": "order {order}",
    "found.frozen": "its reading stands still",
    "found.soc": "{soc_pct:.1f} %",
    "found.room": "from {low_w:kw} to {high_w:kw}",
    "remedy.on_site": "say who watches the PCS on site: --on-site NAME",
    "remedy.no_order": "end it, or wait until it has ended",
    "remedy.middle_soc": "bring it between {low_pct:g} and {high_pct:g} % first",
    "remedy.room": "limits, contract and export must leave {step_w:kw} in both directions: wait for another load",
    "check.peak": "billed peak",
    "prove.raises_peak": "the PCS holds no peak down while it is proven: the interval mean may reach {reach_w:kw}, "
    "{by_w:kw} above the {peak_w:kw} that is reached anyway, about {eur:.2f} EUR",
    "prove.peak_not_accepted": "not accepted: {peak}; wait for less load, or accept it (--accept-peak)",
    # what is done and seen
    "prove.began": "proving {pcs} for {who}, watched by {on_site}: 0 kW first, then the load is watched for 10 s",
    "prove.calm": "load calm, {noise_w:kw} of noise; at 0 kW the PCS reads {zero_w:kw}",
    "prove.step": "step to {asked_w:kw}, and back",
    "prove.answered": "{asked_w:kw}: the PCS gave {pcs_gain:.2f} of it, the grid meter showed {meter_gain:.2f} of that",
    "prove.renewal": "{asked_w:kw}, until it is renewed; then nothing is written",
    "prove.silence": "silent: {most_s:.0f} s at most, {revert_s:g} s were asked for",
    "prove.reverted": "it left {held_w:kw} after {after_s:.1f} s, and went to {to_w:kw}",
    "prove.kept": "it still held {held_w:kw} after {waited_s:.0f} s of silence: it does not revert",
    "prove.again": "written again: it follows, {held_w:kw}",
    "prove.restore": "back to {base_w:kw}, as before",
    "prove.completed": "measured; plan and rules command the PCS again",
    # what ends it
    "prove.nothing": "no proof is under way",
    "prove.running": "a proof of {pcs} is under way",
    "prove.no_such_pcs": "no PCS {pcs}; the site file declares {known}",
    "prove.not_yet": "no reading and no decision yet",
    "prove.check_failed": "not now: {failed}",
    "prove.condition_lost": "ended: {condition}: {found}",
    "prove.limited": "ended: a limit left {given_w:kw} of the {asked_w:kw} asked for: {why}",
    "prove.load_moved": "ended: the import moved by {moved_w:kw} that a step of {step_w:kw} does not explain; "
    "the load was not calm",
    "prove.not_calm": "ended: the load is not calm: {noise_w:kw} of noise in {over_s:.0f} s, expected {most_w:kw}",
    "prove.not_settled": "ended: the PCS has not come to rest at {asked_w:kw} within {waited_s:.0f} s",
    "prove.inverted": "ended: the sign is inverted: asked {asked_w:kw}, it holds {held_w:kw}, it reads "
    "{measured_w:kw}, the import moved by {import_w:kw}",
    "prove.not_followed": "ended: the PCS does not follow: asked {asked_w:kw}, it holds {held_w:kw}, it reads "
    "{measured_w:kw}, the import moved by {import_w:kw}",
    "prove.meter_wrong": "ended: the grid meter shows {meter_gain:.2f} of what the PCS gives: {cause}",
    "prove.aborted": "ended by {who}",
    "prove.unwatched": "ended: nobody has asked how it goes for {unheard_s:.0f} s",
    "prove.mistake": "ended by a mistake in the program: {error}",
    "prove.stopping": "ended: the gateway stops",
    "prove.gateway_killed": "the gateway was killed in its middle, and {pcs} held what was asked last until its own "
    "timer, `skerry devices release` or this gateway ended that",
    "prove.too_little": "not enough was recorded: {what}",
    "prove.failed": "NOT proven: {why}",
    "prove.proven": "proven: {pcs} follows its setpoint, and the grid meter shows it",
    "prove.not_kept": "proven, but not on disk: {error}",
    "prove.pcs_gain_off": "it gives {gain:.2f} of what is asked",
    "prove.meter_gain_off": "the grid meter shows {gain:.2f} of it: {cause}",
    # what a wrong meter most likely is
    "prove.meter_right": "it is right",
    "prove.meter_blind": "it does not see the PCS: on another feeder, or two current transformers swapped",
    "prove.meter_reversed": "it counts the other way round: set invert in the site file, or turn all three",
    "prove.one_ct_reversed": "a third: one of three current transformers is reversed",
    "prove.two_cts_reversed": "minus a third: two of three current transformers are reversed",
    "prove.cts_reversed_on": "the current transformer is reversed on {phases}",
    "prove.phases_rotated": "voltages and currents are each of another phase: rotate the current transformers",
    "prove.phases_swapped": "the current transformers of {phases} are swapped",
    "prove.ct_ratio": "the ratio of its current transformers is likely set wrongly, by a factor of {gain:.2f}",
    "prove.ct_ratio_on": "the current transformer on {phases} is wrong: it shows {gain:.2f}",
    "prove.single_phase": "the PCS is on {phases} alone, which shows {gain:.2f}",
}
