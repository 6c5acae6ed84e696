"""Tells by its first bytes what answers at an address where a Modbus device was expected."""

from __future__ import annotations

import ssl

PORTS = "is the port in its url right? Modbus TCP has 502, with TLS 802"
STARTS = (  # first bytes, and who sends them
    (b"HTTP/", "HTTP: a web server"),
    (b"<!", "with a web page"),
    (b"<h", "with a web page"),
    (b"SSH-", "SSH"),
    (b"RFB ", "VNC"),
    (b"\x15\x03", "TLS"),  # RFC 8446, 5.1: an alert,
    (b"\x16\x03", "TLS"),  # a handshake
    (b"\xff\xfb", "Telnet"),  # RFC 854: will, do
    (b"\xff\xfd", "Telnet"),
    (b"220", "FTP or SMTP"),  # RFC 959, RFC 5321
)
LEAST_TEXT = 4  # bytes that are all printable: what no Modbus frame begins with
SHOWN = 40


def other_protocol(reply: bytes) -> str:
    """What answers, in words; "": nothing that is known. `reply`: the bytes so far, which are no Modbus answer."""
    for start, name in STARTS:
        if reply.startswith(start):
            return f"answers {name}, not Modbus; {PORTS}"
    line = reply.splitlines()[0] if reply else b""
    if len(line) >= LEAST_TEXT and all(0x20 <= byte < 0x7F or byte == 0x09 for byte in line):
        return f"answers with text, not Modbus: {line[:SHOWN].decode('ascii')!r}; {PORTS}"
    return ""


def no_tls(error: ssl.SSLError) -> str:
    """Why a TLS connection was not had, in words."""
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNEXPECTED_MESSAGE"):
        return f"what answers does not speak TLS; {PORTS}, or should it be tcp:// ?"
    return str(error)
