"""Reads contacts (emergency stop, fire, grid operator's steps, doors) from the inputs of Modbus I/O modules.

Inputs: the `[[contact]]` sections of the site file. Outputs: `Contact` parts of the snapshot, as the input reads:
debouncing and latching are `dispatch.control.contact_states`. It writes nothing.
"""
