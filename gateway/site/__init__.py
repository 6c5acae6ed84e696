"""A site's file, and where a site's files are.

Purpose. `loader` reads the TOML file into the structs of `schema` and finds every error in one run, those that span
sections too (`cross_checks`). `paths` names a site's state directory, socket and twin announcement; `file_access` says
why a file that is there cannot be opened.

Inputs. The path of a site file; environment variables of systemd and XDG.
Outputs. A `Site`, or a `SiteFileError` with file, key, value and expectation of each mistake; paths.
Units. A key's suffix names its unit (`_w`, `_kwh`, `_s`, `_pct`); a value may be written with a unit ("55 kW") and is
converted to the key's own.

Must not import: `gateway.api`, nor anything of the running gateway. Whether a gateway runs is for
`gateway.api.discovery` to find out.
"""
