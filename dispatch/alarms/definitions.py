"""Defines the alarms of a site as data. `conditions` determines which of them hold.

Their texts are in `dispatch/wording/english/alarms/`.

Priorities: HIGH is for what hurts equipment or supply within minutes, MEDIUM for money or a lost function within the
hour, LOW for what can wait for the day.
"""

from __future__ import annotations

from dispatch.alarms.states import AlarmDefinition, Priority

HIGH, MEDIUM, LOW = Priority.HIGH, Priority.MEDIUM, Priority.LOW

DEFINITIONS: tuple[AlarmDefinition, ...] = (
    AlarmDefinition("grid-outage", HIGH, on_delay_s=1.0, off_delay_s=30.0),
    AlarmDefinition("fuse-overload", HIGH, on_delay_s=2.0),
    AlarmDefinition("meter-stale", HIGH, on_delay_s=2.0),
    AlarmDefinition("pcs-fault", HIGH, on_delay_s=1.0),
    AlarmDefinition("battery-temperature", HIGH, on_delay_s=10.0, off_delay_s=60.0),
    AlarmDefinition("battery-contactor", HIGH, on_delay_s=5.0),
    AlarmDefinition("battery-isolation", HIGH, on_delay_s=2.0, off_delay_s=10.0),
    AlarmDefinition("battery-cooling", HIGH, on_delay_s=10.0, off_delay_s=60.0),
    AlarmDefinition("battery-alarm", MEDIUM, on_delay_s=2.0, off_delay_s=10.0),
    AlarmDefinition("soc-low", HIGH, on_delay_s=30.0, off_delay_s=60.0),
    AlarmDefinition("soc-stands-still", MEDIUM),
    AlarmDefinition("device-lost", MEDIUM, on_delay_s=3.0),
    AlarmDefinition("nodes-not-read", MEDIUM, on_delay_s=3.0),
    AlarmDefinition("reading-missing", MEDIUM, on_delay_s=5.0),
    AlarmDefinition("reading-implausible", MEDIUM, off_delay_s=60.0),
    AlarmDefinition("meters-disagree", MEDIUM, on_delay_s=30.0, off_delay_s=10.0),
    AlarmDefinition("setpoint-not-followed", MEDIUM, on_delay_s=10.0),
    AlarmDefinition("pv-limit-not-followed", MEDIUM),
    AlarmDefinition("not-as-proven", MEDIUM, on_delay_s=5.0),
    AlarmDefinition("proof-overdue", HIGH),
    AlarmDefinition("setpoint-mismatch", MEDIUM, on_delay_s=5.0, off_delay_s=10.0),
    AlarmDefinition("foreign-master", HIGH, off_delay_s=10.0),
    AlarmDefinition("meter-energy", MEDIUM),
    AlarmDefinition("pcs-local", MEDIUM, on_delay_s=2.0),
    # an order of ours changes the control for some seconds
    AlarmDefinition("switch-not-automatic", HIGH, on_delay_s=10.0),
    AlarmDefinition("cap-not-followed", MEDIUM, on_delay_s=30.0, off_delay_s=10.0),
    AlarmDefinition("gpus-missing", MEDIUM, on_delay_s=10.0, off_delay_s=10.0),
    AlarmDefinition("gpu-limits-not-kept", MEDIUM),
    # a restart of the scheduler takes a minute or two
    AlarmDefinition("queue-lost", LOW, on_delay_s=180.0),
    AlarmDefinition("starts-not-kept", MEDIUM, on_delay_s=180.0),
    AlarmDefinition("start-limit-changed", MEDIUM),
    AlarmDefinition("gpu-limits-changed", MEDIUM),
    AlarmDefinition("contact-stop", HIGH, off_delay_s=0.0),
    # at once: it may be latched again right after it was released
    AlarmDefinition("contact-latched", HIGH, off_delay_s=0.0, by_name=True),
    AlarmDefinition("contact-cooling", HIGH),
    AlarmDefinition("contact-alarm", MEDIUM),
    AlarmDefinition("contact-broken", MEDIUM),
    AlarmDefinition("grid-operator-limit", LOW),
    AlarmDefinition("signal-silent", MEDIUM),
    AlarmDefinition("limit-exceeded", MEDIUM),
    AlarmDefinition("ups-on-battery", HIGH, on_delay_s=2.0),
    AlarmDefinition("ups-battery-low", HIGH),
    AlarmDefinition("ups-overload", HIGH, on_delay_s=5.0, off_delay_s=10.0),
    AlarmDefinition("ups-bypass", MEDIUM, on_delay_s=10.0, off_delay_s=10.0),
    AlarmDefinition("ups-replace-battery", LOW, on_delay_s=60.0, off_delay_s=60.0),
    AlarmDefinition("peak-exceeded", MEDIUM, off_delay_s=1.0),
    AlarmDefinition("peak-at-risk", LOW, on_delay_s=60.0, off_delay_s=15.0),
    AlarmDefinition("soc-below-reserve", MEDIUM, on_delay_s=60.0, off_delay_s=60.0),
    AlarmDefinition("no-plan", LOW, on_delay_s=180.0),
    AlarmDefinition("plan-late", LOW, on_delay_s=10.0),
    AlarmDefinition("prices-end-soon", LOW, on_delay_s=60.0),
    AlarmDefinition("prices-ended", MEDIUM, on_delay_s=10.0),
    AlarmDefinition("price-file", LOW),
    # at a start, the feeds are given the time for an answer
    AlarmDefinition("price-feed", LOW, on_delay_s=60.0),
    AlarmDefinition("tick-overruns", MEDIUM, on_delay_s=10.0, off_delay_s=60.0),
    AlarmDefinition("records-lost", MEDIUM, on_delay_s=5.0, off_delay_s=60.0),
    AlarmDefinition("part-failed", MEDIUM, off_delay_s=5.0),
    AlarmDefinition("disk-full", MEDIUM),
    AlarmDefinition("audit-changed", MEDIUM),
    AlarmDefinition("access-limited", MEDIUM),
    # a receiver may be restarted
    AlarmDefinition("output-failed", LOW, on_delay_s=300.0),
    AlarmDefinition("clock-stepped", LOW),
    AlarmDefinition("clock-not-known", MEDIUM),
    # NTP takes some minutes after a start
    AlarmDefinition("clock-not-synchronised", LOW, on_delay_s=600.0, off_delay_s=60.0),
    AlarmDefinition("orders-dropped", LOW),
    AlarmDefinition("balance-overdue", LOW),
    AlarmDefinition("battery-loses-money", LOW, on_delay_s=60.0, off_delay_s=60.0),
    AlarmDefinition("rules-conflict", LOW, on_delay_s=30.0, off_delay_s=30.0),
    AlarmDefinition("island-fault", HIGH),
    AlarmDefinition("island-blackout", HIGH, on_delay_s=1.0),
    AlarmDefinition("genset-running", MEDIUM, on_delay_s=2.0),
    AlarmDefinition("genset-overload", HIGH, on_delay_s=5.0, off_delay_s=10.0),
    AlarmDefinition("genset-low-load", MEDIUM, on_delay_s=60.0, off_delay_s=10.0),
    AlarmDefinition("drill-due", LOW),
    AlarmDefinition("ride-through-step", MEDIUM),
)
