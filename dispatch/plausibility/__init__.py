"""Checks each reading before anything uses it: plausible, suspect or missing.

Input: the snapshot as the drivers give it. Output: the same snapshot, in which a reading that is doubted shows the last
value that was not (`Quality.SUSPECT`) and, when the doubt lasts, nothing; and an event per rejected reading.

- `bounds`: what the site can do at all, by its site file.
- `trail`: the history of one reading. A step that no witness confirms is followed at the second sample that shows it.
- `witnesses`: what other figures say of a reading: volts and amperes, the balance of the site.
- `meters`, `sources`, `nodes`, `contacts`, `protection`: the checks of each kind of device.
- `checker`: all of a site; owned by the controller.

What only narrows what may be done acts at once; what widens it needs a second sample. Pure: time comes from the
snapshots. Imports only `model` and `config`.
"""
