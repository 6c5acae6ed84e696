"""The sections of the site file that dispatch uses, and the checks that span several keys.

Inputs: values of the site file, already converted to the unit of their key.
Outputs: frozen structs; findings of the checks (key, value, what was expected).
Units and signs: the ending of each key: `_w _kwh _s _h _pct _a _v _c _w_per_s _eur_per_kwh`.
Must not import: any other package.

The `Meta` of a field holds range and meaning; the reference in `docs/` and the JSON Schema are made from them.
"""
