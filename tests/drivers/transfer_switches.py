"""Transfer switches on the wire, by hand from their makers' documents and not from our maps."""

from __future__ import annotations

from toxic import FakeDevice

GRID, OFF, GENSET, MOVING = "grid", "off", "genset", "moving"


class AtysPM(FakeDevice):
    """Socomec ATyS p M (MODBUS tables, 2021-09): source 1 is the grid, source 2 a generator.

    In auto mode (0x0010) it feeds the load from the first source that is available.
    """

    MODE, POSITION, START_2, SOURCE_1, SOURCE_2 = 0x5001, 0x5002, 0x5004, 0x5006, 0x5007

    def __init__(self) -> None:
        identification = [0x53, 0x4F, 0x43, 0x4F, 300, 1003, 101, 100, *[0] * 9]  # "SOCO", ATyS
        status = [2, 0x0010, 2, 0, 0, 1, 2, 0, 0, 17, 0, 0, 0, 0, 0]
        super().__init__({0x5000: status, 0xC350: identification})

    def grid(self, present: bool) -> None:
        """The grid fails or comes back."""
        self[self.SOURCE_1] = 2 if present else 0
        self[self.START_2] = int(not present)
        self[self.SOURCE_2] = 0 if present else 2
        if self[self.MODE] == 0x0010:
            self[self.POSITION] = 2 if present else 3


class RemoteSwitch(FakeDevice):
    """As ABB's OTM_C_21D (manual, table 4): 33 operating mode, 1 remote; 32 control, 1 to I, 2 to O, 3 to II.

    Orders count in remote mode only, the mode is only taken from automatic operation, and it must be left again for the
    switch to act by itself. A handle makes it manual. Of the position the table's page could not be had; here 40.
    """

    VERSION, START, CONTROL, MODE, POSITION, LINE_1, LINE_2 = 26, 31, 32, 33, 40, 41, 42

    def __init__(self) -> None:
        super().__init__({26: [0x1A02], 31: [0, 0, 0], 40: [1, 1, 0]})
        self.on_write = self._written
        self.takes_mode = True

    def _written(self, address: int, values: list[int]) -> None:
        if address == self.MODE and not self.takes_mode:
            self[self.MODE] = 0
        if address == self.CONTROL and self[self.MODE] == 1:
            self[self.POSITION] = values[0]
        if address == self.MODE and self[self.MODE] == 0 and self[self.LINE_1]:
            self[self.POSITION] = 1  # by itself, on its first line

    def handle(self) -> None:
        """Somebody inserts the handle."""
        self[self.MODE] = 2
