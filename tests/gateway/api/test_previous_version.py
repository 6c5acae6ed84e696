"""Version 1 of the link, that of 0.1.0: what such a console is sent, what such a gateway sends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm, AlarmState
from dispatch.islanding.shedding_steps import STEPS as SHEDDING
from dispatch.model.decision import Decision, Mode, RuleTrace, Setpoint
from dispatch.model.equipment import Meter
from dispatch.model.islanding import IslandState, IslandView, NodeOrder, Reconnect, RideThrough, SwitchOrder
from dispatch.model.metering_interval import Interval
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.power_caps import CapsView
from dispatch.model.readings import reading
from dispatch.model.reasons import Reason, RuleId, plain
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words
from gateway.api.previous_version import for_version, from_version
from gateway.api.protocol import GatewayMessage, LoopStats, PlanMessage, Published, Response, TariffNow

RATED = Reason("limit.rating", {"limit_w": 60_000.0})


class RuleTrace1(msgspec.Struct, forbid_unknown_fields=True):
    """As version 0.1.0 declared it."""

    rule: int
    name: str
    low_w: float
    high_w: float
    preferred_w: float | None
    bound: bool
    reason: str


class Alarm1(msgspec.Struct, forbid_unknown_fields=True):
    """As version 0.1.0 declared it."""

    id: str
    priority: Priority
    state: AlarmState
    title: str
    cause: str
    consequence: str
    action: str
    since_utc_s: float
    first_out: bool = False
    count: int = 1
    acknowledged_by: str = ""


class PlanStep1(msgspec.Struct, forbid_unknown_fields=True):
    """As version 0.1.0 declared it."""

    start_utc_s: int
    price_eur_per_kwh: float
    load_w: float
    load_low_w: float
    load_high_w: float
    pv_w: float
    battery_w: float
    grid_w: float
    soc_pct: float
    reason: str = ""
    assumed: bool = False
    order: str = ""


PUBLISHED = Published(
    snapshot=Snapshot(7, 1_758_006_000.0, 7.0, Meter("grid", reading(1_000.0))),
    decision=Decision(
        seq=7,
        utc_s=1_758_006_000.0,
        mode=Mode.RULES,
        island=IslandState.SYNCHRONISING,
        setpoints=(Setpoint("pcs1", 12_000.0),),
        battery_w=12_000.0,
        net_load_w=30_000.0,
        import_target_w=18_000.0,
        binding=RuleId.DEVICE_LIMITS,
        reason=Reason("decision.setpoint", {"battery_w": 12_000.0, "rule": "device limits", "reason": RATED}),
        chain=(RuleTrace(RuleId.DEVICE_LIMITS, -60_000.0, 60_000.0, None, True, RATED, unmet=True),),
        islanding=IslandView(1.0, 1.0, Reason("go.nothing_read"), False, Reconnect("p", True, "230 V", 60.0, None)),
        switch=SwitchOrder("pcc", "none", Reason("go.opening_withdrawn")),
        nodes=(NodeOrder("gpu-01"),),
        ride=RideThrough(600.0, 500.0, None, 1_000.0, 100.0, 3.0, 0, Reason("shedding.none"), None),
        caps=CapsView((), 0.0, 0.0, Reason("caps.none"), None, 0.0, 0.0),
    ),
    alarms=(
        Alarm("pcs-fault:pcs1", Priority.HIGH, AlarmState.ACKNOWLEDGED, 5.0, plain("DC_OVER_VOLT"), count=2),
        Alarm("peak-exceeded", Priority.MEDIUM, AlarmState.RETURNED, 6.0),
    ),
    interval=Interval(1_758_006_000.0, 900.0, 10.0, 0.0, 32_000.0, 33_000.0),
    month_peak_w=20_000.0,
    tariff=TariffNow(),
    loop=LoopStats(),
)
STEPS = (
    PlanStep(1_758_006_000, 0.2, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 50.0, Reason("step.full")),
    PlanStep(1_758_006_900, 0.2, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 50.0),
)
PLAN = Plan(1_758_006_000.0, 900, STEPS, 30_000.0, 1.0, 2.0)


def sent(message: msgspec.Struct) -> Any:
    """A message as a console of version 1 decodes it before it knows its types."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(for_version(message, 1)))


@pytest.mark.parametrize("version", [1, 2])
def test_a_console_that_knows_four_steps_of_load_shedding_is_told_of_those(version: int) -> None:
    assert PUBLISHED.decision.ride is not None
    for step, former in enumerate((0, 0, 1, 2, 2, 3, 4)):
        ride = msgspec.structs.replace(PUBLISHED.decision.ride, rung=step, rung_name=SHEDDING[step], rungs=6)
        decision = msgspec.structs.replace(PUBLISHED.decision, ride=ride)
        told = for_version(msgspec.structs.replace(PUBLISHED, decision=decision), version)
        assert told["decision"]["ride"]["rung"] == former


