"""Defines the sections of the site file about leaving the grid and living off it.

`[island]`, `[genset]`, `[drills]` and `[ride_through]`. What a key holds: `schema.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dispatch.config.value_types import Fraction, Percent, PositiveWatts, Seconds, Watts


class IslandConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[island]`: what Skerry may ask of the switch and the PCS, and by which grid code. It never protects."""

    switch: Annotated[str, Meta(description="The `id` of the `[[switch]]` that may be asked. Empty: the only one.")] = (
        ""
    )
    profile: Annotated[
        Literal["vde-ar-n-4105", "en-50549-1"],
        Meta(
            description="Grid code whose reconnection window, wait and gradient apply. Check them with your grid "
            "operator; the next six keys replace single figures."
        ),
    ] = "vde-ar-n-4105"
    v_low_pct: (
        Annotated[float, Meta(ge=50, le=100, description="Reconnection window: lowest voltage, of nominal.")] | None
    ) = None
    v_high_pct: (
        Annotated[float, Meta(ge=100, le=130, description="Reconnection window: highest voltage, of nominal.")] | None
    ) = None
    hz_low: (
        Annotated[
            float,
            Meta(
                ge=45, le=60, description="Reconnection window: lowest frequency.", extra_json_schema={"x-unit": "Hz"}
            ),
        ]
        | None
    ) = None
    hz_high: (
        Annotated[
            float,
            Meta(
                ge=50, le=65, description="Reconnection window: highest frequency.", extra_json_schema={"x-unit": "Hz"}
            ),
        ]
        | None
    ) = None
    wait_s: (
        Annotated[float, Meta(ge=0, le=3600, description="How long the grid must be inside the window before closing.")]
        | None
    ) = None
    gradient_pct_per_min: (
        Annotated[
            float,
            Meta(gt=0, le=6000, description="Rate at which export may rise after closing, of rated discharge power."),
        ]
        | None
    ) = None
    reclose: Annotated[
        Literal["permit", "device"],
        Meta(
            description='After an outage: "permit": the switch waits for Skerry\'s permission to close; "device": it '
            "closes by itself and Skerry only observes."
        ),
    ] = "permit"
    prepare_w: Annotated[
        PositiveWatts, Meta(description="A drill opens the switch at this import or export at most.")
    ] = 1_000.0
    prepare_timeout_s: Annotated[
        float, Meta(gt=0, le=3600, description="A drill that is not below `prepare_w` by then is aborted.")
    ] = 180.0
    ramp_w_per_s: Annotated[
        PositiveWatts, Meta(description="Ramp of import before a drill opens the switch and after it has closed.")
    ] = 2_000.0
    open_timeout_s: Annotated[
        float, Meta(gt=0, le=60, description="Until the contacts must confirm that the switch is open.")
    ] = 5.0
    form_timeout_s: Annotated[
        float, Meta(gt=0, le=60, description="Until a PCS must form the grid once the switch is open.")
    ] = 5.0
    sync_timeout_s: Annotated[
        float, Meta(gt=0, le=3600, description="After the wait: until bus and grid must be in step.")
    ] = 300.0
    close_timeout_s: Annotated[
        float, Meta(gt=0, le=600, description="Until the switch must have synchronised and closed.")
    ] = 60.0
    black_start_timeout_s: Annotated[
        float, Meta(gt=0, le=600, description="Until a PCS must form the grid in a black start.")
    ] = 60.0
    attempts: Annotated[
        int, Meta(ge=1, le=20, description="Failed attempts to close the switch after which a fault is declared.")
    ] = 5
    flap_s: Annotated[
        Seconds, Meta(description="The wait doubles if the grid is lost again within this time of its return.")
    ] = 600.0
    backoff_max_s: Annotated[Seconds, Meta(description="Upper limit of the doubled wait.")] = 1_800.0
    drill_minutes_max: Annotated[
        float, Meta(gt=0, le=600, description="Longest drill.", extra_json_schema={"x-unit": "min"})
    ] = 60.0
    drill_floor_pct: (
        Annotated[Percent, Meta(description="SoC that a drill must leave. Not given: the SoC of the reserve.")] | None
    ) = None


class GensetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[genset]`: a generator that the switch at the PCC puts in the grid's place.

    The grid meter measures it: it must be on the site's side of the switch, where the generator's power shows as
    import. The switch starts, stops and changes over by itself, and tells which source feeds the site.
    """

    rated_w: Annotated[PositiveWatts, Meta(description="Power that it can give for as long as it runs.")]
    min_load_w: Annotated[
        Watts, Meta(description="Lowest power at which it may run for long, by its maker. PV and battery keep to it.")
    ] = 0.0
    margin_pct: Annotated[
        float, Meta(ge=0, le=90, description="Share of rated_w that charging the battery leaves free.")
    ] = 10.0

    @property
    def charge_up_to_w(self) -> float:
        """Its power up to which the battery may be charged, W."""
        return self.rated_w * (1 - self.margin_pct / 100)


class DrillsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[drills]`: when an outage is to be rehearsed. Without a schedule no drill is ever due."""

    schedule: Annotated[
        str,
        Meta(
            description="When a drill is due, in local time: `weekly`, `monthly` or `quarterly`; then, unless weekly, "
            "`first` to `fourth` or `last`; a weekday; a time; optionally a condition. Example: `monthly, first "
            "Tuesday 10:00, only if the forecast leaves the reserve`. Empty: never."
        ),
    ] = ""
    minutes: Annotated[
        float, Meta(gt=0, le=600, description="How long a drill holds.", extra_json_schema={"x-unit": "min"})
    ] = 10.0
    unattended: Annotated[
        bool,
        Meta(description="true: a drill that is due starts by itself; false: it is announced and a person starts it."),
    ] = False
    window_h: Annotated[
        float, Meta(gt=0, le=72, description="How long a drill stays due; afterwards it counts as missed.")
    ] = 8.0


class RideThroughConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[ride_through]`: when nodes give up load off the grid, step by step, to keep the hours of `[reserve]`."""

    enabled: Annotated[bool, Meta(description="false: no node is capped or shut down, and no job of it stopped.")] = (
        True
    )
    cutoff_pct: Annotated[Percent, Meta(description="True SoC at which the battery stops.")] = 2.0
    soc_error_pct: Annotated[
        float, Meta(ge=0, le=20, description="Largest error of the BMS's SoC before it recalibrates.")
    ] = 5.0
    margin: Annotated[
        float, Meta(ge=1, le=3, description="Remaining runtime wanted, as a multiple of the hours still promised.")
    ] = 1.10
    settle_s: Annotated[Seconds, Meta(description="Time between two steps, so that each shows its effect.")] = 60.0
    undo_s: Annotated[Seconds, Meta(description="Time between two steps taken back.")] = 60.0
    overload: Annotated[
        Fraction, Meta(description="Share of the available power above which the next step is taken at once.")
    ] = 0.92
    shutdown_s: Annotated[
        float, Meta(ge=0, le=7200, description="How long an orderly shutdown of all nodes takes.")
    ] = 300.0
