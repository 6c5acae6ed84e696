"""Who belongs to which Unix group. Both may ask a directory server: not for the event loop."""

from __future__ import annotations

import grp
import os
import pwd


def groups_of(uid: int) -> frozenset[int]:
    """The groups of a user as the user database has them now; none for a uid it does not know. May ask a server."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return frozenset()
    return frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))


def in_group(uid: int, group: str) -> bool:
    """Whether a user belongs to a group now; to one that this machine does not have, nobody. May ask a server."""
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        return False
    return gid in groups_of(uid)
