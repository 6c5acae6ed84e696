"""Runs one site: reads its devices, decides, sets its batteries, keeps its record, serves its consoles.

Purpose. One process per site (`service`). At each tick the control loop takes a snapshot of what the devices last said,
lets `dispatch` decide, hands setpoints and commands to senders, and hands the result to recorder and consoles. Planner,
Energy IQ and the schedule of drills run in the background and push their results.

Inputs. A site file (`gateway.site`), devices and price files (`drivers`), the record of earlier runs (`storage`),
requests of clients (`gateway.api`).
Outputs. Setpoints and commands to devices; telemetry, events, decisions and audit rows; `Published` to each console.
Units. W at the AC terminals (positive: discharge, import), kWh, s, % SoC; names carry them. `utc_s` is the site's
calendar, `mono_s` the site's monotonic time; both run `speed` times as fast on a simulated site. Deadlines of I/O are
in machine time.

How it is composed. `composition` makes every part once and gives it, in its constructor, what it needs; nothing is set
from outside afterwards. Parts that would know each other in a circle meet in shared state (`orders_in_force`,
`reservations_in_force`, `drill_state`), in the `EventSink`, or in protocols (`api/interfaces`).

Must not import: `console`. Inside, imports go one way: service > bootstrap > composition > loop > services > api >
shared state > site > errors (`[tool.importlinter]` in pyproject.toml). Nothing in a tick may wait for a disk, a solver,
a console or a slow device.
"""
