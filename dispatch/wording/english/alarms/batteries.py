"""What alarms say of PCS and batteries."""

from __future__ import annotations

from dispatch.wording.alarm_text import AlarmText

TEMPLATES = {
    "alarm.soc_stands_still": "it reports {reported_pct:.1f} %, by the energy moved it is {counted_pct:.1f} %",
    "alarm.soc_low": "SoC {soc_pct:.1f} %, limit {limit_pct:g} %",
    "alarm.temperature": "{temp_c:.1f} °C, allowed {min_c:g}..{max_c:g} °C",
    "alarm.below_reserve": "{soc}, reserve {reserve_pct:.1f} %",
    "alarm.not_followed": "setpoint {setpoint_w:kw}, measured {measured_w:kw}",
    "alarm.not_followed_though_held": "asked {setpoint_w:kw}, reads back {held_w:kw}, measured {measured_w:kw}",
    "alarm.not_as_proven": "proven with firmware {proven}, now {now}; to be proven again by {again_local:date_clock}",
    "alarm.another_than_proven": "serial number {proven} was proven, now {now}; prove by {again_local:date_clock}",
    "alarm.no_firmware": "not told",
    "alarm.contested": "asked {asked_w:kw}, the device held {held_w:kw} in {share_pct:.0f} % of the last looks",
    "alarm.foreign_master": "it had it hold {held_w:kw}; ours are tried again in {again_s:span}",
    "alarm.not_enabled": "wrote {written_w:kw}, but the setpoint is not enabled in the device",
    "alarm.holds_another": "wrote {written_w:kw}, the device holds {held_w:kw}",
    "alarm.balance_overdue": "{last}; to be full every {days:g} days",
    "alarm.dearer": "{more_eur:.2f} EUR more than without it, month to date",
}

