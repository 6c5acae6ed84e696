"""What is said on an invoice beside its figures."""

from __future__ import annotations

TEMPLATES = {
    "invoice.partial": "{period}: {days} of {of_days} days are in the data; it is charged whole",
    "invoice.capacitive_unknown": "capacitive energy is not measured: nothing of it is billed here",
    "invoice.before_unknown": "peaks before {first_day} are not in the data",
    "invoice.full_load_h": "{hours:.0f} full-load hours a year, by {days} of {of_days} days",
    "invoice.individual_unknown": "no individual fee: no interval of the high-load windows is in the data",
    "invoice.individual_granted": "individual fee: {gap_w:kw} below the period's peak, saves {saving:.2f}",
    "invoice.individual_gap": (
        "no individual fee: highest {peak_w:kw} in the high-load windows is {gap_w:kw} below the period's peak; "
        "{need_w:kw} are asked"
    ),
    "invoice.individual_saving": "no individual fee: it would save {saving:.2f}; {least:.2f} are asked",
}
