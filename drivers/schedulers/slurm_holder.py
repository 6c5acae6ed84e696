"""Keeps power back from jobs of Slurm as licences, by one reservation that is renewed and lapses by itself."""

from __future__ import annotations

from dispatch.planning.start_allowance import LICENCE_W, Licences
from dispatch.wording.formatting import span
from drivers.schedulers import slurm_licences as slurm
from drivers.schedulers.command import Command, said
from drivers.schedulers.config import Scheduler
from drivers.schedulers.errors import QueueNotRead
from drivers.schedulers.start_holder import Seen

PLUGIN_LOOKS = 20  # looks between two at the configuration
IN_VAIN = (
    "slurm.conf names no JobSubmitPlugins, so jobs do not ask for their power and do not wait for it; see "
    '"Slurm" in deploy/README.md'
)


class SlurmHolder:
    """The reservation of one site in one Slurm."""

    unit_w = LICENCE_W

    def __init__(self, scheduler: Scheduler, site: str) -> None:
        """`site`: its name, which the reservation bears."""
        self._license, self._name = scheduler.license, slurm.reservation_name(site)
        self._command = Command(scheduler.scontrol, {}, scheduler.deadline_s)
        self._written: int | None = None  # how many we have had kept back last; None: not known, or lapsed
        self._looks, self._in_vain = 0, ""

    async def look(self) -> Seen:
        """The licences, and the reservation. Raises QueueNotRead."""
        try:
            shown = slurm.licences_in(await self._said(slurm.show_licences()), self._license)
            held = slurm.held_in(await self._said(slurm.show_reservations()), self._license, self._name)
        except slurm.NotUnderstood as error:
            raise QueueNotRead(str(error)) from None
        if self._looks % PLUGIN_LOOKS == 0:
            self._in_vain = await self._no_plugin()
        self._looks += 1
        licences = Licences(shown.total, shown.used, held.others)
        return Seen(licences, held.ours, self._changed(held), in_vain=self._in_vain)

    async def _no_plugin(self) -> str:
        """That nothing adds licences to jobs; empty: something may, or the head node does not say."""
        try:
            return "" if slurm.adds_licences(await self._said(slurm.show_config())) else IN_VAIN
        except (QueueNotRead, slurm.NotUnderstood):
            return ""

    async def keep(self, count: int, seen: Seen) -> None:
        """Make, renew or end the reservation. Raises QueueNotRead."""
        self._written = None
        if count:
            await self._said(slurm.keep(self._name, self._license, count, seen.kept is not None))
        elif seen.kept is not None:
            await self._said(slurm.release(self._name))
        self._written = count

    async def end(self) -> None:
        """The reservation stays until it lapses, so that a restart does not let all jobs in."""

    def lapses(self, kept: int) -> str:
        """What becomes of the reservation if it is not renewed."""
        if not (kept or self._looks == 0):  # before the first look, an earlier gateway may have kept something back
            return "nothing is kept back from jobs"
        return f"what is kept back lapses within {span(slurm.LASTS_S)}"

    def _changed(self, held: slurm.Held) -> str:
        """That another has changed our reservation, such as a second gateway whose site has the same name."""
        if self._written is None or held.ours is None or held.ours == self._written:
            return ""
        found = f"the reservation {self._name} was changed by another: {held.ours} licences, {self._written} were set"
        return f"{found}; does a second gateway run whose site has the same name?"

    async def _said(self, arguments: tuple[str, ...]) -> str:
        """What scontrol prints. Raises QueueNotRead."""
        return await said(self._command, arguments, f"scontrol {arguments[0]} {arguments[1]}")
