"""Commissioning: finds devices, reads and writes their registers, judges a site before its gateway runs.

Inputs: a site file, its devices over their drivers or what a running gateway publishes, this machine.
Outputs: findings and register values for the command line. Nothing here runs beside a gateway on the same devices.
Units and signs: as everywhere, W at the AC terminals, discharge and import > 0.
Must not import: `console`, pymodbus.
"""
