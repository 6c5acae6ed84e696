"""Defines the rules of a decision, in order, each a function of the situation and the limits of earlier rules.

Powers are the total AC power of the PCS that take part, discharge > 0. A rule that bounds import at the PCC goes
through `battery_window`: import = net load - battery.
"""
