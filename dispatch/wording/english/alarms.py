"""What alarms say. Texts may hold `{subject}`; each action is written for a technician alone on site at night."""

from __future__ import annotations

from dispatch.wording.alarm_text import AlarmText

# what is seen now, behind the cause
TEMPLATES = {
    "alarm.never_answered": "no good answer since the gateway started",
    "alarm.silent": "no good answer for {silent_s:.0f} s",
    "alarm.silent_error": "{silent}; {error}",
    "alarm.never_read": "never read",
    "alarm.old_reading": "last usable reading {age_s:.1f} s old",
    "alarm.meter_frozen": "it answers, but its value stands still: {import_w:kw}",
    "alarm.meters_apart": (
        "load meter {load_w:kw}, grid + PCS + PV {balance_w:kw}: {apart_w:kw} apart, {allowed_w:kw} allowed"
    ),
    "alarm.power_missing": "its power is missing",
    "alarm.soc_missing": "its SoC is missing",
    "alarm.switch_control": "it is in {control} control",
    "alarm.switch_reports_no_voltage": "the switch reports no grid voltage",
    "alarm.grid_voltage_back": "switch {by} reports grid voltage; the site is not on the grid yet: {state}",
    "alarm.lowest_phase": "lowest phase {phase_v:.0f} V",
    "alarm.phase_current": "{phase_a:.0f} A of {fuse_a:g} A",
    "alarm.fuse_power": "{import_w:kw} of {fuse_w:kw}, phases unknown",
    "alarm.load_meter_frozen": "the load meter stands still at {load_w:kw} while grid, PCS and PV move",
    "alarm.over_peak": "{over_w:kw} above the {peak} {limit_w:kw} as interval mean{assumed}",
    "alarm.peak_assumed": ", {unmeasured_s:whole_min} of it not measured but assumed",
    "alarm.peak_risk": "import {import_w:kw}, to stay below the {peak} {limit_w:kw} it may be {held_w:kw}",
    "alarm.soc_stands_still": "it reports {reported_pct:.1f} %, by the energy moved it is {counted_pct:.1f} %",
    "alarm.soc_low": "SoC {soc_pct:.1f} %, limit {limit_pct:g} %",
    "alarm.temperature": "{temp_c:.1f} °C, allowed {min_c:g}..{max_c:g} °C",
    "alarm.below_reserve": "{soc}, reserve {reserve_pct:.1f} %",
    "alarm.not_followed": "setpoint {setpoint_w:kw}, measured {measured_w:kw}",
    "alarm.not_followed_though_held": "asked {setpoint_w:kw}, reads back {held_w:kw}, measured {measured_w:kw}",
    "alarm.not_as_proven": "proven with firmware {proven}, now {now}; to be proven again by {again_local:date_clock}",
    "alarm.no_firmware": "not told",
    "alarm.contested": "asked {asked_w:kw}, the device held {held_w:kw} in {share_pct:.0f} % of the last looks",
    "alarm.foreign_master": "it had it hold {held_w:kw}; ours are tried again in {again_s:span}",
    "alarm.energy_apart": "by its power {counted_wh:kwh}, by its registers {register_wh:kwh} in {over_s:whole_min}",
    "alarm.not_enabled": "wrote {written_w:kw}, but the setpoint is not enabled in the device",
    "alarm.holds_another": "wrote {written_w:kw}, the device holds {held_w:kw}",
    "alarm.over_cap": "draws {drawn_w:kw}, capped to {cap_w:kw}",
    "alarm.gpus_missing": "{missing:g} of {gpus:g} without a power reading: {note}",
    "alarm.ups": "its status is {status}{charge}{runtime}{power}",
    "alarm.ups_charge": ", battery {charge_pct:.0f} %",
    "alarm.ups_runtime": ", {runtime_s:minutes} left by its own estimate",
    "alarm.ups_power": ", load {power_w:kw}",
    "alarm.overruns": "{late_ticks:g} late ticks in the last minute",
    "alarm.rows_dropped": "{rows:g} rows dropped in the last minute",
    "alarm.part_died": "failed {lasted_s:.0f} s ago: {error}",
    "alarm.part_hangs": "hanging for {lasted_s:.0f} s: {error}",
    "part.planner": "meanwhile the last plan stays in force; without one the rules control alone",
    "part.energy_iq": "meanwhile the Energy IQ is not updated; control does not use it",
    "part.price_file": "meanwhile a change of the price file is not noticed; the prices in force stay",
    "part.archive": "meanwhile charts, log and past decisions are not answered; the record itself goes on",
    "part.records": "meanwhile ticks and events wait in memory, and the oldest are lost when that is full",
    "part.audit": (
        "meanwhile commands that raise risk are refused; stop, hold, end, abort and withdraw work and are not durable"
    ),
    "part.link": "meanwhile no console can connect; those that are connected go on",
    "part.users": (
        "meanwhile a command is refused whose user's groups cannot be looked up; root may do everything all the same"
    ),
    "part.reservations": "meanwhile power reservations are refused; those granted stand",
    "part.node_polling": "meanwhile readings of the compute nodes grow old; the battery is controlled by the meters",
    "part.drills": "meanwhile no drill is announced or started by the schedule",
    "part.setpoints": "meanwhile this PCS keeps its setpoint until its own reversion timer runs out, if it has one",
    "part.orders": "meanwhile this device is not sent orders",
    "part.state_directory": "meanwhile a state directory that is lost or back is not noticed",
    "part.clock": "meanwhile a change of the clock's synchronisation is not noticed",
    "part.memory": "meanwhile what the controller remembered of earlier runs stays unread",
    "alarm.clock_step": "by {step_s:+.1f} s",
    "alarm.machine_clock": "the machine's clock says {local:date_clock}",
    "alarm.clock_not_synchronised": "the kernel's clock follows no time server",
    "alarm.dearer": "{more_eur:.2f} EUR more than without it, month to date",
    "alarm.plan_age": "{age_s:whole_min} old",
    "alarm.no_prices": "no prices at all",
    "alarm.prices_left": "{left_s:hours} left",
    "alarm.conflict": "rule {rule:rule_number} {rule:rule}: {reason}",
    "alarm.genset_over": "{drawn_w:kw} from the generator, rated {rated_w:kw}",
    "alarm.genset_back": "{back_w:kw} flow back into the generator",
    "alarm.genset_under": "{drawn_w:kw} from the generator, its lowest load is {least_w:kw}",
    "alarm.ride_step": "{step}: {why}",
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
    "pcs-fault": AlarmText(
        "PCS {subject} in fault",
        "The PCS reports a fault.",
        "Its battery neither charges nor discharges; peaks are not held and there is no ride-through from it.",
        (
            "Read the fault on the PCS display and note it. Check battery breaker and ventilation. Reset only by the "
            "maker's procedure; if it comes again, leave it off and call service."
        ),
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
    "device-lost": AlarmText(
        "{subject}: no good answer",
        "The device has not given a good answer for some time.",
        "Its values are stale; what it feeds is decided without it or on the safe side.",
        (
            "Check that it has power and its network light blinks. The Log tells whether the port answers, refuses or "
            "is silent. Restart the device if that is allowed during operation."
        ),
    ),
    "reading-missing": AlarmText(
        "{subject} answers without a needed reading",
        "The device answers, but does not give the reading that control needs.",
        "A PCS without its power counts with what the meters show of it, else with its last setpoint until its own "
        "timeout; without SoC its battery may only go towards 0 kW.",
        (
            "Look at the device's own display for the value. Restart its communication if that is allowed during "
            "operation. If it never gave one, the device or its register map does not suit."
        ),
    ),
    "reading-implausible": AlarmText(
        "{subject} reports values that cannot be true",
        "Readings of this device are rejected again and again, or for long.",
        (
            "Such a value is not used: the last good one is held for a few seconds, then the reading is missing. "
            "The Log has one line per rejection."
        ),
        (
            "Compare the device's own display with the figure. If the display is right, look at its scale factors, "
            "wiring and register map. If the figure is right, correct the key of the site file that is named."
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
    "setpoint-not-followed": AlarmText(
        "PCS {subject} does not follow its setpoint",
        "Measured power has differed from the setpoint for more than 10 s, and no reported limit explains it.",
        "The battery does not do what was decided: import may pass the peak or the fuse.",
        (
            "Read state and alarms on the PCS display. Check that it is in remote control and not in standby. If it "
            "idles with a setpoint, its enable may be lost: stop and start the gateway once."
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
    "pcs-local": AlarmText(
        "PCS {subject} in local control",
        "The key or menu of the PCS stands on local.",
        "It takes no setpoints; Skerry only watches it.",
        "If someone works on it, leave it. If the work is done, set it back to remote at the device.",
    ),
    "switch-not-automatic": AlarmText(
        "Transfer switch {subject} not in automatic control",
        "Somebody has set it to manual, test, inhibited or remote control, or it has not gone back after an order.",
        "When the grid fails it does not transfer to the generator by itself, and not back afterwards.",
        (
            "If someone works on it, leave it. Otherwise see whether its handle is inserted or an input inhibits it, "
            "and set it to automatic at the switch. If a gateway that was killed left it in remote control, "
            "`skerry devices release` sets it back, too."
        ),
    ),
    "cap-not-followed": AlarmText(
        "{subject} draws more than its cap",
        "The node is capped and has not come down to its cap.",
        "The load is higher than was decided: the peak may be passed, and the battery lasts less long off the grid.",
        (
            "The Log says what was set. On the Compute view compare each GPU's power with its limit; a cap below the "
            "least that the GPUs allow cannot be followed. Otherwise check the node's on_cap command, or suspend jobs."
        ),
    ),
    "gpus-missing": AlarmText(
        "GPUs of {subject} without power reading",
        "GPUs that are declared, or answered before, give no power reading.",
        "The node's power is not known, so caps for the month's peak do not count on it.",
        (
            "Run `nvidia-smi` on the node and look for Xid errors in `dmesg`. After a driver upgrade reboot the node. "
            "If a GPU was taken out for good, set gpus in the node's section of the site file."
        ),
    ),
    "gpu-limits-not-kept": AlarmText(
        "GPU limits of {subject} not on disk",
        "The GPUs were capped in ride-through, and their power limits from before cannot be put on disk.",
        "Should the gateway end before the cap is lifted, the GPUs stay capped: the next one does not know the limits.",
        (
            "Free space on the state directory (`df`) or repair its mount. Until then do not stop the gateway while "
            "ride-through caps nodes. After a stop set the limits by hand: `nvidia-smi -pl`."
        ),
    ),
    "contact-stop": AlarmText(
        "Protective contact {subject}",
        "A contact for emergency stop, fire, gas or grid and plant protection is active, or cannot be read.",
        "The battery is held at 0 kW. A PCS that forms the site's own grid is not touched.",
        (
            "Look for the cause on site first: people, smoke, gas. If there is none, check the contact, its wiring and "
            "the input module. Afterwards the alarm contact-latched must be acknowledged."
        ),
    ),
    "contact-latched": AlarmText(
        "Protective contact {subject} waits to be acknowledged",
        "The contact was active and is back.",
        "The battery stays at 0 kW until somebody acknowledges this alarm by name.",
        (
            "Make sure on site that the cause is gone and nobody works on the battery. Then select this alarm and "
            "acknowledge it: the battery is operated again at once."
        ),
    ),
    "contact-cooling": AlarmText(
        "Cooling fault {subject}",
        "The contact of the cooling reports a fault.",
        "Battery and nodes get warmer; their own limits will reduce their power.",
        "Look at the cooling unit now. Cap or shut down nodes before the temperatures reach their limits.",
    ),
    "contact-alarm": AlarmText(
        "Contact {subject}",
        "A contact that is to raise an alarm is active, or a door is open.",
        "Control goes on as before.",
        "Look at what the contact watches. If it is right, check the key normally in its section of the site file.",
    ),
    "contact-broken": AlarmText(
        "Wire break at contact {subject}",
        "Its two inputs say the same, where one must be the opposite of the other.",
        "What it watches is not known. A step of the grid operator's counts as active.",
        "Check both wires and terminals of the contact, and the input module.",
    ),
    "grid-operator-limit": AlarmText(
        "Grid operator limits the site by {subject}",
        "The grid operator's contact is active.",
        "Import or export at the PCC is limited as the site file declares for it, as far as the battery can.",
        "Nothing, if the grid operator confirms it. Otherwise check the ripple control receiver and its wiring.",
    ),
    "ups-on-battery": AlarmText(
        "UPS {subject} on battery",
        "The UPS reports that its input is out of range or off (OB), or that a shutdown was ordered (FSD).",
        "What it feeds runs until its own battery is empty, often for minutes only.",
        (
            "If the site has voltage, look at the breaker and the cable of the UPS's input. In an outage save work and "
            "shut down what hangs on this UPS before the runtime that it reports is over."
        ),
    ),
    "ups-battery-low": AlarmText(
        "UPS {subject}: battery low",
        "The UPS reports that its battery is almost empty (LB), or that a shutdown was ordered (FSD).",
        "What it feeds loses power within minutes when its input fails, or at once when it is on battery.",
        "Shut down what hangs on this UPS now. If its input is there and the charge does not rise, have it serviced.",
    ),
    "ups-overload": AlarmText(
        "UPS {subject} overloaded",
        "The UPS reports more load than it is rated for (OVER).",
        "It may switch to bypass or off; on battery it cannot carry the load.",
        "Move load to another UPS or feed, or shut some of it down, until the load is below the rating.",
    ),
    "ups-bypass": AlarmText(
        "UPS {subject} does not protect its load",
        "The UPS reports that its load is on bypass (BYPASS) or that its output is off (OFF).",
        "An outage reaches what it feeds without delay.",
        "If nobody works on it, read its display: after an overload or a fault it must be switched back by hand.",
    ),
    "ups-replace-battery": AlarmText(
        "UPS {subject}: replace battery",
        "The UPS reports that its battery failed its test or is worn out (RB).",
        "Its runtime is shorter than it says; in an outage it may drop its load at once.",
        "Order and replace the battery, then run the self-test of the UPS.",
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
    "soc-below-reserve": AlarmText(
        "SoC below the reserve",
        "Less energy is stored than the ride-through promise needs.",
        "A grid outage now would not be bridged for the promised hours.",
        (
            "It recharges by itself as the peak, or a generator, allows; on the grid the plan says when. If it does "
            "not rise within the hour, look at `skerry why` and the PCS."
        ),
    ),
    "no-plan": AlarmText(
        "No plan",
        "The planner has not made a usable plan.",
        "The rules alone steer: peaks are held, prices are not used.",
        "The site is safe. The reason given says what is not known: see to that device. If it gives none, see the Log.",
    ),
    "plan-late": AlarmText(
        "Plan is old",
        "The plan in force was made more than three periods ago.",
        "It is followed as long as it reaches, with a load forecast that grows old; then the rules steer alone.",
        (
            "The reason given says what newer plans lacked: see to that. If it gives none, the solver was too slow: "
            "check the gateway's CPU load (`top`)."
        ),
    ),
    "prices-end-soon": AlarmText(
        "Prices end soon",
        "Published prices reach less than 6 h ahead.",
        "The plan works with typical prices beyond them and may buy at the wrong hour.",
        "Check that the price feed or file was refreshed after midday; load tomorrow's prices.",
    ),
    "prices-ended": AlarmText(
        "No price for now",
        "There is no published price for the present hour.",
        "Plans use typical prices; the battery may charge at a dear hour. Peaks are still defended.",
        "Load current prices (see [tariff] in the site file). Check the gateway's date if the file is current.",
    ),
    "price-file": AlarmText(
        "Price file not usable",
        "The price file of [tariff] cannot be read as it is now, is gone, or holds no price for now.",
        "The prices read before stay in force, as far as they reach; new ones are not known.",
        "Mend the line that is named, or write the file again: it is read once it has changed, or at SIGHUP.",
    ),
    "tick-overruns": AlarmText(
        "Control loop overruns",
        "Decisions come later than the configured rate asks.",
        "Setpoints lag behind the load; short peaks get through.",
        "Look for what else uses the gateway's CPU or disk (`top`). Lower gateway.rate_hz if the machine is too small.",
    ),
    "records-lost": AlarmText(
        "Records not written",
        "Telemetry or events cannot be stored.",
        "Control runs on; this time will be missing in the records.",
        "Check free space and the mount of the state directory (`df`), then the disk (`dmesg`).",
    ),
    "part-failed": AlarmText(
        "Part of the gateway fails: {subject}",
        "A part of the gateway beside the control loop ended by an error, or a call of it does not end.",
        "The control loop runs on. The part is begun again by itself, at growing intervals of up to a minute.",
        (
            "Look at the gateway's log (`journalctl -u skerry`) and at disk, memory and network of the machine "
            "(`dmesg`). If it does not recover, restart the gateway while the site is grid-tied, and send the log to "
            "whoever maintains Skerry."
        ),
    ),
    "disk-full": AlarmText(
        "Disk full",
        "The disk of the state directory is full or nearly full: some of the space kept back for this is not there.",
        "Control, audit, events and the controller's memory go on. Once the disk was full, samples wait in memory, an "
        "hour of them; then the oldest are lost.",
        "Free space on that disk (`df -h`, `df -i`): look for what grows. The reserve of [storage] ballast_mb is made "
        "anew by itself, then the samples are written.",
    ),
    "audit-changed": AlarmText(
        "Audit is not as it was written",
        "Rows of the audit are lost or were edited, its triggers were removed, or another key signs it: a damaged "
        "disk, a restored or exchanged file, or somebody with access to the state directory.",
        "Control and commands run on. The record of commands is not whole; `skerry verify` says CHANGED.",
        "Keep a copy of the state directory, with its *.corrupt.* files. Check the disk (`dmesg`) and who has access. "
        "`skerry verify` names the rows; compare with earlier exports.",
    ),
    "clock-stepped": AlarmText(
        "Wall clock stepped",
        "The gateway's wall clock was set while it ran.",
        "Records have a gap or an overlap. What was measured in the 26 h before is counted in the metering intervals "
        "that the new time names. Control, orders and their ends are not affected.",
        "Check time synchronisation (`timedatectl`). Acknowledge when it is in sync.",
    ),
    "clock-not-known": AlarmText(
        "Time not known",
        "The machine was started without a clock: its time is before the end of the record, or before 2025, or was at "
        "boot about where the record ended, as if saved when the machine went off.",
        "Control runs: fuse, contracted peak, reserve. Nothing is billed, no plan or price is used, no scheduled drill "
        "begins. What is measured is counted in its metering intervals once the time is known, the last 26 h of it.",
        "Look why no time server is used (`timedatectl`), or set it: `sudo date -s`. Replace its battery if this "
        "happens again.",
    ),
    "clock-not-synchronised": AlarmText(
        "Clock not synchronised",
        "No time server disciplines the clock of the gateway's machine: chrony or timesyncd does not run, or reaches "
        "none.",
        "It drifts by up to some seconds a day: metering intervals begin too early or too late, so the peak that is "
        "kept is not quite the one that the utility bills.",
        "Look at `timedatectl` and `chronyc sources`; allow NTP (UDP port 123) to a time server. On a site without "
        "one, set the clock by hand and shelve this alarm.",
    ),
    "access-limited": AlarmText(
        "Access of users limited",
        "A group of [roles] was not found, or the socket could not be opened or handed to the viewers' group.",
        "Control runs. Users of that group cannot connect or lack their role; root can do everything.",
        (
            "Create the group that is named (`groupadd`), or put its right name into [roles]; if it is on a directory "
            "server, see that the server answers. The gateway looks again every few seconds. If its user became a "
            "member of the viewers' group after its start, restart it: `systemctl restart skerry`."
        ),
    ),
    "orders-dropped": AlarmText(
        "Order dropped by a restart",
        "The gateway was restarted while a manual order was in force; no order outlives it.",
        "Rules and plan steer again; what the order was for is not done.",
        "Give the order again if it is still wanted: `skerry audit` shows it with its reason. Then acknowledge.",
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
    "rules-conflict": AlarmText(
        "Rules cannot all be met",
        "A rule asks for battery power that an earlier rule forbids.",
        "The earlier rule is obeyed; what the later one protects is not fully protected.",
        (
            "While it lasts `skerry why` names both, afterwards `skerry why --at TIME`. Usual pairs: the peak needs "
            "more than the battery can give, or the reserve forbids what the peak needs."
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
    "drill-due": AlarmText(
        "Drill due",
        "By the site file's schedule an outage is to be rehearsed now.",
        "How this site takes an outage is known as of the last drill only.",
        (
            "Tell the users, then `skerry drill start`; the checks before it say what is missing. After "
            "drills.window_h it counts as missed, which the Log says."
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
    "ride-through-step": AlarmText(
        "Ride-through gives up load",
        (
            "The battery does not last for the promised hours at this load, or the load is near what it can give, or "
            "above the rating of a generator."
        ),
        "Deferrable nodes are capped or suspended, critical ones capped, at last all are shut down.",
        (
            "Switch off what is not needed: each kW less gives time. Steps are undone by themselves once the grid is "
            "back, or a generator that was never overloaded has room, and the battery has recovered."
        ),
    ),
}
