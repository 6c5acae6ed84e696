"""Decides whether a gateway may end when its console does. Off the grid, only it sheds load and permits reclosing."""

from __future__ import annotations

from dispatch.model.islanding import OFF_GRID_STATES, IslandState

NEEDED_IN = OFF_GRID_STATES | {IslandState.OPENING}  # opening: the switch may be open at any moment


def reason_to_stay(state: IslandState, drill: bool, simulated: bool) -> str:
    """Why it goes on without a console until the site is back on the grid; empty where it may end.

    A simulated site's outage ends with whoever simulates it; its drill is brought to an end all the same.
    """
    if drill:
        return "a drill is under way"
    return f"the site is {state.value}" if state in NEEDED_IN and not simulated else ""
