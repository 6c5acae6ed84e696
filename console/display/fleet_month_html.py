"""A month of a fleet as one HTML page that needs no other file: a table, the cost of each site, its import by day.

What sites have named themselves is text: it is escaped, and characters that steer are left out. The page runs no
script and loads nothing; a Content-Security-Policy says so to the browser.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence

from fleet.month import DayImport
from fleet.site_text import one_line

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #111; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .3rem .5rem; border-bottom: 1px solid #ccc; }
th { text-align: left; vertical-align: bottom; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1.5rem 0; break-inside: avoid; } figcaption { margin-bottom: .3rem; } svg { width: 100%; }
svg text { font: 11px system-ui, sans-serif; fill: #333; } .bar { fill: #2b6cb0; } .gap { fill: #e2e2e2; }
.note { color: #444; } @media print { body { margin: 0; max-width: none; font-size: 11px; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
WIDTH, NAME_WIDTH, ROW, DAY_HEIGHT = 900, 190, 22, 120
Row = Mapping[str, str]


def page(
    title: str,
    columns: Mapping[str, str],
    rows: Sequence[Row],
    costs: Sequence[tuple[str, float | None]],
    days: Sequence[tuple[str, Sequence[DayImport]]],
    notes: Sequence[str],
) -> str:
    """The page. `columns`: heading by key of a row; `costs`: EUR, by name; `days`: of each site, with its name."""
    parts = [*_table(columns, rows), *_costs(costs)]
    for name, found in days:
        parts += _days(name, found)
    parts += [f'<p class="note">{text(note)}</p>' for note in notes]
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"/>\n'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>\n<body><h1>{text(title)}</h1>\n{body}\n</body></html>\n"
    )


def text(value: str) -> str:
    """Text that stands in HTML as it is."""
    return html.escape(one_line(value), quote=True)


def _table(columns: Mapping[str, str], rows: Sequence[Row]) -> Iterator[str]:
    heads = "".join(f"<th{_class(n)}>{text(head)}</th>" for n, head in enumerate(columns.values()))
    yield f"<table><thead><tr>{heads}</tr></thead><tbody>"
    for row in rows:
        cells = "".join(f"<td{_class(n)}>{text(row[key])}</td>" for n, key in enumerate(columns))
        yield f"<tr>{cells}</tr>"
    yield "</tbody></table>"


def _class(column: int) -> str:
    return ' class="n"' if column else ""


def _costs(costs: Sequence[tuple[str, float | None]]) -> Iterator[str]:
    known = [(name, eur) for name, eur in costs if eur is not None]
    if not known:
        return
    most = max(1e-9, *(abs(eur) for _, eur in known))
    height = ROW * len(known)
    yield "<figure><figcaption>Cost of the imported energy, EUR</figcaption>"
    yield f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Cost of the imported energy by site">'
    for n, (name, eur) in enumerate(sorted(known, key=lambda each: -each[1])):
        length, y = abs(eur) / most * (WIDTH - NAME_WIDTH - 90), n * ROW
        yield f'<text x="0" y="{y + 15}">{text(name[:28])}</text>'
        yield f'<rect class="bar" x="{NAME_WIDTH}" y="{y + 4}" width="{length:.1f}" height="{ROW - 8}"/>'
        yield f'<text x="{NAME_WIDTH + length + 6:.1f}" y="{y + 15}">{eur:.2f}</text>'
    yield "</svg></figure>"


def _days(name: str, days: Sequence[DayImport]) -> Iterator[str]:
    """Bars by day; a day of which nothing is known is grey, over the whole height."""
    if not days or not any(day.known_h for day in days):
        return
    most, step = _axis(max(day.import_kwh for day in days)), WIDTH / len(days)
    caption = f"{name}: import by day, kWh (grey: nothing is known; full height: {most:g} kWh)"
    yield f"<figure><figcaption>{text(caption)}</figcaption>"
    yield f'<svg viewBox="0 0 {WIDTH} {DAY_HEIGHT + 16}" role="img" aria-label="{text(caption)}">'
    for n, day in enumerate(days):
        height = day.import_kwh / most * DAY_HEIGHT if day.known_h else DAY_HEIGHT
        kind = "bar" if day.known_h else "gap"
        told = f"{day.day}: {day.import_kwh:.1f} kWh in {day.known_h:g} h" if day.known_h else f"{day.day}: not known"
        x, width = n * step + 1, max(1.0, step - 2)
        y = DAY_HEIGHT - height
        yield f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
        yield f"<title>{text(told)}</title></rect>"
        yield f'<text x="{x + width / 2:.1f}" y="{DAY_HEIGHT + 12}" text-anchor="middle">{int(day.day[-2:])}</text>'
    yield "</svg></figure>"


def _axis(most: float) -> float:
    """A round figure that is not below: 1, 2 or 5 times a power of ten."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= most)
