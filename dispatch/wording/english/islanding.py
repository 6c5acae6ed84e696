"""What the islanding state machine sees, where it goes and why; what ride-through gives up."""

from __future__ import annotations

TEMPLATES = {
    # the bus
    "bus.switch_closed": "the switch is closed",
    "bus.formed": "{pcs} forms it",
    "bus.formed_by_several": "{pcs} form it",
    "bus.mode_unknown": "not every PCS says in which mode it is",
    "bus.voltage_unknown": "no PCS forms it and its voltage is not measured",
    "bus.dead": "no PCS forms it and it has {bus_v:.0f} V",
    "bus.foreign": "it has {bus_v:.0f} V and no PCS of ours forms it",
    # what the devices show
    "seen.pcs_forms_own": "{pcs} is disconnected from the grid and forms its own",
    "seen.switch_open": "switch {switch} is open by its contacts",
    "seen.no_source": "switch {switch} says that it joins the site to no source",
    "seen.genset": "switch {switch} says that the generator feeds the site",
    "seen.genset_and_grid": (
        "switch {switch} says that the generator feeds the site, and its contact to the grid reads '{position}'"
    ),
    "seen.genset_and_forming": "switch {switch} says that the generator feeds the site, and {pcs} still forms a grid",
    "seen.source_unread": "switch {switch} does not say whether the grid or the generator feeds the site",
    "seen.switches": "switch {switches}",
    "seen.contacts_closed": "{switch} is closed by its contacts",
    "seen.pcs_follows": "{switch} is not read, the PCS follows a grid",
    "seen.forming_without_switch": "{pcs} is grid-forming and the site declares no switch to ask",
    "seen.no_switch": "the site declares no switch at the PCC: nothing to island it with",
    "seen.no_grid_voltage": "switch {switch} is closed and reports no grid voltage",
    "seen.bus_is_live": (
        "switch {switch} is closed and reports no grid voltage, but {pcs} follows a bus of {bus_v:.0f} V"
    ),
    "seen.contacts_disagree": "switch {switch} reads '{position}': its contacts do not agree",
    "seen.switch_unread": "switch {switch} cannot be read and no PCS says that it follows a grid",
    "differences.not_measured": "voltage, frequency and phase difference not measured",
    "differences.measured": "differences {found:comma}",
    "differences.volts": "{delta_v:.2f} V",
    "differences.frequency": "{delta_hz:.2f} Hz",
    "differences.phase": "{delta_deg:.2f} deg",
    # where the state machine goes
    "go.genset_unread": "the site was on its generator when the switch last told: {seen}",
    "go.nothing_read": "nothing has been read yet",
    "go.seen_bus_dead": "{seen}, the bus is dead: {bus}",
    "go.bus_is": "the bus is {bus}: {why}",
    "go.aborted_before_opening": "drill aborted before the switch was asked to open",
    "go.unloaded": "import {import_w:kw}: the switch opens unloaded",
    "go.import_not_read": "import is not read, not within {within_w:kw} in {within_s:g} s",
    "go.import_not_near_0": "import is {import_w:kw}, not within {within_w:kw} in {within_s:g} s",
    "go.opening_withdrawn": "opening is withdrawn",
    "go.free_for_generator": "the grid has gone: the switch is free to go to the generator",
    "go.withdrawn_closed": "opening is withdrawn, the contact says closed",
    "go.withdrawn_not_closed": "opening is withdrawn and the contacts do not say closed: {seen}",
    "go.closed_as_permitted": "the switch has closed, as permitted",
    "go.closed_by_device": "the switch has closed, by the device itself or by hand",
    "go.closed_and_forming": "the switch reads closed and a PCS still forms: {seen}",
    "go.inside_window": "the grid is inside the window ({grid})",
    "go.left_window": "the grid left the window ({grid})",
    "go.closing_permitted": "{wait_s:.0f} s inside the window: closing is permitted",
    "go.never_in_step": "{against}; for {timeout_s:.0f} s after the wait",
    "go.permission_withdrawn": "permission withdrawn: {against}",
    "go.not_closed": "not closed {timeout_s:g} s after permission, {differences}",
    "go.not_closed_often": "{late}; {times:g} times",
    "go.not_closed_again": "{late}; again after {wait_s:.0f} s",
    "go.none_formed": "no PCS formed a grid in {timeout_s:g} s",
    "go.black_start": "black start: {who} says that nobody works on the bus",
    "go.black_start_aborted": "black start aborted",
    "go.reset": "fault reset by {who}: {reason}",
    "go.drill": "drill of {drill_min:g} min by {who}: {reason}",
    "go.fault_kept": "{fault} (a restart of the gateway does not reset it)",
    # what is against closing
    "close.on_genset": "{switch} says that the generator feeds the site: it changes back by itself",
    "close.no_switch": "no switch that may be asked",
    "close.switch_reads": "switch {switch} reads {position}",
    "close.only_watched": "switch {switch} takes no orders by its map",
    "close.control": "switch {switch} is in {control} control",
    "close.outside_window": "the grid is not inside the window of {profile} ({grid})",
    "close.wait": "{left_s:.0f} s of the wait of {wait_s:.0f} s are left",
    "close.out_of_step": "not in step: {what} differs by {differs:.2f} {unit}, at most {at_most:g}",
    # ride-through
    "shedding.none": "none",
    "shedding.stop_starts": "stop new starts",
    "shedding.cap_deferrable": "cap deferrable",
    "shedding.requeue": "save and requeue jobs",
    "shedding.suspend_cpu_only": "suspend nodes without GPUs",
    "shedding.suspend_deferrable": "suspend deferrable",
    "shedding.power_off": "power off empty nodes",
    "shedding.cap_critical": "cap critical",
    "shedding.shutdown": "shutdown",
    "shedding.lacks": "{step}, not on {without:.0f} of {nodes:.0f}",
    # why the last step was taken: it stands as long as the step does
    "ride.kept": "kept over a restart of the gateway",
    "ride.shutdown": "the battery lasted {lasts_s:minutes} at least, shutdown takes {shutdown_s:minutes}",
    "ride.low_by_report": (
        "by the SoC that the BMS reports the battery lasted {lasts_s:minutes} at least, shutdown takes "
        "{shutdown_s:minutes}; neither energy nor BMS limits confirmed it, so one step after the other"
    ),
    "ride.waits": (
        "by the SoC that the BMS reports the battery lasts {lasts_s:minutes}, by the energy counted "
        "{counted_s:minutes}; "
        "neither BMS limits nor its cells confirm the report, so no job is requeued, critical nodes are not capped and "
        "nothing is shut down for it"
    ),
    "ride.waits_long": (
        "by the SoC that the BMS reports the battery lasts {lasts_s:minutes}; nothing else confirms it, and no energy "
        "is counted yet, so jobs are requeued and critical nodes are touched once it has stood for {for_s:minutes}"
    ),
    "ride.genset_overload": "{drawn_w:kw} was drawn from the generator, rated {rated_w:kw}",
    "ride.overload": "{drawn_w:kw} was drawn, PCS and battery could give {most_w:kw}",
    "ride.too_short": "{left_s:minutes} left then at {drawn_w:kw}, {promised_s:minutes} promised",
    "ride.recovered_on_genset": "the generator had room, and {soc} had reached the reserve's {reserve_pct:.1f} %",
    "ride.recovered": "the grid was back and {soc} had reached the reserve's {reserve_pct:.1f} %",
}
