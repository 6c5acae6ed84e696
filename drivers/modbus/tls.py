"""Loads the certificates for Modbus/TCP Security: TLS with a client certificate, the device's always verified.

MODBUS/TCP Security Protocol Specification v21: TLS 1.2 or newer, both sides authenticated.
"""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path


class TlsError(Exception):
    """A file of `[tls]` that cannot be used: key, file, what is wrong, what to do."""


def client_context(ca: Path, cert: Path, key: Path) -> ssl.SSLContext:
    """The settings of each TLS connection, of the files that `[tls]` names. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _readable("tls.ca", ca)
    _readable("tls.cert", cert)
    mode = _readable("tls.key", key)
    if mode & stat.S_IROTH:
        raise TlsError(f"tls.key = {key}: every user can read it (mode {mode:04o}), so it is not used: chmod o= {key}")
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise TlsError(f"tls.ca = {ca}: expected certificates in PEM format; {_reason(error)}") from None
    try:
        context.load_cert_chain(cert, key, password="")  # no prompt on the terminal
    except ssl.SSLError as error:
        expected = "expected a certificate and its private key, not encrypted, in PEM format"
        raise TlsError(f"tls.cert = {cert}, tls.key = {key}: {expected}; {_reason(error)}") from None
    return context


def _readable(key: str, path: Path) -> int:
    """The mode of a file that can be read. Raises TlsError."""
    try:
        with path.open("rb") as file:
            return stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise TlsError(f"{key} = {path}: {error.strerror}") from None


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
