"""What a fleet's rows and sums say, the same for `skerry fleet` as a screen, as text and as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from console.display.formats import ABSENT, age, cents, kw, number
from console.display.language import alarm_text, say, say_of
from console.display.wrapping import cut, ending, padded
from dispatch.alarms.priorities import Priority
from dispatch.model.readings import Quality, Reading
from fleet.table import CONNECTING, LIVE, Row, Sums, Total
from gateway.api.site_overview import KindOfAlarm, SiteOverview

MARKS = {Priority.HIGH.value: "▲H", Priority.MEDIUM.value: "▲M", Priority.LOW.value: "▼L"}
STATE_COLUMNS = 10
WHOSE = "…"  # the site's devices stay its own
MILLION = 1_000_000.0


def state_text(row: Row) -> str:
    """State of the site, or that it is silent and for how long; `STATE_COLUMNS` at most."""
    if row.link == CONNECTING:
        return say("fleet.waiting")
    if row.link != LIVE or row.overview is None:
        return say("fleet.silent") if row.age_s is None else say("fleet.silent_for", age=age(row.age_s))
    return cut(say_of("fleet_state", row.overview.island), STATE_COLUMNS)


def kind_text(kind: KindOfAlarm | str) -> str:
    """Title of a kind of alarm, "…" for whose it is; the kind itself where this version does not know it."""
    name = kind if isinstance(kind, str) else kind.kind
    title = alarm_text(f"{name}:{WHOSE}").title.removeprefix(f"{name}:{WHOSE}").removeprefix(WHOSE).lstrip(":： ")
    return (title[:1].upper() + title[1:]) or name


def alarm_words(row: Row) -> str:
    """The top alarm, and how many others there are."""
    top = row.top_alarm
    if top is None or row.overview is None:
        return ""
    listed = sum(max(a.active, a.waiting) for a in row.overview.alarms)
    return f"{MARKS.get(top.priority, '·')} {kind_text(top)}" + (f" +{listed - 1}" if listed > 1 else "")


def last_text(row: Row) -> str:
    """What stands at the end of a row: why it is silent, else its top alarm, else what is odd about it."""
    if not row.fresh and row.trouble:
        return row.trouble
    return alarm_words(row) or row.trouble


def detail_text(row: Row) -> str:
    """One site in a sentence, nothing cut."""
    found = row.overview
    parts = [row.name if found is None or found.site == row.name else f"{row.name} ({found.site})"]
    if row.link != LIVE:
        parts.append(say("fleet.no_answer_yet") if row.age_s is None else say("fleet.silent_as", age=age(row.age_s)))
    parts += [row.trouble] if row.trouble else []
    parts += [alarm_words(row)] if row.top_alarm else []
    if row.address.tags:
        parts.append(" ".join(f"#{tag}" for tag in row.address.tags))
    return " · ".join(parts)


def figure(reading: Reading) -> str:
    """A reading in kW; a value that is not fresh at the site itself is marked."""
    text = kw(reading.value, 6)
    return text if reading.quality is Quality.GOOD or reading.value is None else f"{text.strip()}?".rjust(6)


def cells(row: Row) -> dict[str, str]:
    """The figures of a row, each in its width."""
    found = row.overview
    if found is None:
        return dict.fromkeys(("import", "soc", "pv", "load", "price", "iq", "peak", "stored", "jobs", "cost"), ABSENT)
    return {
        "import": figure(found.import_w),
        "soc": number(found.soc_pct.value, 3, 0),
        "pv": kw(found.pv_w, 5),
        "load": kw(found.load_w, 6),
        "price": cents(found.price_eur_per_kwh),
        "iq": number(found.iq_today_pct, 3, 0),
        "peak": _peak(found),
        "stored": number(found.stored_kwh, 6, 0),
        "jobs": number(found.jobs_running, 4, 0),
        "cost": number(found.cost_today_eur, 7, 2),
    }


def _peak(found: SiteOverview) -> str:
    """The peak billed so far, "≥" where parts of the period were not measured; else the contracted one."""
    if not found.peak_w:
        return kw(found.contracted_w, 6)
    text = kw(found.peak_w, 6)
    return f"≥{text.strip()}".rjust(6) if found.peak_at_least and len(text.strip()) < 6 else text


def sums_lines(sums: Sums) -> tuple[str, str]:
    """The fleet together in two lines of 78 columns."""
    stored, rated = sums.stored_kwh, sums.energy_kwh
    first = [say("fleet.answer", live=sums.live, sites=sums.sites)]
    first.append(say("fleet.import", mw=mega(sums.import_w, sums.live)))
    first.append(say("fleet.load", mw=mega(sums.load_w, sums.live)))
    if stored.value is not None and rated.value is not None:
        first.append(say("fleet.stored_of", kwh=plain(stored), rated=f"{rated.value:.0f}"))
    elif stored.value is not None:
        first.append(say("fleet.stored", kwh=plain(stored)))
    kinds = [f"{kind_text(kind)} {sites}" for kind, sites in sums.alarms.items()]
    second = [say("fleet.today", eur=plain(sums.cost_today_eur))] if sums.cost_today_eur.sites else []
    second += [say("fleet.jobs", n=plain(sums.jobs_running))] if sums.jobs_running.sites else []
    second.append(say("fleet.alarms", kinds=", ".join(kinds) or say("fleet.no_alarms")))
    return " · ".join(first), " · ".join(second)


def mega(total: Total, sites: int) -> str:
    """A sum of powers in MW, and of how many sites where not all have it."""
    if total.value is None:
        return ABSENT
    return f"{total.value / MILLION:.2f} MW" + ("" if total.sites == sites else f" ({total.sites})")


def plain(total: Total) -> str:
    """A sum without decimals."""
    return ABSENT if total.value is None else f"{total.value:.0f}"


def document(rows: tuple[Row, ...], sums: Sums, utc_s: float) -> dict[str, Any]:
    """The fleet for programs: every site, the worst first, and the sums."""
    return {
        "utc_s": utc_s,
        "sites": [_site(row) for row in rows],
        "sums": msgspec.to_builtins(sums),
    }


def _site(row: Row) -> dict[str, Any]:
    found = row.overview
    top = row.top_alarm
    return {
        "name": row.name,
        "host": row.address.host,
        "site_file": row.address.site,
        "tags": row.address.tags,
        "link": row.link,
        "age_s": None if row.age_s is None else round(row.age_s, 1),
        "trouble": row.trouble,
        "urgency": row.urgency,
        "top_alarm": None if top is None else top.kind,
        "stored_kwh": None if found is None else found.stored_kwh,
        "peak_share": row.peak_share,
        "overview": None if found is None else msgspec.to_builtins(found),
    }


def table_lines(rows: tuple[Row, ...], sums: Sums) -> list[str]:
    """The fleet as text of any length."""
    names = max([12, *(len(row.name) for row in rows)])
    ends = [("fleet.import_kw", 9), ("fleet.peak", 6), ("fleet.soc_narrow", 3), ("fleet.pv", 5)]
    ends += [("fleet.load_head", 6), ("fleet.ct", 5), ("fleet.iq", 3)]
    figures = " ".join(ending(say(code), width) for code, width in ends)
    head = f"{padded(say('fleet.site'), names)} {padded(say('fleet.state'), STATE_COLUMNS)} {figures}"
    lines = [f"{head}  {say('fleet.alarm')}"]
    for row in rows:
        c = cells(row)
        begins = f"{padded(row.name, names)} {padded(state_text(row), STATE_COLUMNS)}"
        figures = (
            f"{c['import']:>9} {c['peak']:>6} {c['soc']:>3} {c['pv']:>5} {c['load']:>6} {c['price']:>5} {c['iq']:>3}"
        )
        lines.append(f"{begins} {figures}  {last_text(row)}".rstrip())
    return [*lines, *sums_lines(sums)]
