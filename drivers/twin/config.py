"""`[twin]`: the physics behind devices whose url is "twin"."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drivers.twin.protection import Profile


class TwinConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulated site is like. Everything random in it comes from `seed`."""

    seed: int = 1
    start_utc: str = "2025-09-16T06:55:00Z"  # calendar instant at which the twin's clock starts
    speed: Annotated[float, Meta(ge=1, le=10)] = 1.0  # N of the scaled clock; I/O deadlines are never scaled
    personality: Literal["compliant", "cosmetic-revert", "deaf-heartbeat"] = "compliant"
    soc_pct: Annotated[float, Meta(ge=0, le=100)] = 55.0
    load_trace: str = "bundled:helios"  # start_utc,power_w; played from start_utc, repeated
    load_scale: Annotated[float, Meta(gt=0)] = 1.0
    cooling_fraction: Annotated[float, Meta(ge=0, le=1)] = 0.20  # of node power
    nodes: Annotated[int, Meta(ge=1, le=64)] = 8  # the trace's power is shared among them
    gpus_per_node: Annotated[int, Meta(ge=0, le=16)] = 8
    host_node: bool = True  # one more node: this machine, from its real CPU use (never in lock-step)
    base_load_w: Annotated[float, Meta(ge=0)] = 800.0  # network, light, losses
    pcs_lag_s: Annotated[float, Meta(ge=0)] = 0.3
    pcs_ramp_w_per_s: Annotated[float, Meta(gt=0)] = 100_000.0
    pcs_dead_time_s: Annotated[float, Meta(ge=0)] = 0.0
    meter_delay_s: Annotated[float, Meta(ge=0)] = 0.2
    pv_peak_w: Annotated[float, Meta(ge=0)] = math.inf  # panels of all inverters, if less than their peak_w
    ambient_c: float = 18.0
    latitude_deg: Annotated[float, Meta(ge=-66, le=66)] = 51.0  # where the sun of the PV generator shines
    longitude_deg: Annotated[float, Meta(ge=-180, le=180)] = 10.0
    heartbeat_timeout_s: Annotated[float, Meta(gt=0)] = 10.0  # ControllerHb still for so long: a compliant PCS reverts
    reconnect_wait_s: Annotated[float, Meta(ge=0)] = 30.0  # grid back -> switch closes by itself
    load_noise: Annotated[float, Meta(ge=0, le=0.2)] = 0.01  # seeded flutter of node power, one sigma as a fraction
    trip_profile: Profile = "vde-ar-n-4105"  # at which voltages and frequencies a PCS leaves the grid by itself
    auto_reclose: bool = True  # False: the switch closes only when it is told to, and the grid is fit
    # A battery that is not what it says: its BMS never tells of any of these.
    soc_bias_pct: Annotated[float, Meta(ge=-20, le=20)] = 0.0  # reported SoC minus the true one
    recalibrate_pct: Annotated[float, Meta(ge=0, le=100)] | None = None  # true SoC at which the bias jumps to 0
    true_health_pct: Annotated[float, Meta(gt=20, le=100)] = 100.0  # of the rated energy that is really there
    cold_c: float = -40.0  # below this temperature power and energy fall
