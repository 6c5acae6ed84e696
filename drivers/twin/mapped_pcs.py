"""Says which simulated PCS have registers of their own: the families of device maps, each in a module of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from drivers.twin.goodwe_et import goodwe_et_images
from drivers.twin.pcs import TwinPcs
from drivers.twin.physics import TwinSite
from drivers.twin.registers import Image
from drivers.twin.victron_gx import victron_gx_images

# map -> images by Modbus unit, of PCS, site, the site file's unit ids by name ("device": its key unit), silence
FAMILIES: dict[str, Callable[[TwinPcs, TwinSite, Mapping[str, int], float | None], dict[int, Image]]] = {
    "goodwe-et": goodwe_et_images,
    "victron-gx": victron_gx_images,
}
