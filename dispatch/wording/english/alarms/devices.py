"""What alarms say of any device that does not answer or is not believed, of contacts and of the transfer switch."""

from __future__ import annotations

from dispatch.wording.alarm_text import AlarmText

TEMPLATES = {
    "alarm.never_answered": "no good answer since the gateway started",
    "alarm.silent": "no good answer for {silent_s:.0f} s",
    "alarm.silent_error": "{silent}; {error}",
    "alarm.never_read": "never read",
    "alarm.old_reading": "last usable reading {age_s:.1f} s old",
    "alarm.power_missing": "its power is missing",
    "alarm.soc_missing": "its SoC is missing",
    "alarm.pv_over": "given a limit of {limit_w:kw}, measured {measured_w:kw}",
    "alarm.pv_over_though_read": "given a limit of {limit_w:kw}, reads back {held_w:kw}, measured {measured_w:kw}",
    "alarm.switch_control": "it is in {control} control",
}

TEXTS: dict[str, AlarmText] = {
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
    "pv-limit-not-followed": AlarmText(
        "{subject} gives more PV than its limit",
        "The inverter has been above the limit it was given for half a minute or more, and its power does not fall.",
        "The export limit, or the lowest load of a generator, may not be kept; the battery takes what it can.",
        (
            "See in the Log whether it refuses the limit, and at the inverter whether remote limits are enabled and "
            "what they are a percentage of ([[pv]] rated_w). Switch it off where the export limit binds you."
        ),
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
        "Its two inputs say the same, where one must be the opposite of the other, or its wires say no known step.",
        "What it watches is not known. A step of the grid operator's counts as active.",
        "Check both wires and terminals of the contact, and the input module.",
    ),
    "grid-operator-limit": AlarmText(
        "Grid operator limits the site by {subject}",
        "The grid operator's contact is active.",
        "Import, export, charging or PV is limited as the site file says, as far as battery and inverters can.",
        "Nothing, if the grid operator confirms it. Otherwise check the ripple control receiver and its wiring.",
    ),
    "signal-silent": AlarmText(
        "No heartbeat of {subject}",
        "No signed message of this sender has come for longer than its heartbeat_s.",
        "Its failsafe limits hold until the next one.",
        "Check the way to it: broker, network, directory. The event log names messages that were refused.",
    ),
    "limit-exceeded": AlarmText(
        "Limit by {subject} is not kept",
        "What this contact, sender or grid event limits was above the limit for 30 s.",
        "The shortfall is in the audit. Neither the reserve nor critical load is given up for it.",
        "See the setpoint's reasons (`skerry why`); lower the load by hand, or tell whoever set the limit.",
    ),
}
