"""How figures are written for people.

Inputs: numbers in W and s.
Outputs: text such as "12.5 kW", "charge 10.0 kW", "2 h 05".
Units and signs: W and s in; kW, h and min out.
Must not import: any other package.
"""
