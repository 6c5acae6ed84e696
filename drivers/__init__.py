"""What speaks to devices and feeds: Modbus, SunSpec, register maps, nodes, tariffs, and the twin."""
