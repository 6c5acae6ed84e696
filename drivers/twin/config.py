"""Defines `[twin]`: the simulated devices whose url is "twin"."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drivers.twin.protection import Profile

PCS_FAMILIES = (  # device maps whose PCS the twin can be
    "foxess-h3", "foxess-h3-pro", "goodwe-et", "huawei-luna2000", "kostal-plenticore", "sinexcel-pws2",
    "sma-sunny-boy-storage", "sma-sunny-island", "sungrow-sh", "victron-gx",
)  # fmt: skip

SWITCHES = ("skerry-switch", "socomec-atys-p-m")  # device maps whose switch the twin can be


class TwinConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[twin]`: the simulated devices behind `url = "twin"`. Everything random in it follows from `seed`."""

    seed: Annotated[int, Meta(description="Seed of everything random.")] = 1
    start_utc: Annotated[str, Meta(description="Instant at which the twin's calendar starts.")] = "2025-09-16T06:55:00Z"
    speed: Annotated[
        float,
        Meta(ge=1, le=10, description="How many times faster the site's clock runs. Deadlines of I/O do not scale."),
    ] = 1.0
    personality: Annotated[
        Literal["compliant", "cosmetic-revert", "deaf-heartbeat", "no-revert", "refuses-revert", "legacy-storage"],
        Meta(
            description="What the PCS does when Skerry falls silent: `compliant`: it reverts; `cosmetic-revert`: its "
            "timer runs out and nothing happens; `deaf-heartbeat`: it ignores the heartbeat; `no-revert`: it "
            "has neither timer nor heartbeat watch; `refuses-revert`: the same, and it refuses writes to its timer; "
            "`legacy-storage`: an inverter of before the 700 series, with models 103, 120, 124 and 160."
        ),
    ] = "compliant"
    soc_pct: Annotated[float, Meta(ge=0, le=100, description="True SoC at the start.")] = 55.0
    import_wh: Annotated[float, Meta(ge=0, description="The grid meter's register of import at the start.")] = 0.0
    export_wh: Annotated[float, Meta(ge=0, description="The grid meter's register of export at the start.")] = 0.0
    load_trace: Annotated[
        str,
        Meta(description="CSV start_utc,power_w of the cluster's power, played from `start_utc` and repeated."),
    ] = "bundled:helios"
    load_scale: Annotated[float, Meta(gt=0, description="Factor on the trace.")] = 1.0
    cooling_fraction: Annotated[float, Meta(ge=0, le=1, description="Cooling power, as a share of node power.")] = 0.20
    nodes: Annotated[int, Meta(ge=1, le=64, description="Nodes that share the trace's power.")] = 8
    gpus_per_node: Annotated[int, Meta(ge=0, le=16, description="GPUs of each node.")] = 8
    exporters_port: Annotated[
        int,
        Meta(
            ge=0,
            le=65535,
            description="Port on loopback where its nodes have pages as node_exporter and dcgm-exporter write them: "
            "/host/NAME and /gpu/NAME, with the node's number in the name. 0: none.",
        ),
    ] = 0
    host_node: Annotated[
        bool, Meta(description="true: this machine is one more node, by its real CPU use (not in lock-step).")
    ] = True
    base_load_w: Annotated[float, Meta(ge=0, description="Constant load: network, light, losses.")] = 800.0
    pcs_lag_s: Annotated[float, Meta(ge=0, description="Time constant of the PCS.")] = 0.3
    pcs_ramp_w_per_s: Annotated[float, Meta(gt=0, description="Ramp of the PCS.")] = 100_000.0
    pcs_dead_time_s: Annotated[float, Meta(ge=0, description="Dead time of the PCS.")] = 0.0
    meter_delay_s: Annotated[float, Meta(ge=0, description="Age of a grid reading when it can be read.")] = 0.2
    pv_peak_w: Annotated[
        float, Meta(ge=0, description="Panels of all inverters together, if less than the sum of their `peak_w`.")
    ] = math.inf
    ambient_c: Annotated[float, Meta(description="Ambient temperature.")] = 18.0
    latitude_deg: Annotated[float, Meta(ge=-66, le=66, description="Latitude, for the sun.")] = 51.0
    longitude_deg: Annotated[float, Meta(ge=-180, le=180, description="Longitude, for the sun.")] = 10.0
    heartbeat_timeout_s: Annotated[
        float, Meta(gt=0, description="A compliant PCS reverts once ControllerHb has stood still for this long.")
    ] = 10.0
    silence_s: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=3600,
                description="Silence after which a PCS by a device map leaves its setpoint. Not given: as its maker "
                "documents it: docs/devices.md.",
            ),
        ]
        | None
    ) = None
    reconnect_wait_s: Annotated[
        float, Meta(ge=0, description="Time from the grid's return until the switch closes by itself.")
    ] = 30.0
    genset_start_s: Annotated[
        float, Meta(ge=0, description="Where the site has a [genset]: time without the grid until it takes the site.")
    ] = 15.0
    load_noise: Annotated[
        float, Meta(ge=0, le=0.2, description="Noise of node power: one standard deviation, as a fraction.")
    ] = 0.01
    trip_profile: Annotated[
        Profile, Meta(description="Windows of voltage and frequency outside which the PCS leaves the grid by itself.")
    ] = "vde-ar-n-4105"
    auto_reclose: Annotated[
        bool, Meta(description="false: the switch closes only when it is told to and the grid is fit.")
    ] = True
    # The next four make a battery that differs from what its BMS reports.
    soc_bias_pct: Annotated[float, Meta(ge=-20, le=20, description="Reported SoC minus the true one.")] = 0.0
    recalibrate_pct: (
        Annotated[float, Meta(ge=0, le=100, description="True SoC at which the BMS recalibrates. Not given: never.")]
        | None
    ) = None
    true_health_pct: Annotated[
        float, Meta(gt=20, le=100, description="Share of the rated energy that the battery really has.")
    ] = 100.0
    cold_c: Annotated[float, Meta(description="Below this temperature power and energy fall.")] = -40.0
