"""What alarms say of the plan and the prices."""

from __future__ import annotations

from dispatch.wording.alarm_text import AlarmText

TEMPLATES = {
    "alarm.plan_age": "{age_s:whole_min} old",
    "alarm.no_prices": "no prices at all",
    "alarm.feed_overdue": "{meanwhile}; {why}",
    "alarm.prices_left": "{left_s:hours} left",
    "advisory.contract": "plan {over_w:kw} above the contract {contract_w:kw} at {start_local:clock}{more}",
    "advisory.contract_more": " and {more:g} more",
}

TEXTS: dict[str, AlarmText] = {
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
    "price-feed": AlarmText(
        "Prices are overdue",
        "No feed of [tariff] has told the prices that the market published 3 h ago or more.",
        "Known prices are used as far as they reach, then those of the same hours of the last days.",
        "Check the network of the gateway and the token. `skerry doctor` asks each feed and says what it answers.",
    ),
    "price-file": AlarmText(
        "Price file not usable",
        "The price file of [tariff] cannot be read as it is now, is gone, or holds no price for now.",
        "The prices read before stay in force, as far as they reach; new ones are not known.",
        "Mend the line that is named, or write the file again: it is read once it has changed, or at SIGHUP.",
    ),
}
