"""Checks each reading before anything uses it: plausible, suspect or missing.

Input: the snapshot as the drivers give it. Output: the same snapshot, in which a reading that is doubted shows the last
value that was not (`Quality.SUSPECT`) and, when the doubt lasts, nothing; and an event per rejected reading.

- `checker`: all readings of a site, tick by tick; owned by the controller.
- `bounds`: what the site can do at all, by its site file.
- `reading_history`: one reading, as it came. A step that no witness confirms is accepted at the second sample.
- `witnesses`: what other figures say of a reading: volts and amperes, the balance of the site.
- `meter_power`: one meter's power by its own figures; `meter_pair`: grid meter and load meter together.
- `meter_figures`: what a meter gives beside its power: currents, voltages, frequency.
- `source_power`: the power of a PCS or PV inverter; `node_power`: that of a compute node.
- `state_words`: one word, such as a switch position or a mode; `protective_limits`: power limits and temperature.
- `device_states`: all words and limits of a switch, a PCS, a battery.
- `bounded_readings`: readings of which only the bounds are known.
- `soc`: the SoC that each BMS reports; `energy_account`: the energy that a battery has moved, in points of its SoC.

What only narrows what may be done acts at once; what widens it needs a second sample. Pure: time comes from the
snapshots. Of the other packages it imports `dispatch.model`, `dispatch.config` and `dispatch.wording`.
"""
