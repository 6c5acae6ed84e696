"""The calls of scontrol by which power is kept back as licences of Slurm, and what it prints.

One reservation of ours holds the licences that are missing. It has no nodes (flag ANY_NODES), is for nobody's jobs, and
ends by itself a few minutes after it was last renewed. Tried with Slurm 22.05.8, and looked up in its source,
github.com/SchedMD/slurm at commit d525b6872a106d32916b33a8738f12510ec7cf04, src/slurmctld/reservation.c: reservations
together may hold what is configured, whatever jobs hold (`_license_validate2`); a job may not begin with licences that
are reserved while it would run (`job_test_lic_resv`).
"""

from __future__ import annotations

import re

import msgspec

LASTS_S = 300  # of a reservation, from its last renewal
NOBODY = "root"  # a reservation must name a user; users cannot be it
UNSAFE = re.compile(r"[^a-z0-9]+")
LONGEST_NAME = 48
NOTHING = ("", "(null)")
NUMBER = re.compile(r"[0-9]{1,9}")  # Slurm's are of 31 bits


class NotUnderstood(Exception):
    """scontrol printed something else than expected; what, for a person."""


class LicencesShown(msgspec.Struct, frozen=True):
    """The licences of one name, as Slurm counts them."""

    total: int
    used: int  # by jobs


class Held(msgspec.Struct, frozen=True):
    """The licences that reservations hold which are in force or yet to come."""

    ours: int | None  # None: there is no reservation of ours
    others: int


def reservation_name(site: str) -> str:
    """The name of a site's reservation: its own, so that none of anybody else is touched."""
    return f"skerry-{UNSAFE.sub('-', site.lower()).strip('-') or 'site'}"[:LONGEST_NAME]


def show_licences() -> tuple[str, ...]:
    """Arguments: print all licences, a line each."""
    return "show", "licenses", "--oneliner"


def show_config() -> tuple[str, ...]:
    """Arguments: print the configuration, a line each."""
    return "show", "config"


def show_reservations() -> tuple[str, ...]:
    """Arguments: print all reservations, a line each."""
    return "show", "reservations", "--oneliner"


def keep(name: str, license: str, count: int, exists: bool) -> tuple[str, ...]:
    """Arguments: keep so many licences back from now on. `exists`: the reservation is there, and is changed."""
    what = f"ReservationName={name}", f"Licenses={license}:{count}", f"EndTime=now+{LASTS_S}"
    if exists:
        return "update", *what
    return "create", "reservation", *what, "StartTime=now", f"Users={NOBODY}", "Flags=ANY_NODES"


def release(name: str) -> tuple[str, ...]:
    """Arguments: keep nothing back any more."""
    return "delete", f"ReservationName={name}"


def licences_in(text: str, license: str) -> LicencesShown:
    """What `show_licences` has printed. Raises NotUnderstood."""
    for fields in map(_fields, text.splitlines()):
        if fields.get("LicenseName") != license:
            continue
        total, used = (fields.get(name, "") for name in ("Total", "Used"))
        if not (NUMBER.fullmatch(total) and NUMBER.fullmatch(used)):
            raise NotUnderstood(f"license {license}: expected Total= and Used=, found Total={total} Used={used}")
        return LicencesShown(int(total), int(used))
    raise NotUnderstood(f"Slurm has no license {license}: add it to Licenses= of slurm.conf, then scontrol reconfigure")


def adds_licences(text: str) -> bool:
    """Whether by what `show_config` has printed a plugin may add licences to jobs that are submitted.

    Raises NotUnderstood.
    """
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() == "JobSubmitPlugins":
            return value.strip() not in NOTHING
    raise NotUnderstood("scontrol show config has no line JobSubmitPlugins: expected that of Slurm 20.11 or later")


def held_in(text: str, license: str, name: str) -> Held:
    """What `show_reservations` has printed: the licences of this name that are reserved.

    Raises NotUnderstood where the reservation that has our name is not such as we make: it is somebody else's.
    """
    ours, others = None, 0
    for fields in map(_fields, text.splitlines()):
        found = fields.get("ReservationName")
        count = licence_count(fields.get("Licenses", ""), license)
        if found == name:
            if not _such_as_ours(fields, license):
                its = " ".join(f"{key}={fields.get(key)}" for key in ("Nodes", "Users", "Licenses"))
                advice = "give it another name, or change name of [site], of which ours is made"
                raise NotUnderstood(f"the reservation {name} is somebody else's ({its}) and stays as it is: {advice}")
            ours = count
        elif found and fields.get("State") == "ACTIVE":
            others += count
    return Held(ours, others)


def _such_as_ours(fields: dict[str, str], license: str) -> bool:
    """Whether a reservation has no nodes, is for nobody's jobs, and has licences of this name alone."""
    licences = {part.partition(":")[0] for part in re.split("[,;]", fields.get("Licenses", ""))}
    return (
        fields.get("Nodes", "") in NOTHING
        and fields.get("Users") == NOBODY
        and "ANY_NODES" in fields.get("Flags", "").split(",")
        and licences <= {license, *NOTHING}
    )


def _fields(line: str) -> dict[str, str]:
    """NAME=VALUE pairs; of a name that is there twice, the first."""
    found: dict[str, str] = {}
    for word in line.split():
        name, equals, value = word.partition("=")
        if equals:
            found.setdefault(name, value)
    return found


def licence_count(licenses: str, wanted: str) -> int:
    """Of "a:2,b", or of a job "a:2|b", the number of one name: without a number, 1."""
    count = 0
    for part in re.split("[,;|]", licenses):
        name, _, number = part.partition(":")
        if name == wanted:
            count += int(number) if NUMBER.fullmatch(number) else 1
    return count
