"""Compares what two versions of the code produce, byte by byte: `compare_refs.py REF_A REF_B [KIND ...]`.

For changes that must change nothing: recorded scenes, pictures, a replay's schedule, half an hour in lock-step. Each
ref is unpacked into a directory of its own and runs its own `tests/project/outputs.py` there, with this interpreter's
packages. Prints one line per comparison; exit code 0 only if all are identical. Takes about five minutes.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import sysconfig
import tarfile
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
ENTRY = Path("tests") / "project" / "outputs.py"
KINDS = ("scenes", "pictures", "replay", "lockstep")
SHOWN = 60  # bytes of a differing line


def unpack(ref: str, directory: Path) -> None:
    """Put the files of a git ref into a directory. Ends the program if the ref cannot take part."""
    archive = subprocess.run(["git", "archive", ref], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        raise SystemExit(f"{ref}: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(directory, filter="data")
    if not (directory / ENTRY).exists():
        raise SystemExit(f"{ref} has no {ENTRY}, so nothing can be produced from it: choose a ref that has it")


def produce(checkout: Path, kind: str, out: Path) -> str:
    """Let a checkout write one kind of output. Returns why it could not, or nothing.

    `-S` keeps `.pth` files out, an editable install among them; so only the checkout's own code can be imported.
    """
    out.mkdir(parents=True)
    packages = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SKERRY", "PYTHON", "XDG", "TEXTUAL"))}
    environment = kept | {"PYTHONPATH": os.pathsep.join([str(checkout), *packages]), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-P", str(checkout / ENTRY), kind, str(out)]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    return (
        "" if done.returncode == 0 else f"exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}"
    )


def differences(one: Path, other: Path) -> list[str]:
    """What differs between two directories, a line per file."""
    names = sorted({str(f.relative_to(d)) for d in (one, other) for f in d.rglob("*") if f.is_file()})
    found = []
    for name in names:
        if missing := [d for d in (one, other) if not (d / name).exists()]:
            found.append(f"{name}: only {'the second' if missing[0] == one else 'the first'} has it")
        elif (one / name).read_bytes() != (other / name).read_bytes():
            found.append(f"{name}: {first_difference((one / name).read_bytes(), (other / name).read_bytes())}")
    return found


def first_difference(one: bytes, other: bytes) -> str:
    """Where two files first differ, with a little of each."""
    pairs = enumerate(zip_longest(one.splitlines(), other.splitlines(), fillvalue=b""), 1)
    for line, (a, b) in pairs:
        if a != b:
            at = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            begin = max(at - SHOWN // 2, 0)
            return f"line {line}, byte {at}: {a[begin : begin + SHOWN]!r} and {b[begin : begin + SHOWN]!r}"
    return "line endings"


def main(words: list[str]) -> int:
    """Compare; the exit code."""
    refs, kinds = words[:2], words[2:] or KINDS
    if len(refs) != 2 or not {*kinds} <= {*KINDS}:
        raise SystemExit(f"usage: python tests/project/compare_refs.py REF_A REF_B [{'|'.join(KINDS)} ...]")
    identical = True
    with TemporaryDirectory(prefix="compare-refs-") as place:
        checkouts = [Path(place).resolve() / name for name in ("first", "second")]
        for ref, checkout in zip(refs, checkouts, strict=True):
            checkout.mkdir()
            unpack(ref, checkout)
        for kind in kinds:
            outs = [Path(place).resolve() / "out" / checkout.name / kind for checkout in checkouts]
            failed = [
                f"{ref}: {why}" for ref, c, o in zip(refs, checkouts, outs, strict=True) if (why := produce(c, kind, o))
            ]
            files = [file for file in outs[0].rglob("*") if file.is_file()]
            found = failed or differences(*outs) or ([] if files else ["nothing was produced"])
            identical = identical and not found
            total = sum(file.stat().st_size for file in files)
            print(f"{kind}: {'DIFFERENT' if found else f'identical, {len(files)} files, {total} bytes'}", flush=True)
            for line in found:
                print(f"  {line}", flush=True)
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
