"""Sphinx's configuration: the Markdown pages of the repository as a static site that needs no network.

Sphinx with the theme furo: both are maintained, ship their scripts, styles and search index with the pages, and use the
fonts of the reader's system. The source is the root of the repository, so that links between pages are the same here
and in the repository. A page that would load anything from another host fails the build.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import SphinxError

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    *(
        "docs/commands",
        "docs/site-file",
        "docs/tariffs",
        "docs/devices",
        "docs/compute",
        "docs/ups-and-contacts",
        "docs/signals",
        "docs/events",
        "docs/outputs",
        "docs/fleet",
        "docs/handbook",
        "docs/operation",
        "docs/security",
        "docs/screens",
        "docs/figures",
        "docs/reliability",
        "docs/glossary",
    ),
    *("README", "deploy/README", "ARCHITECTURE", "CONTRIBUTING", "SECURITY", "CHANGELOG"),
)
project = "Skerry"
copyright = "The Skerry authors. Apache-2.0"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["docs/index.md", *(f"{page}.md" for page in PAGES)]
exclude_patterns = [".venv", "build"]
highlight_language = "text"
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"Skerry {release}"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}

ENTRY = f"""<!doctype html><meta charset="utf-8"><title>Skerry</title>
<meta http-equiv="refresh" content="0; url={root_doc}.html"><a href="{root_doc}.html">Skerry</a>
"""

# What a browser loads by itself. A link that somebody follows is not among it.
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc(?:set)?\s*=\s*["']?(?:https?:)?//"""
    r"""|<link\b[^>]*?\bhref\s*=\s*["']?(?:https?:)?//"""
    r"""|url\(\s*["']?(?:https?:)?//"""
    r"""|@import\s+["']?(?:url\()?["']?(?:https?:)?//""",
    re.IGNORECASE,
)
# The console's pictures name a web font in case the machine has none of its name; any fixed-width font will do.
WEB_FONT = re.compile(r",?\s*url\(\"https://cdnjs\.cloudflare\.com/[^)]*\)\s*format\(\"[^\"]*\"\)")


def add_contents(_app: Sphinx, docname: str, source: list[str]) -> None:
    """The tree of pages, which only Sphinx needs, added to the index."""
    if docname == root_doc:
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", "", *(f"/{page}" for page in PAGES), "```", ""])


def finish(app: Sphinx, error: Exception | None) -> None:
    """Take web fonts out of the pictures, make the way in, and check that nothing is loaded from elsewhere."""
    if error is not None:
        return
    out = Path(app.outdir)
    for picture in out.rglob("*.svg"):
        picture.write_text(WEB_FONT.sub("", picture.read_text(encoding="utf-8")), encoding="utf-8")
    (out / "index.html").write_text(ENTRY, encoding="utf-8")
    if found := loads_from_elsewhere(out):
        raise SphinxError("the site must need no other host:\n" + "\n".join(found))


def loads_from_elsewhere(directory: Path) -> list[str]:
    """Every place in the built site that a browser would fetch from another host, as "file: what"."""
    return [
        f"{file.relative_to(directory)}: {match[0][:120]}"
        for file in sorted(directory.rglob("*"))
        if file.suffix in (".html", ".css", ".js", ".svg")
        for match in LOADED.finditer(file.read_text(encoding="utf-8", errors="replace"))
    ]


def setup(app: Sphinx) -> None:
    """Sphinx's entry."""
    app.connect("source-read", add_contents)
    app.connect("build-finished", finish)
