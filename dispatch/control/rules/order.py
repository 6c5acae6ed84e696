"""The order in which the rules run, the islanding states in which each lives, and running them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dispatch.control.rules.device_limits import device_limits
from dispatch.control.rules.fuse import fuse
from dispatch.control.rules.idle import idle
from dispatch.control.rules.interval_budget import interval_budget
from dispatch.control.rules.islanding import islanding
from dispatch.control.rules.manual_order import manual
from dispatch.control.rules.plan_step import plan
from dispatch.control.rules.protection import protection
from dispatch.control.rules.ramp_limit import grid_ramp
from dispatch.control.rules.reserve import reserve
from dispatch.control.rules.rest_soc import rest
from dispatch.control.rules.safe_value import safe_value
from dispatch.control.rules.signals import signals
from dispatch.control.rules.situation import Situation
from dispatch.model.islanding import COMMANDED, JOINED, IslandState
from dispatch.model.reasons import Reason, RuleId
from dispatch.model.rule_chain import HARD, LIMITS, Ask, Bounds, Chain, Outcome


class Rule(NamedTuple):
    """A rule, the islanding states in which it lives, and what it asks."""

    id: RuleId
    states: frozenset[IslandState]
    ask: Callable[[Situation, Bounds], Ask]


ALL = frozenset(IslandState)
TIED = frozenset({IslandState.GRID_TIED})

# In the order in which they run, that of `RuleId`: each may only narrow what those before it have left.
RULES = (
    Rule(RuleId.PROTECTION, ALL, protection),
    Rule(RuleId.DEVICE_LIMITS, ALL, device_limits),
    Rule(RuleId.SAFE_VALUE, COMMANDED, safe_value),
    Rule(RuleId.ISLANDING, ALL, islanding),
    Rule(RuleId.FUSE, COMMANDED, fuse),
    Rule(RuleId.RESERVE, JOINED, reserve),
    Rule(RuleId.MANUAL, JOINED, manual),
    Rule(RuleId.SIGNALS, TIED, signals),
    Rule(RuleId.INTERVAL_BUDGET, TIED, interval_budget),
    Rule(RuleId.GRID_RAMP, TIED, grid_ramp),
    Rule(RuleId.PLAN, TIED, plan),
    Rule(RuleId.REST, TIED, rest),
    Rule(RuleId.IDLE, ALL, idle),
)


def run(situation: Situation) -> tuple[Outcome, Bounds]:
    """Every rule that lives in this islanding state. Return what came out, and what the hard rules left."""
    config, state = situation.config, situation.islanding.state
    chain = Chain(-config.charge_w, config.discharge_w)
    hard, hard_rules = chain.bounds, LIMITS if situation.hold_s > 0 else HARD
    for rule in RULES:
        if state in rule.states:
            chain.apply(rule.id, rule.ask(situation, chain.bounds))
        else:
            chain.apply(rule.id, Ask(Reason("rule.at_rest", {"state": state.value})))
        if rule.id in hard_rules:
            hard = chain.bounds
    return chain.outcome(), hard
