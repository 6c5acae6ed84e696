"""What alarms say of the gateway itself: its loop, parts, records, clock and orders."""

from __future__ import annotations

from dispatch.wording.alarm_text import AlarmText

TEMPLATES = {
    "alarm.overruns": "{late_ticks:g} late ticks in the last minute",
    "alarm.rows_dropped": "{rows:g} rows dropped in the last minute",
    "alarm.part_died": "failed {lasted_s:.0f} s ago: {error}",
    "alarm.part_hangs": "hanging for {lasted_s:.0f} s: {error}",
    "part.planner": "meanwhile the last plan stays in force; without one the rules control alone",
    "part.energy_iq": "meanwhile the Energy IQ is not updated; control does not use it",
    "part.price_feed": "meanwhile no prices are fetched; those that are known stay in force",
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
    "part.queue": "meanwhile the jobs of that scheduler stay as they were read; after 15 minutes they do not count",
    "part.node_polling": "meanwhile readings of the compute nodes grow old; the battery is controlled by the meters",
    "part.drills": "meanwhile no drill is announced or started by the schedule",
    "part.outputs": "meanwhile its receivers are told nothing; nothing else depends on it",
    "part.setpoints": "meanwhile this PCS keeps its setpoint until its own reversion timer runs out, if it has one",
    "part.orders": "meanwhile this device is not sent orders",
    "part.state_directory": "meanwhile a state directory that is lost or back is not noticed",
    "part.clock": "meanwhile a change of the clock's synchronisation is not noticed",
    "part.memory": "meanwhile what the controller remembered of earlier runs stays unread",
    "alarm.clock_step": "by {step_s:+.1f} s",
    "alarm.machine_clock": "the machine's clock says {local:date_clock}",
    "alarm.clock_not_synchronised": "the kernel's clock follows no time server",
    "alarm.conflict": "rule {rule:rule_number} {rule:rule}: {reason}",
}

TEXTS: dict[str, AlarmText] = {
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
        "one, set the clock by hand from time to time: the alarm stays.",
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
    "output-failed": AlarmText(
        "Output {subject} does not reach its receiver",
        "For 5 minutes nobody was told by this output of the site file, for the reason that the detail gives.",
        "The site runs as before. Whoever relies on this output sees old figures, or hears of no alarm.",
        (
            "Run `skerry doctor SITE`, which tries each output once. Check that the other side runs, and the section "
            "of the site file: [metrics], [mqtt] or [[notify]]. It is tried again by itself."
        ),
    ),
    "orders-dropped": AlarmText(
        "Order dropped by a restart",
        "The gateway was restarted while a manual order was in force; no order outlives it.",
        "Rules and plan steer again; what the order was for is not done.",
        "Give the order again if it is still wanted: `skerry audit` shows it with its reason. Then acknowledge.",
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
}
