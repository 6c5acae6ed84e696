"""Makes what the certificate of a server is verified by: the system's authorities, or those of a file."""

from __future__ import annotations

import ssl
from pathlib import Path

from drivers.http.errors import NotTrusted


def tls_context(where: str, ca: Path | None) -> ssl.SSLContext:
    """A context that verifies certificate and name. `ca`: authorities (PEM); None: the system's. Raises NotTrusted."""
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise NotTrusted(where, f"ca = {ca}: {getattr(error, 'strerror', None) or error}") from None
