"""The words of every reason, alarm and figure that people read.

Inputs: a `Reason` (code and named figures), a rule, an alarm's id; numbers in W and s; the locale is an argument.
Outputs: text such as "SoC 41.2 %, reserve 20.0 % (8 kWh): untouched", "12.5 kW", "2 h 05". Templates: `english/`.
Units and signs: the name of a figure ends in its unit (`_w`, `_pct`, `_s`); kW, h and min out.
Must not import: of `dispatch` anything but `model`; anything of the other top-level packages.
"""
