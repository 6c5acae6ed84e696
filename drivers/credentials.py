"""Finds secrets by name, never in the site file: in a credential of systemd, else in the environment.

systemd puts a credential of the unit (`LoadCredential=`, `LoadCredentialEncrypted=`) into a file of its name in
`$CREDENTIALS_DIRECTORY` (systemd.exec(5), CREDENTIALS). Where there is none of that name, the environment variable
`SKERRY_SECRET_NAME` is read, the name in upper case and with `_` for `-`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from drivers.http.errors import NotTrusted
from drivers.http.secret_file import MOST_BYTES, first_line

CredentialName = Annotated[
    str,
    Meta(
        pattern=r"^([a-z][a-z0-9-]{0,39})?$",
        extra={"expected": "the name of a credential: a-z, 0-9 and -, such as mqtt-password; never the secret itself"},
    ),
]


def variable(name: str) -> str:
    """The environment variable that holds the secret `name` where systemd gives no credential of that name."""
    return "SKERRY_SECRET_" + name.upper().replace("-", "_")


def secret(where: str, key: str, name: str) -> str:
    """The secret of this name: one line of printable text. Read at each call, so that a new one is taken.

    `where`, `key`: who uses it and by which key of the site file, for errors. Raises NotTrusted: there is none, it
    cannot be read, every user can read it, or it is no printable line.
    """
    advice = f"give the unit LoadCredential={name}:FILE, or set {variable(name)}"
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if directory and (Path(directory) / name).exists():
        return first_line(where, key, Path(directory) / name, advice)
    text = os.environ.get(variable(name), "").strip()
    if not text:
        raise NotTrusted(where, f"{key} = {name}: there is neither a credential nor {variable(name)}", advice)
    if len(text) > MOST_BYTES or not text.isprintable():
        raise NotTrusted(where, f"{key} = {name}: {variable(name)} is no line of printable text", advice)
    return text
