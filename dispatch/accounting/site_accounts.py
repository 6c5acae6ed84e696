"""Keeps the quarter hours of the site: import, load, what jobs and idle nodes drew; and its highest intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from dispatch.accounting.costs import Rates, highest, rates
from dispatch.accounting.records import QUARTER_S, PeakInterval, RunKey, SiteQuarter
from dispatch.config.demand_terms import DemandTerms

MOST_APART_S = 5.0  # between two looks at import and load; what is longer is not known
MOST_SHARES = 2000  # jobs in a peak; those that drew least are left out
KEPT_PEAKS = 400
AHEAD_S = 2 * 86_400.0
RATES_KEPT = 16  # quarter hours, for energy that is told late


def not_known(_: float) -> None:
    """What a kWh of the grid emits where nothing is fetched."""


class Quarter(msgspec.Struct):
    """A quarter hour that is not over."""

    import_wh: float = 0.0
    load_wh: float = 0.0
    known_s: float = 0.0
    jobs_wh: float = 0.0
    idle_wh: float = 0.0
    gap_s: float = 0.0
    runs_wh: dict[str, float] = {}  # of each run, by its name


class SiteTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What the site file says of prices and intervals. `offset_s`: the utility meter's clock less ours."""

    demand: DemandTerms  # the main charge on peaks
    others: tuple[DemandTerms, ...] = ()  # the other ones
    timezone: str
    interval_s: int
    offset_s: float = 0.0
    co2_g_per_kwh: float | None = None


class AccountsState(msgspec.Struct):
    """What is kept over a restart."""

    quarters: dict[int, Quarter] = {}
    settled: list[SiteQuarter] = []  # of the metering interval that runs
    runs_wh: dict[str, float] = {}  # in those
    peaks_w: dict[str, float] = {}  # the highest mean so far, by account


Price = Callable[[float], float | None]  # EUR per imported kWh at a time; None: not known
Carbon = Callable[[float], float | None]  # g CO2 per imported kWh at a time; None: not known


