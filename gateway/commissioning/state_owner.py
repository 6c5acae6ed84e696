"""Whose the state directory is: a file that another user leaves in it would keep the gateway from its records."""

from __future__ import annotations

import os

from gateway.api.peer import user_name
from gateway.site import paths
from gateway.site.schema import Site


def not_the_owner(site: Site) -> str:
    """Why this user must not write there, and what to do; empty where it may, or where there is no directory yet."""
    directory = paths.state_dir(site)
    try:
        owner = directory.stat().st_uid
    except OSError:
        return ""
    if owner == os.geteuid():
        return ""
    name = user_name(owner)
    return f"{directory} is of {name}, whose files the gateway must be able to write; use: sudo -u {name} skerry ..."
