"""Who may do what: viewer, scheduler, operator and engineer are Unix groups, looked up at every command.

Without `[roles]` in the site file the user who runs the gateway and root are engineers, everybody else is a viewer.
With it, root is still an engineer (root could stop the gateway anyway); others are what their groups say, and whoever
may open the socket is a viewer. A scheduler of compute jobs is no person: it may reserve power, give back what it has
reserved and report jobs, and look as any viewer. The kernel says who is on the other end; a client never states it.
"""

from __future__ import annotations

import enum
import grp
from collections.abc import Callable

import msgspec

from gateway.api.peer import Peer
from gateway.site.schema import RolesConfig
from gateway.unix_groups import groups_of


class Role(enum.IntEnum):
    """A role may do whatever a lower one may."""

    VIEWER = 1
    SCHEDULER = 2
    OPERATOR = 3
    ENGINEER = 4

    @property
    def word(self) -> str:
        """For people."""
        return self.name.lower()

    @property
    def one(self) -> str:
        """With its article."""
        return f"{'an' if self.word[0] in 'aeiou' else 'a'} {self.word}"


class Standing(msgspec.Struct, frozen=True):
    """A peer's role now, and what it follows from."""

    role: Role
    why: str


class UnknownGroup(Exception):
    """A group of the site file that this machine does not have."""


def gid_of(group: str) -> int:
    """The number of a group. Raises UnknownGroup."""
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise UnknownGroup(
            f"group {group!r} of [roles] does not exist on this machine; make it: groupadd {group}"
        ) from None


class Roles:
    """Looks roles up. `of` may ask a directory server: not for the event loop."""

    def __init__(
        self,
        config: RolesConfig | None,
        own_uid: int,
        groups: Callable[[int], frozenset[int]] = groups_of,
        gid: Callable[[str], int] = gid_of,
    ) -> None:
        self._config, self._own_uid, self._groups, self._gid = config, own_uid, groups, gid

    def without_lookup(self, peer: Peer) -> Standing | None:
        """The peer's role where that takes no look into the user database; None where it does."""
        if peer.uid == 0:
            return Standing(Role.ENGINEER, "root")
        if self._config is not None:
            return None
        if peer.uid == self._own_uid:
            return Standing(Role.ENGINEER, "runs the gateway")
        return Standing(Role.VIEWER, "the site file has no [roles]: only root and the gateway's user may command")

    def of(self, peer: Peer) -> Standing:
        """The peer's role at this moment."""
        config, known = self._config, self.without_lookup(peer)
        if config is None or known is not None:
            assert known is not None
            return known
        member = self._groups(peer.uid)
        missing = []
        groups = {Role.ENGINEER: config.engineer, Role.OPERATOR: config.operator, Role.SCHEDULER: config.scheduler}
        for role, group in groups.items():
            if group is None:
                continue
            try:
                if self._gid(group) in member:
                    return Standing(role, f"in group {group}")
            except UnknownGroup as error:
                missing.append(str(error))
        why = "; ".join([f"not in {', '.join(group for group in groups.values() if group)}", *missing])
        return Standing(Role.VIEWER, why)

    def viewers_gid(self) -> tuple[int | None, str]:
        """The group that the socket is handed to, and which groups this machine does not have.

        None: there are no `[roles]`, or the group is not there. May ask a directory server: not for the event loop.
        """
        if self._config is None:
            return None, ""
        found: dict[str, int] = {}
        missing = []
        config = self._config
        for group in dict.fromkeys((config.viewer, config.scheduler, config.operator, config.engineer)):
            if group is None:
                continue
            try:
                found[group] = self._gid(group)
            except UnknownGroup as error:
                missing.append(str(error))
        return found.get(self._config.viewer), "; ".join(missing)