class SiteAccounts:
    """The quarter hours of the site."""

    def __init__(self, terms: SiteTerms, state: AccountsState | None = None, speed: float = 1.0) -> None:
        """`speed`: seconds of the site in one of the machine."""
        self.state = AccountsState() if state is None else state
        self._terms, self._rates, self._most_apart_s = terms, dict[int, Rates](), MOST_APART_S * speed
        self._before: tuple[float, float, float | None, float | None] | None = None  # mono, utc, import, load

    def see(self, utc_s: float, mono_s: float, import_w: float | None, load_w: float | None) -> None:
        """Import and load now, W; None: not known."""
        before, self._before = self._before, (mono_s, utc_s, import_w, load_w)
        if before is None or import_w is None or load_w is None or before[2] is None or before[3] is None:
            return
        passed_s = mono_s - before[0]
        if not 0 < passed_s <= self._most_apart_s:
            return
        quarter = self.quarter(utc_s - passed_s / 2)
        quarter.import_wh += (max(0.0, before[2]) + max(0.0, import_w)) / 2 * passed_s / 3600
        quarter.load_wh += (before[3] + load_w) / 2 * passed_s / 3600
        quarter.known_s += passed_s

    def quarter(self, utc_s: float) -> Quarter:
        """The account of the quarter hour that a moment lies in."""
        return self.state.quarters.setdefault(self.start_of(utc_s), Quarter())

    def start_of(self, utc_s: float) -> int:
        """The quarter hour of the utility meter's clock that a moment lies in."""
        return int((utc_s + self._terms.offset_s) // QUARTER_S) * QUARTER_S

    def end_utc_s(self, start_s: int) -> float:
        """When a quarter hour ends, by our clock."""
        return start_s + QUARTER_S - self._terms.offset_s

    def rates_of(self, start_s: int) -> Rates | None:
        """What a kWh cost in a quarter hour that is settled; None: it is not."""
        return self._rates.get(start_s)

    def draw(self, run: str, wh: float, utc_s: float) -> None:
        """A run of a job drew that much around a moment."""
        start_s = self.start_of(utc_s)
        if start_s in self._rates:
            return  # settled: it is told too late for the site's account, and stays in the rest
        quarter = self.quarter(utc_s)
        quarter.jobs_wh += wh
        quarter.runs_wh[run] = quarter.runs_wh.get(run, 0.0) + wh

    def idle(self, wh: float, utc_s: float) -> None:
        """Nodes drew that much for no job."""
        if self.start_of(utc_s) not in self._rates:
            self.quarter(utc_s).idle_wh += wh

    def settle(
        self, until_utc_s: float, price: Price, least_peak_w: float, carbon: Carbon = not_known
    ) -> Iterator[tuple[int, SiteQuarter, list[PeakInterval]]]:
        """Settle each quarter hour that has ended by then, oldest first; with the peaks that its interval has set.

        Also one that lies far ahead: a clock that was wrong has named it. `least_peak_w`: the peak that the controller
        knows of: an interval below it sets none. 0: it knows of none. `carbon`: what a kWh of the grid emits, where
        that is fetched; else the site file's figure counts.
        """
        for start_s in sorted(self.state.quarters):
            if 0 < self.end_utc_s(start_s) - until_utc_s < AHEAD_S:
                continue
            account = self.state.quarters.pop(start_s)
            terms = self._terms
            told = carbon(start_s)
            co2_g_per_kwh = terms.co2_g_per_kwh if told is None else told
            found = rates(account.import_wh, account.load_wh, account.known_s, price(start_s), co2_g_per_kwh)
            self._rates[start_s] = found
            for old in sorted(self._rates)[:-RATES_KEPT]:
                del self._rates[old]
            settled = SiteQuarter(
                start_utc_s=start_s,
                import_wh=account.import_wh,
                load_wh=account.load_wh,
                known_s=account.known_s,
                jobs_wh=account.jobs_wh,
                idle_wh=account.idle_wh,
                gap_s=account.gap_s,
                eur_per_kwh=found.eur_per_kwh,
                co2_g_per_kwh=found.co2_g_per_kwh,
            )
            yield start_s, settled, self._interval(settled, account, least_peak_w)

    def _interval(self, settled: SiteQuarter, account: Quarter, least_peak_w: float) -> list[PeakInterval]:
        """Add a quarter hour to its metering interval; if that is over, the peaks of charges that it is."""
        state, length_s = self.state, self._terms.interval_s
        if state.settled and state.settled[0].start_utc_s // length_s != settled.start_utc_s // length_s:
            state.settled, state.runs_wh = [], {}
        state.settled.append(settled)
        for run, wh in account.runs_wh.items():
            state.runs_wh[run] = state.runs_wh.get(run, 0.0) + wh
        if (settled.start_utc_s + QUARTER_S) % length_s:
            return []
        quarters, runs_wh = state.settled, state.runs_wh
        state.settled, state.runs_wh = [], {}
        found = []
        for terms in (self._terms.demand, *self._terms.others):
            main = terms is self._terms.demand
            peak = highest(quarters, terms, self._terms.timezone, length_s, main=main)
            least_w = 0.98 * least_peak_w if main else 0.0
            if peak is not None and peak.import_w > max(state.peaks_w.get(peak.account, 0.0), least_w):
                state.peaks_w[peak.account] = peak.import_w
                found.append(peak)
        for old in sorted(state.peaks_w)[:-KEPT_PEAKS]:
            del state.peaks_w[old]
        most = sorted(runs_wh.items(), key=lambda item: -item[1])[:MOST_SHARES] if found else []
        shares = tuple((*key_of(run), wh) for run, wh in most)
        return [msgspec.structs.replace(peak, shares=shares) for peak in found]


def name_of(key: RunKey) -> str:
    """The name of a run in a JSON object."""
    return msgspec.json.encode(key).decode()


def key_of(name: str) -> RunKey:
    """The run of a name. Raises msgspec.DecodeError for what is none."""
    return msgspec.json.decode(name, type=tuple[str, str, float])