def test_a_console_of_version_1_gets_sentences_numbers_and_names() -> None:
    frame = sent(PUBLISHED)
    assert frame["type"] == "published"
    decision = frame["decision"]
    assert decision["binding"] == "device limits"
    assert decision["reason"] == "discharge 12.0 kW — device limits: rating 60.0 kW"
    assert msgspec.convert(decision["chain"], list[RuleTrace1]) == [
        RuleTrace1(1, "device limits", -60_000.0, 60_000.0, None, True, "rating 60.0 kW")
    ]
    assert decision["islanding"]["reason"] == "nothing has been read yet"
    assert decision["islanding"]["reconnect"]["against"] == ""
    assert decision["switch"]["reason"] == "opening is withdrawn"
    assert decision["nodes"][0]["reason"] == ""
    assert decision["ride"]["why"] == ""
    assert decision["caps"]["reason"] == "no caps are needed"
    fault, peak = msgspec.convert(frame["alarms"], list[Alarm1])
    assert (fault.title, fault.cause) == ("PCS pcs1 in fault", "The PCS reports a fault. Now: DC_OVER_VOLT")
    assert (
        peak.cause
        == "The mean import of the running metering interval has passed the contracted peak or the month's peak."
    )
    assert frame["snapshot"]["grid"]["w"] == [1_000.0, 0.0, "good"]


def test_a_plan_for_version_1() -> None:
    frame = sent(PlanMessage(PLAN))
    assert frame["type"] == "plan"
    assert [step.reason for step in msgspec.convert(frame["plan"]["steps"], list[PlanStep1])] == ["battery full", ""]
    assert sent(PlanMessage(None)) == {"type": "plan", "plan": None}


def test_an_answer_for_version_1_is_turned_where_it_holds_reasons() -> None:
    for result in (PUBLISHED.decision, msgspec.to_builtins(PUBLISHED.decision)):  # handlers give either
        assert sent(Response(3, True, result))["result"]["chain"][0]["name"] == "device limits"
    frame = sent(Response(3, True, [PUBLISHED.decision]))
    assert frame["result"][0]["reason"].startswith("discharge 12.0 kW")
    assert sent(Response(3, True, {"a": [1, None, "x"]})) == {
        "type": "response",
        "id": 3,
        "ok": True,
        "result": {"a": [1, None, "x"]},
        "error": "",
        "code": "",
    }


def received(message: msgspec.Struct) -> Any:
    """What this console makes of what a gateway of version 1 sends."""
    return msgspec.convert(from_version(sent(message), 1), GatewayMessage)


def test_a_gateway_of_version_1_is_shown_in_its_own_sentences() -> None:
    published = received(PUBLISHED)
    decision = published.decision
    assert decision.binding is RuleId.DEVICE_LIMITS
    assert decision.reason == plain("discharge 12.0 kW — device limits: rating 60.0 kW")
    (trace,) = decision.chain
    assert (trace.rule, trace.reason) == (RuleId.DEVICE_LIMITS, plain("rating 60.0 kW"))
    assert decision.islanding.reconnect.against is None
    assert decision.ride.why is None
    assert words(decision.caps.reason) == "no caps are needed"
    fault, peak = published.alarms
    assert (fault.id, fault.detail, fault.count) == ("pcs-fault:pcs1", plain("DC_OVER_VOLT"), 2)
    assert peak.detail is None
    assert published.snapshot == PUBLISHED.snapshot


def test_a_plan_of_a_gateway_of_version_1() -> None:
    plan = received(PlanMessage(PLAN)).plan
    assert [step.reason for step in plan.steps] == [plain("battery full"), None]
    assert received(PlanMessage(None)).plan is None


def test_an_alarm_that_this_version_does_not_know_says_all_that_it_said() -> None:
    frame = sent(PUBLISHED)
    frame["alarms"][0] |= {"id": "retired:x", "title": "T", "cause": "C", "consequence": "K", "action": "A"}
    found = msgspec.convert(from_version(frame, 1), GatewayMessage).alarms[0]
    assert words(found.detail) == "T C K A"


def test_answers_of_a_gateway_of_version_1() -> None:
    why = received(Response(1, True, PUBLISHED.decision)).result
    assert words(msgspec.convert(why, Decision).reason).startswith("discharge 12.0 kW — device limits")
    several = received(Response(1, True, [PUBLISHED.decision])).result
    assert len(msgspec.convert(several, list[Decision])) == 1
    now = received(Response(1, True, PUBLISHED)).result
    assert msgspec.convert(now, Published).alarms[0].detail == plain("DC_OVER_VOLT")
    plan = received(Response(1, True, PLAN)).result
    assert msgspec.convert(plan, Plan).steps[0].reason == plain("battery full")
    status = received(
        Response(1, True, {"state": "unknown", "view": PUBLISHED.decision.islanding, "plan": None})
    ).result
    assert msgspec.convert(status["view"], IslandView).reason == plain("nothing has been read yet")


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "published", "decision": [], "alarms": []},
        {"type": "published", "decision": {"reason": "x", "chain": [{"name": "no such rule"}]}, "alarms": []},
        {"type": "published", "decision": {"reason": "x"}, "alarms": [{"id": 3}]},
        {"type": "plan", "plan": {"steps": 7}},
        {"type": "plan"},
        {"type": "response", "result": {"view": "open"}},
    ],
)
def test_what_no_such_gateway_sends_is_refused(frame: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(from_version(frame, 1), GatewayMessage)


def test_what_is_no_message_stays() -> None:
    assert from_version([1, "x"], 1) == [1, "x"]
    assert from_version({"type": "event", "event": {"text": "a"}}, 1) == {"type": "event", "event": {"text": "a"}}
