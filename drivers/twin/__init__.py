"""The simulated site: physics, devices, faults.

Inputs: `[twin]` and the device sections of the site file, a load trace, the seed; orders over its control socket.
Outputs: SunSpec devices on Modbus TCP (*wire*), or snapshots in one loop without sockets and threads (*lock-step*).
Units and signs: W at the AC terminals, V, Hz, °C; steps of 20 ms.
Must not import: `gateway`, `console`, `storage`.

The same seed gives the same site. `physics` is the site, `process` runs it on the wire, `lockstep` in a loop.
"""