TEXTS: dict[str, AlarmText] = {
    "pcs-fault": AlarmText(
        "PCS {subject} in fault",
        "The PCS reports a fault.",
        "Its battery neither charges nor discharges; peaks are not held and there is no ride-through from it.",
        (
            "Read the fault on the PCS display and note it. Check battery breaker and ventilation. Reset only by the "
            "maker's procedure; if it comes again, leave it off and call service."
        ),
    ),
    "pcs-local": AlarmText(
        "PCS {subject} in local control",
        "The key or menu of the PCS stands on local.",
        "It takes no setpoints; Skerry only watches it.",
        "If someone works on it, leave it. If the work is done, set it back to remote at the device.",
    ),
    "setpoint-not-followed": AlarmText(
        "PCS {subject} does not follow its setpoint",
        "Measured power has differed from the setpoint for more than 10 s, and no reported limit explains it.",
        "The battery does not do what was decided: import may pass the peak or the fuse.",
        (
            "Read state and alarms on the PCS display. Check that it is in remote control and not in standby. If it "
            "idles with a setpoint, its enable may be lost: stop and start the gateway once."
        ),
    ),
    "setpoint-mismatch": AlarmText(
        "PCS {subject} holds another setpoint",
        "The setpoint read back is not the one asked: another master commands this device, or it refuses the value.",
        "Two controllers pull at one battery; neither peak nor reserve is safe.",
        (
            "Find the other master: maker's cloud or app, a home automation, a second gateway. Switch its control "
            "off. Only one system may write setpoints."
        ),
    ),
    "foreign-master": AlarmText(
        "Another controller commands PCS {subject}",
        "The PCS held our setpoint and then another one, again and again, and reports nothing that explains it: it is "
        "assumed that somebody else writes to it.",
        "It gets no setpoint from Skerry for now, so that no two controllers pull at one battery. Neither peak nor "
        "reserve is defended with it.",
        (
            "Find the other controller (maker's app, home automation, second gateway, intruder) and switch its control "
            "off. Skerry tries again by itself, or after a restart."
        ),
    ),
    "not-as-proven": AlarmText(
        "PCS {subject} is not as it was proven",
        "It says another firmware, serial number or model than it had when it was proven.",
        "Control reckons with the longest delays, and gives and takes half of its power at most.",
        "Prove it again within 7 days, with somebody beside it: skerry devices prove {subject} --on-site NAME.",
    ),
    "proof-overdue": AlarmText(
        "PCS {subject} has not been proven again",
        "It has had another firmware than proven for more than 7 days.",
        "It stays at half of its power; what it does when Skerry falls silent is not known.",
        "Prove it again now, with somebody beside it: skerry devices prove {subject} --on-site NAME.",
    ),
    "battery-temperature": AlarmText(
        "Battery {subject} temperature",
        "Battery temperature is outside the site file's limits.",
        "Charge and discharge are stopped; a battery that keeps heating is a fire risk.",
        (
            "Do not open the battery. Check room cooling, filters and fans. If it rises although the battery idles, "
            "or there is smell or smoke: leave the room, press the emergency stop outside, call the fire brigade."
        ),
    ),
    "battery-contactor": AlarmText(
        "Contactor of {subject} open",
        "The BMS has the battery disconnected from its PCS.",
        "No power can flow: the battery is not commanded, peaks are not held and there is no ride-through from it. "
        "It is used again once the BMS has closed the contactor.",
        (
            "Look at the alarms of the BMS and at the battery's breaker. Do not bridge or close a contactor by hand. "
            "If it opens again after the maker's procedure, leave it off and call service."
        ),
    ),
    "battery-isolation": AlarmText(
        "Isolation fault of {subject}",
        "A pole of the battery has contact to earth.",
        "It is held at 0 kW until the fault is over. A second contact to earth is a short circuit of the battery.",
        (
            "Touch neither battery nor its DC cables, and keep others away. Look for water and damaged cables from "
            "outside. Switch it off by its own switch and call service."
        ),
    ),
    "battery-cooling": AlarmText(
        "Cooling of {subject} fails",
        "The BMS reports a fault of a fan, pump or chiller.",
        "The battery goes on within its limits of temperature and of its BMS, which lower its power as it warms up.",
        (
            "Check filters, fans, coolant and the chiller's supply. Look at the temperatures on the Devices view. If "
            "they rise, hold the battery at 0 kW with `skerry hold`."
        ),
    ),
    "battery-alarm": AlarmText(
        "Battery {subject} reports alarms",
        "Its BMS reports alarms or warnings.",
        "The limits that the BMS gives are kept. With a fault, or off the DC bus, the battery is not commanded.",
        (
            "Look up the alarms in the manual of the BMS. The Devices view shows what it tells of cells, contactor, "
            "isolation and cooling."
        ),
    ),
    "soc-stands-still": AlarmText(
        "SoC of {subject} does not follow",
        "Its BMS reports an SoC that does not change although energy has moved.",
        (
            "SoC is counted from energy: discharging goes by the lower of report and count, charging by the higher. "
            "The count drifts, so the remaining runtime is an estimate. No drill can start."
        ),
        (
            "Look at the battery's own display: does it show the same SoC? If not, the path between BMS and gateway "
            "repeats an old value: restart it. If so, restart the BMS or call its maker. Check `energy_kwh` of the "
            "battery in the site file."
        ),
    ),
    "soc-low": AlarmText(
        "Battery {subject} almost empty",
        "SoC is at its lower limit.",
        "The battery cannot hold peaks, and a grid outage takes the site down at once.",
        (
            "If the grid is there: look at `skerry why` for what keeps it from charging (peak, manual setpoint, PCS "
            "limits). In an outage: shut down what is not critical."
        ),
    ),
    "soc-below-reserve": AlarmText(
        "SoC below the reserve",
        "Less energy is stored than the ride-through promise needs.",
        "A grid outage now would not be bridged for the promised hours.",
        (
            "It recharges by itself as the peak, or a generator, allows; on the grid the plan says when. If it does "
            "not rise within the hour, look at `skerry why` and the PCS."
        ),
    ),
    "balance-overdue": AlarmText(
        "Battery {subject} not balanced",
        "It was not held at its balance_soc_pct for more than a day longer than balance_every_days allows.",
        "Cells drift apart and the BMS's SoC grows wrong: less energy may be there than is shown, for the reserve too.",
        (
            "It is tried on one day of three: `skerry plan` says then when it will be full, or that orders, signals or "
            "the peak leave no hours. If it is planned and does not get there, look at limits of BMS and PCS."
        ),
    ),
    "battery-loses-money": AlarmText(
        "Battery costs more than it saves",
        "By the record of this month so far, the site would have paid less without the battery.",
        "The month's bill is higher than it need be: a peak that was not held, or trading that did not pay its wear.",
        (
            "See `skerry iq` for where it was lost. Manual orders and outages end by themselves; for a forecast that "
            "fails, or a price in the site file that is not the bill's, call whoever keeps the site file."
        ),
    ),
}
