"""A controller that is shown a meter, and meters whose figures move."""

from __future__ import annotations

import msgspec
from small_site import a_battery, a_pcs, a_snapshot, site_config

from dispatch.config.schema import DispatchConfig
from dispatch.control.controller import Controller
from dispatch.model.decision import Decision
from dispatch.model.equipment import Meter
from dispatch.model.readings import reading
from dispatch.model.snapshot import Snapshot


def a_meter(w: float, n: int = 0, va: float | None = None, **changes: object) -> Meter:
    """A meter whose figures move with `n`; `va`: volts times amperes, as its power unless given."""
    volts = 230.0 + 0.01 * (n % 7)
    amps = (abs(w) if va is None else va) / 3 / volts
    base: dict[str, object] = {
        "w": reading(w),
        "hz": reading(50.0 + 0.001 * (n % 5)),
        "v": (reading(volts),) * 3,
        "a": (reading(amps),) * 3,
        "import_wh": reading(1_000_000.0 + n),
    }
    return Meter("grid", **(base | changes))  # type: ignore[arg-type]


class Site:
    """A controller that is shown a meter, tick by tick at 5 Hz."""

    def __init__(self, config: DispatchConfig | None = None) -> None:
        self.controller, self.n = Controller(config or site_config()), 0
        self.decisions: list[Decision] = []
        self.pcs_w = 0.0

    def raw(self, meter: Meter) -> Snapshot:
        """What is read at this tick."""
        now = a_snapshot(0.2 * self.n, None, a_pcs(self.pcs_w, v=reading(230.0)), a_battery(60.0))
        return msgspec.structs.replace(now, grid=meter)

    def show(self, meter: Meter, **changes: object) -> Snapshot:
        """One tick; the checked snapshot."""
        self.n += 1
        raw = msgspec.structs.replace(self.raw(meter), **changes)
        self.decisions.append(self.controller.step(raw, None))
        return self.controller.checked(raw)

    def settle(self, w: float = 17_000.0, ticks: int = 10) -> Site:
        for _ in range(ticks):
            self.show(a_meter(w, self.n))
        return self

    @property
    def events(self) -> list[str]:
        return [e.text for d in self.decisions for e in d.events if "not believed" in e.text]
