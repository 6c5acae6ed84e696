"""View 1: the site on one screen. A larger terminal adds beside and below; nothing changes its place."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from console.tui.energy_flows import BatteryFlow, ComputeFlow, GridFlow, PvFlow
from console.tui.overview_more import AlarmsPanel, JobsPanel, PricesPanel
from console.tui.overview_panels import GatewayPanel, MonthPanel, RecentEvents, TopNodes
from console.tui.status_bars import Separator
from console.tui.trends import ImportChart, LoadChart, SocChart, TariffStrip, TimeAxis


class Overview(Vertical):
    """Draws flows, charts, tariff on the left; month, nodes, gateway on the right; state of charge and events below.

    From 176 columns on jobs, prices ahead and alarms are at the right of these.
    """

    def compose(self) -> ComposeResult:
        """Everything, at its place; what does not fit is hidden by the stylesheet."""
        with Horizontal(id="upper"):
            with Vertical(id="main"):
                with Horizontal(id="flows"):
                    yield GridFlow()
                    yield BatteryFlow()
                    yield PvFlow()
                    yield ComputeFlow()
                yield Separator()
                yield LoadChart()
                yield ImportChart()
                yield TimeAxis()
                yield TariffStrip()
            with Vertical(id="side"):
                yield MonthPanel()
                yield TopNodes()
                yield GatewayPanel()
            with Vertical(id="more"):
                yield JobsPanel()
                yield PricesPanel()
                yield AlarmsPanel()
        with Vertical(id="lower"):
            yield Separator()
            yield SocChart()
            yield Separator()
            yield RecentEvents()
