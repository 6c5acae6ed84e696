"""Checks each reading before anything uses it: plausible, suspect or missing.

Input: the snapshot as the drivers give it. Output: the same snapshot, in which a reading that is doubted shows the last
value that was not (`Quality.SUSPECT`) and, when the doubt lasts, nothing; and an event per rejected reading.

- `checker`: all readings of a site, tick by tick; owned by the controller.
- `bounds`: what the site can do at all, by its site file.
- `trail`: the history of one reading. A step that no witness confirms is accepted at the second sample that shows it.
- `witnesses`: what other figures say of a reading: volts and amperes, the balance of the site.
- `meters`: one meter by its own figures; `meter_pair`: grid meter and load meter together.
- `figures`: what a meter gives beside its power: currents, voltages, frequency.
- `sources`: the power of a PCS or PV inverter; `nodes`: the power of a compute node.
- `contacts`: one word, such as a switch position or a mode; `protection`: power limits and temperature.
- `equipment`: all words and limits of a switch, a PCS, a battery, by `contacts` and `protection`.
- `soc`: the SoC that each BMS reports; `energy_account`: the energy that a battery has moved, in points of its SoC.

What only narrows what may be done acts at once; what widens it needs a second sample. Pure: time comes from the
snapshots. Of the other packages it imports `dispatch.model`, `dispatch.config` and `dispatch.wording`.
"""
