"""Reads contacts (emergency stop, fire, grid operator's steps, doors) from Modbus I/O modules and GPIO lines.

Inputs: the `[[contact]]` sections of the site file. Outputs: `Contact` parts of the snapshot, as the input reads:
debouncing and latching are `dispatch.control.contact_states`. It writes nothing.
"""
