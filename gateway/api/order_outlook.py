"""What a console is told of an order or a drill before it is given: what it does until it ends."""

from __future__ import annotations

import math

import msgspec

from dispatch.config.battery_ratings import lowest_soc_pct
from dispatch.config.schema import DispatchConfig
from dispatch.control.contact_states import operator_limits
from dispatch.control.pcs_limits import able_now
from dispatch.events.life_cycle import limits_ahead
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.islanding import IslandState
from dispatch.model.orders import Order, OrderKind, Preview, Wanted
from dispatch.model.plan import Plan
from dispatch.model.reasons import Reason
from dispatch.model.signals import Quantity, Signal, Sort
from dispatch.model.snapshot import Snapshot
from dispatch.planning.consequence_words import told
from dispatch.planning.order_consequence import SiteNow, consequence
from gateway.api.protocol import Published

CONTACTS = "contacts"  # who asks for a limit by a contact of the grid operator


def with_consequence(
    found: Preview, wanted: Wanted, config: DispatchConfig, published: Published | None, plan: Plan | None
) -> Preview:
    """The preview with what the order would do until it ends, where that can be reckoned."""
    site = None if published is None else site_now(config, published, plan, found.for_s)
    if site is None:
        return found
    given = _order(wanted.kind, wanted.value, wanted.target, site.utc_s, found.for_s)
    done = consequence(site, given)
    if done is None:
        return found
    notes = found.notes
    if any(s.quantity is Quantity.PRODUCTION and s.overlaps(site.utc_s, given.ends_utc_s) for s in site.signals):
        notes = (Reason("note.pv_limits_not_counted"), *notes)
    said, breaks = told(done, config), done.broken is not None
    return msgspec.structs.replace(found, consequence=said, breaks_contract=breaks, notes=notes)


def drill_consequence(
    config: DispatchConfig, published: Published | None, plan: Plan | None, minutes: float
) -> tuple[Reason, ...]:
    """What a drill of so many minutes would do: the battery carries the site, down to the lowest SoC.

    Nothing where that cannot be reckoned. The time in which the site returns to the grid comes on top.
    """
    for_s = 60.0 * minutes
    site = None if published is None or not 0 < minutes < math.inf else site_now(config, published, plan, for_s)
    if site is None:
        return ()
    site = msgspec.structs.replace(site, signals=())  # off the grid none of them limits
    carried = _order(OrderKind.IMPORT_TARGET, 0.0, "", site.utc_s, for_s)
    released = _order(OrderKind.RESERVE_LEVEL, lowest_soc_pct(config), "", site.utc_s, for_s)
    done = consequence(site, carried, (released,))
    return () if done is None else told(done, config)


def site_now(config: DispatchConfig, published: Published, plan: Plan | None, for_s: float) -> SiteNow | None:
    """The site as it is; None where too little is known, and off the grid."""
    snapshot, decision = published.snapshot, published.decision
    soc_pct = BatteryBank(config, snapshot).soc_pct
    if soc_pct is None or decision.net_load_w is None:
        return None
    if decision.island is not IslandState.GRID_TIED or not snapshot.utc_known:
        return None
    if published.interval.never_read:  # its energy so far is not known, nor can the contract be said to be kept
        return None
    now_s = snapshot.utc_s
    return SiteNow(
        config=able_now(config, snapshot),
        utc_s=now_s,
        net_w=decision.net_load_w,
        soc_pct=soc_pct,
        interval=published.interval,
        free_w=published.month_peak_w,
        plan=plan,
        price_eur_per_kwh=published.tariff.now_eur_per_kwh,
        one_charge=published.charges is None,
        charge="" if published.charges is None else published.charges.charge,
        orders=(*published.orders, *_silent(snapshot, now_s + for_s)),
        signals=tuple(_limits(published)),
    )


def _limits(published: Published) -> list[Signal]:
    """The limits of signals, grid events and contacts; what a contact allows is held for as long as anybody knows."""
    now_s, contacts = published.snapshot.utc_s, operator_limits(published.decision.contacts)
    by_contact = {
        Quantity.IMPORT: contacts.import_w,
        Quantity.EXPORT: contacts.export_w,
        Quantity.CHARGE: contacts.charge_w,
        Quantity.PRODUCTION: contacts.production_w,
    }
    by = ", ".join(contacts.by)
    return [
        *(view.signal for view in published.signals),
        *limits_ahead(published.grid_events),
        *(
            Signal(by, Sort.OBLIGATION, CONTACTS, quantity, limit_w, now_s, math.inf, now_s)
            for quantity, limit_w in by_contact.items()
            if limit_w < math.inf
        ),
    ]


def _silent(snapshot: Snapshot, until_utc_s: float) -> list[Order]:
    """A PCS that does not answer takes no part, as one that is disabled by order."""
    ids = [device.id for device in snapshot.devices if device.kind == "pcs" and not device.online]
    return [_order(OrderKind.DISABLE, 0.0, id, snapshot.utc_s, until_utc_s - snapshot.utc_s) for id in ids]


def _order(kind: OrderKind, value: float, target: str, utc_s: float, for_s: float) -> Order:
    """An order that nobody has given."""
    return Order("", kind, value, target, "", "", utc_s, utc_s + for_s, for_s)
