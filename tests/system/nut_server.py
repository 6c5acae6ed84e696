"""An upsd of Debian's nut with dummy-ups as its drivers, without systemd, on loopback, in one directory."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

UPSD, DUMMY = Path("/lib/nut/upsd"), Path("/lib/nut/dummy-ups")
LIMIT_S = 30.0

DEVICES = {
    "su700": (
        'ups.mfr: "Maker \\"A\\" \\\\ B"\nups.status: OL\nups.realpower: 1230.5\nups.load: 41\n'
        "battery.charge: 97\nbattery.runtime: 1680\n"
    ),
    "pdu-a": "device.type: pdu\noutlet.1.realpower: 310\noutlet.2.realpower: 0\n",
    "pdu-b": "device.type: pdu\noutlet.1.realpower: 455.5\n",
}


def missing() -> str:
    """Why there can be no upsd here; empty: there can."""
    absent = [str(program) for program in (UPSD, DUMMY) if not program.exists()]
    if absent:
        return f"not installed: {', '.join(absent)}; as root: apt-get install --no-install-recommends nut-server"
    return "" if os.geteuid() == 0 else "upsd and its drivers drop root's rights, so they need them"


class NutSite:
    """One upsd with a driver for each device, from `start` to `stop`. Only processes that it has started are ended."""

    def __init__(self, place: Path) -> None:
        self.place = place
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        names = ("NUT_CONFPATH", "NUT_STATEPATH", "NUT_ALTPIDPATH")
        self._environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **dict.fromkeys(names, str(place))}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._written_s = time.time()

    def start(self) -> None:
        """Write the configuration, start every driver and upsd."""
        for name, said in DEVICES.items():
            self.say(name, said)
        sections = [f"[{name}]\ndriver = dummy-ups\nport = {name}.dev\npollinterval = 1\n" for name in DEVICES]
        (self.place / "ups.conf").write_text("".join(sections))
        (self.place / "upsd.conf").write_text(f"LISTEN 127.0.0.1 {self.port}\nMAXAGE 4\n")
        (self.place / "upsd.users").write_text("")
        for name in DEVICES:
            self._run(name, str(DUMMY), "-F", "-u", "root", "-a", name)
        self.start_upsd()

    def say(self, name: str, said: str) -> None:
        """What a device says from now on. Its driver reads the file again when its time (whole seconds) is another."""
        new = self.place / f"{name}.new"
        new.write_text(said)
        self._written_s += 2
        os.utime(new, (self._written_s, self._written_s))
        new.rename(self.place / f"{name}.dev")

    def start_upsd(self) -> None:
        """Start upsd and wait until it listens."""
        self._run("upsd", str(UPSD), "-F", "-u", "root")
        end_s = time.monotonic() + LIMIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > end_s or self._processes["upsd"].poll() is not None:
                    raise
                time.sleep(0.05)

    def end(self, name: str) -> None:
        """End one process, a driver by the name of its device, or upsd."""
        process = self._processes.pop(name)
        process.kill()
        process.wait(LIMIT_S)

    def signal(self, name: str, number: int) -> None:
        """Send a signal to one process."""
        self._processes[name].send_signal(number)

    def stop(self) -> None:
        """End every process."""
        for name in [*self._processes]:
            self.end(name)

    def url(self, name: str) -> str:
        return f"nut://127.0.0.1:{self.port}/{name}"

    def _run(self, name: str, *command: str) -> None:
        with (self.place / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
