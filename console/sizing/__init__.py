"""Sizing: which battery, PV and tariff would save how much, by replaying each."""
