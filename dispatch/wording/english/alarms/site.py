"""What alarms say of the grid, its meters and the peak, of a generator and of living off the grid."""

from __future__ import annotations

from dispatch.wording.alarm_text import AlarmText

TEMPLATES = {
    "alarm.nearly_back": "{seen}; back inside its limit, but not yet by its deadband",
    "alarm.meter_frozen": "it answers, but its value stands still: {import_w:kw}",
    "alarm.meters_apart": (
        "load meter {load_w:kw}, grid + PCS + PV {balance_w:kw}: {apart_w:kw} apart, {allowed_w:kw} allowed"
    ),
    "alarm.switch_reports_no_voltage": "the switch reports no grid voltage",
    "alarm.grid_voltage_back": "switch {by} reports grid voltage; the site is not on the grid yet: {state}",
    "alarm.lowest_phase": "lowest phase {phase_v:.0f} V",
    "alarm.phase_current": "{phase_a:.0f} A of {fuse_a:g} A",
    "alarm.fuse_power": "{import_w:kw} of {fuse_w:kw}, phases unknown",
    "alarm.load_meter_frozen": "the load meter stands still at {load_w:kw} while grid, PCS and PV move",
    "alarm.over_peak": "{over_w:kw} above the {peak} {limit_w:kw} as interval mean{assumed}",
    "alarm.peak_assumed": ", {unmeasured_s:whole_min} of it not measured but assumed",
    "alarm.peak_risk": "import {import_w:kw}, to stay below the {peak} {limit_w:kw} it may be {held_w:kw}",
    "alarm.energy_apart": "by its power {counted_wh:kwh}, by its registers {register_wh:kwh} in {over_s:whole_min}",
    "alarm.genset_over": "{drawn_w:kw} from the generator, rated {rated_w:kw}",
    "alarm.genset_back": "{back_w:kw} flow back into the generator",
    "alarm.genset_under": "{drawn_w:kw} from the generator, its lowest load is {least_w:kw}",
}

TEXTS: dict[str, AlarmText] = {
    "grid-outage": AlarmText(
        "Grid outage",
        "No voltage on the grid side of the PCC.",
        "The site lives on its battery or a generator as far as switch and PCS allow; otherwise it is dark.",
        (
            "Look at SoC and load on the Overview: on the battery that is the time left. Check the grid operator's "
            "outage page and the supply breaker's position. Do not close any switch by hand; the transfer switch "
            "reconnects when the grid is back."
        ),
    ),
    "fuse-overload": AlarmText(
        "Fuse overload",
        "Current at the PCC is above the fuse rating.",
        "The fuse or breaker will open and the whole site loses the grid.",
        (
            "Shed load now: stop charging vehicles and non-critical nodes. If the battery is not discharging, look at "
            "the PCS alarms and at `skerry why`."
        ),
    ),
    "meter-stale": AlarmText(
        "Grid import unknown",
        "No good reading from the grid meter, or one that stands still.",
        "Import is not measured: the battery goes to its safe value and the month's peak is not defended, unless the "
        "net load can be derived from a load meter. The reason of the setpoint says so.",
        (
            "Check the meter's supply and network cable. The Log says how it fails. If other devices are lost too, "
            "check the switch in the gateway's cabinet."
        ),
    ),
    "meters-disagree": AlarmText(
        "Meters disagree",
        "Grid, PCS and PV together are not what the load meter shows.",
        "One of them is wrong: the peak is defended, and the plan made, on a wrong import or load.",
        (
            "Compare each meter's display with `skerry status`. A value that stands still is the wrong one: check "
            "that meter's wiring and restart it. Where all move, check the current transformers' ratio and direction."
        ),
    ),
    "meter-energy": AlarmText(
        "Meter {subject}: power and energy do not fit",
        "What the meter's power adds up to is not what its own energy registers count.",
        "One of them is wrong or was forged on its way: the peak may be defended on a wrong import.",
        (
            "Read power and energy on the meter's own display for five minutes and compare with `skerry status`. If "
            "the display shows other values, somebody changes them on the network: check what is connected to it. If "
            "not, check transformer ratio and scale of the meter."
        ),
    ),
    "peak-exceeded": AlarmText(
        "Peak exceeded",
        "The mean import of the running metering interval has passed the contracted peak or the month's peak.",
        "The month's demand charge rises by this interval's excess.",
        (
            "Nothing more to win in this interval beyond shedding load. See `skerry why` for what held the battery "
            "back, and lower the load before the next interval if it goes on."
        ),
    ),
    "peak-at-risk": AlarmText(
        "Peak at risk",
        "At the present import this metering interval will end above the contracted peak or the month's peak.",
        "The month's demand charge will rise unless the battery or the load gives way.",
        (
            "Check that the battery discharges and how far it can. If its SoC is at the reserve, hold back jobs until "
            "the interval ends."
        ),
    ),
    "island-fault": AlarmText(
        "Islanding fault",
        "Switch, PCS and bus contradict each other, or the switch did not close after several permissions.",
        "Nothing more is asked of the switch, and the battery gets no setpoint, until an operator resets the fault.",
        (
            "Read the reason on the Island view. Compare the switch's position by eye with its contacts, and the PCS "
            "display with what is shown. When cause and state are clear, reset the fault there."
        ),
    ),
    "island-blackout": AlarmText(
        "Site is dark",
        "No source carries the site's bus.",
        "Nothing is supplied but what has a UPS of its own.",
        (
            "Find out why the PCS stopped: overload, empty battery, fault. Only an engineer who knows that nobody "
            "works on the bus may start it: black start on the Island view. A grid that is back closes by the device "
            "or by hand."
        ),
    ),
    "genset-running": AlarmText(
        "Site on its generator",
        "The switch at the PCC has put the generator in the grid's place.",
        (
            "No export, no trading, no peak shaving; plan and metering interval are paused. The battery only keeps the "
            "generator between its lowest load and its rating, and refills the reserve from what it has to spare."
        ),
        "Look after fuel and load. The switch changes back by itself once the grid is there: Skerry does not ask it.",
    ),
    "genset-overload": AlarmText(
        "Generator outside its range",
        "It gives more than its rating, or takes power back.",
        "Its protection may stop it within minutes; then the battery carries the site alone.",
        (
            "More than its rating: switch off what is not needed. Power back into it: switch off PV that Skerry may "
            "not limit ([[pv]] curtail), and look why the battery does not charge."
        ),
    ),
    "genset-low-load": AlarmText(
        "Generator below its lowest load",
        "Load less PV is small, and the battery cannot charge enough or PV may not be limited.",
        "A diesel engine that runs long at low load fouls and wears.",
        "Add load, or let Skerry limit PV ([[pv]] curtail); see min_load_w in [genset].",
    ),
    "drill-due": AlarmText(
        "Drill due",
        "By the site file's schedule an outage is to be rehearsed now.",
        "How this site takes an outage is known as of the last drill only.",
        (
            "Tell the users, then `skerry drill start`; the checks before it say what is missing. After "
            "drills.window_h it counts as missed, which the Log says."
        ),
    ),
}
