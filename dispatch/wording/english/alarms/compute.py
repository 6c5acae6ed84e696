"""What alarms say of compute nodes, of what ride-through takes from them, and of UPSs."""

from __future__ import annotations

from dispatch.wording.alarm_text import AlarmText

TEMPLATES = {
    "alarm.over_cap": "draws {drawn_w:kw}, capped to {cap_w:kw}",
    "alarm.nodes_unread": "{lost:g} of {of:g} nodes: {why}",
    "alarm.gpus_missing": "{missing:g} of {gpus:g} without a power reading: {note}",
    "alarm.ups": "its status is {status}{charge}{runtime}{power}",
    "alarm.ups_charge": ", battery {charge_pct:.0f} %",
    "alarm.ups_runtime": ", {runtime_s:minutes} left by its own estimate",
    "alarm.ups_power": ", load {power_w:kw}",
    "alarm.ride_step": "{step}: {why}",
}

TEXTS: dict[str, AlarmText] = {
    "nodes-not-read": AlarmText(
        "Compute nodes not read",
        "The process that reads compute nodes over the network has ended, hangs or cannot be started.",
        "Their readings are stale. The battery is controlled by the meters; jobs get no figures for this time.",
        (
            "It is started again by itself, at growing intervals of up to a minute. Look at the gateway's log "
            "(`journalctl -u skerry`) and at memory and CPU of the machine (`top`, `dmesg`)."
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
    "queue-lost": AlarmText(
        "Queue of {subject} not read",
        "The scheduler's jobs cannot be read, for the reason that the detail gives.",
        (
            "The jobs read before are shown with their age. After 15 minutes they no longer count in the forecast. "
            "Nothing that runs is affected."
        ),
        (
            "Run `skerry compute check SITE` as the gateway's user: it reads the queue once. Slurm: try `squeue` and "
            "`scontrol ping`. A command: run it by hand, it must ask nothing. A file: does what writes it run?"
        ),
    ),
    "starts-not-kept": AlarmText(
        "Power not kept back in {subject}",
        "The scheduler does not take what is to be kept back from jobs, for the reason that the detail gives.",
        (
            "What was kept back lapses after 5 min, a limit by its timer; jobs then start as without Skerry. The load "
            "may pass what the site can give: then nodes are capped, where the site file lets them be."
        ),
        (
            "As the gateway's user run by hand what [[scheduler]] of the site file names: Slurm: `scontrol show lic`; "
            "a limit: its command with `show`. Hold jobs in the scheduler until it works."
        ),
    ),
    "start-limit-changed": AlarmText(
        "Limit of {subject} changed by another",
        "While Skerry limited the jobs, another program or person set the limit.",
        "Skerry leaves it as it is: jobs start up to it, also beyond the power that the site can give.",
        (
            "Find out who set it. To let Skerry limit again from this value on, run the limit command of the site file "
            "with `restore`: it forgets what was before, and changes nothing."
        ),
    ),
    "gpu-limits-not-kept": AlarmText(
        "Power limits of {subject} not on disk",
        "It was capped in ride-through, and its power limits from before cannot be put on disk.",
        "Should the gateway end before the cap is lifted, it stays capped: the next one does not know the limits.",
        (
            "Free space on the state directory (`df`) or repair its mount. Until then do not stop the gateway while "
            "ride-through caps nodes. After a stop set the limits by hand: `nvidia-smi -pl`, or in the BMC."
        ),
    ),
    "gpu-limits-changed": AlarmText(
        "Power limits of {subject} changed by another",
        "While Skerry capped the node, another program set the power limit of its BMC, or limits of its GPUs.",
        "Skerry has left them as they are, and does not restore them when the cap ends. The cap may not hold.",
        (
            "Find what sets them (`nvidia-smi -pl`, DCGM, the BMC, a job's prolog) and let one of the two do it. Set "
            "the limit that is wanted by hand. The alarm ends with the next cap that nobody else changes."
        ),
    ),
    "ride-through-step": AlarmText(
        "Ride-through gives up load",
        (
            "The battery does not last for the promised hours at this load, or the load is near what it can give, or "
            "above the rating of a generator."
        ),
        (
            "As the site file says how: deferrable nodes start no new jobs, are capped, their jobs requeued, and empty "
            "ones powered off; then critical nodes are capped; at last all are shut down."
        ),
        (
            "Switch off what is not needed: each kW less gives time. Steps are undone once the grid is back, or a "
            "generator never overloaded has room, and the battery has recovered."
        ),
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
}
