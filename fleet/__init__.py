"""Looks after many sites: their state on one screen, their history in one file. Commands none, but for signed limits.

Purpose. Each site's gateway stays in charge of its site and its record is the truth; this package reads. `watch` holds
a link to each site, over SSH or on this machine, and asks for its overview; `pull` copies packed blocks, roll-ups of
quarter hours and heads of the audit into the hub's file.

Inputs. Site addresses (`sites`), links of gateways (`gateway.api`). Outputs. `table`: rows and sums of the fleet;
`store`: an SQLite file. Units. W (positive: import, discharge), kWh, EUR, s, % SoC; names carry them. `utc_s` of a row
is the site's clock, ages are of this machine's monotonic clock.

Must not import: `console`. Nothing here is imported by a gateway, so a fleet that hangs delays no tick.
"""
