"""What flows between the packages, as frozen structs.

Inputs: none; values are set by who creates them.
Outputs: readings, snapshot, decision, plan, orders, reservations, islanding states, events.
Units and signs: W at the AC terminals; battery > 0 discharges, grid > 0 imports, PV >= 0; load = grid + sum(PCS) +
    sum(PV). A missing reading is missing, never zero. `utc_s` is POSIX seconds, `mono_s` the site's monotonic clock.
Must not import: the other dispatch packages, but `config` and `wording`; anything of the other top-level packages;
    I/O, clocks, random numbers (an import contract checks it).

Small types that several packages need are here, so that imports have no circle.
"""
