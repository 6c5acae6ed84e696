"""The `skerry` command. Only the command that is called is imported; errors are one line on stderr and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from console.language_option import language_option
from console.terminal_output import prepare_output
from dispatch.wording.formatting import neutralised
from gateway import exit_codes

# name -> module:attribute, and the line in the help; "" hides it. Kept here so that --help imports none of them.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("console.cli.run:demo", "Run a demonstration: a simulated site on this machine."),
    "console": ("console.cli.run:console", "Open the console of a gateway that runs."),
    "open": ("console.cli.run:open_", ""),
    "serve": ("console.cli.run:serve", "Run the gateway of a site without a console, for systemd."),
    "twin": ("console.cli.run:twin", "Run only the simulated devices of a site."),
    "fault": ("console.cli.fault:fault", "Simulate a fault of a running twin, or end it."),
    "check": ("console.cli.check:check", "Check a site file; print every error, or a summary."),
    "doctor": ("console.cli.doctor:doctor", "Look at a site's devices and this machine; say what to mend."),
    "config": ("console.cli.config:config", "Bring a site file to the current version."),
    "replay": ("console.cli.replay:replay", "Replay recorded prices, load and PV; compare the bills."),
    "size": ("console.cli.size:size", "Compare sizes of battery and PV, and tariffs, by replays."),
    "status": ("console.cli.status:status", "Show the site now."),
    "why": ("console.cli.why:why", "Explain the decision now or at a time."),
    "plan": ("console.cli.plan:plan", "Show the plan in force, with the reason of each hour."),
    "flex": ("console.cli.flex:flex", "Show what can be offered to a grid event, and what it costs."),
    "iq": ("console.cli.iq:iq", "Show the Energy IQ: the share of perfect foresight's saving, and the losses."),
    "tariff": ("console.cli.tariff:tariff", "Say a tariff back in words, price a typical day."),
    "bill": ("console.cli.bill:bill", "Price the record; compare it with the utility's meter values."),
    "report": ("console.cli.report:report", "Report a year's energy by source, PUE, REF and CO2."),
    "events": ("console.cli.events:events", "List the events of the log."),
    "alarms": ("console.cli.alarms:alarms", "List the alarms; with --history those that came and went."),
    "alarm": ("console.cli.alarms:alarm", "Shelve an alarm, take it out of service, list it again."),
    "ack": ("console.cli.records:ack", "Acknowledge an alarm."),
    "setpoint": ("console.cli.orders:setpoint", "Set the battery power for a time; > 0 discharges."),
    "import-target": ("console.cli.orders:import_target", "Set the import at the PCC for a time."),
    "soc-target": ("console.cli.orders:soc_target", "Reach a state of charge by a time."),
    "hold": ("console.cli.orders:hold", "Hold the batteries at 0 kW for a time; always carried out."),
    "reserve-level": ("console.cli.orders:reserve_level", "Keep another SoC in reserve for a time."),
    "cap": ("console.cli.orders:cap", "Cap the power of a compute node for a time."),
    "disable": ("console.cli.orders:disable", "Take a PCS out of dispatch for a time."),
    "enable": ("console.cli.orders:enable", "End the order that disables a PCS."),
    "orders": ("console.cli.orders:orders", "List the manual orders in force."),
    "end": ("console.cli.orders:end", "End a manual order."),
    "stop": ("console.cli.orders:stop", "End all orders and hold the batteries at 0 kW; always carried out."),
    "event": ("console.cli.grid_events:event", "Grid events: announce, show, abort, report."),
    "signal": ("console.cli.signals:signal", "Signals of grid operator, market and fleet: list, send, end."),
    "reserve": ("console.cli.reservations:reserve", "Reserve power for a job."),
    "reservations": ("console.cli.reservations:reservations", "List the power reservations."),
    "withdraw": ("console.cli.reservations:withdraw", "Withdraw a power reservation; always carried out."),
    "notify": ("console.cli.notify:notify", "Test notifications of alarms by webhook and mail."),
    "devices": ("console.cli.devices:devices", "Find devices, look at their registers, prove how a PCS behaves."),
    "compute": (
        "console.cli.compute:compute",
        "Check what is read of the compute nodes, and what they may be ordered.",
    ),
    "queue": ("console.cli.queue:queue", "List the jobs of the schedulers: running, waiting and why."),
    "jobs": ("console.cli.jobs:jobs", "Show what compute jobs draw and cost."),
    "drill": ("console.cli.island:drill", "Rehearse an outage: start, abort, status, report."),
    "island": ("console.cli.island:island", "Reset an islanding fault; black start."),
    "fleet": ("console.cli.fleet:fleet", "Show several sites on one screen, the worst first."),
    "uplink": ("console.cli.uplink:uplink", "Send the history of a site to the hubs of a fleet."),
    "hub": ("console.cli.hub:hub", "Keep the history of many sites in PostgreSQL."),
    "link": ("console.cli.link:link", "Carry the link over stdin and stdout, for a console over SSH."),
    "audit": ("console.cli.records:audit", "List the commands given, with their results."),
    "export": ("console.cli.records:export", "Write the record of a site to a directory."),
    "verify": ("console.cli.records:verify", "Check whether an export or a backup was changed."),
    "salvage": ("console.cli.salvage:salvage", "Recover what can be read of a damaged record or audit."),
    "backup": ("console.cli.backup:backup", "Copy records, audit and key of a site, also while its gateway runs."),
    "restore": ("console.cli.backup:restore", "Put a backup into the state directory of a site."),
}

HELP = """Operations console and dispatch controller for the power side of a private compute site.

\b
skerry demo           try it on a simulated site
skerry SITE.toml      open the console on a site; starts its gateway if none runs
skerry status         show the site now

Commands find the gateway by --site, by $SKERRY_SITE, or because it is the only one running. When none runs, status,
why, events, alarms --history, audit, iq, bill, jobs, drill report, event report, export and backup read the record of
the site.
"""
EPILOG = "Exit codes:\n" + "\n".join(f"  {code}  {meaning}" for code, meaning in exit_codes.MEANINGS.items())


class LazyGroup(click.Group):
    """Commands by name from COMMANDS, imported when called; a site file as first argument opens the console on it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`skerry SITE.toml ...` is `skerry open SITE.toml ...`."""
        at = 0  # of the first word that is no option of this group
        while at < len(args) and args[at].startswith("--lang"):
            at += 1 if "=" in args[at] else 2
        first = args[at] if at < len(args) else ""
        if first and first not in COMMANDS and (first.endswith(".toml") or Path(first).is_file()):
            args = [*args[:at], "open", *args[at:]]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that fit, without importing one; where none does, site files."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        fitting = [(name, line) for name, (_, line) in COMMANDS.items() if line and name.startswith(incomplete)]
        return [CompletionItem(name, help=line) for name, line in fitting] or [CompletionItem(incomplete, type="file")]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items() if line])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The exit codes."""
        formatter.write_paragraph()
        formatter.write(EPILOG + "\n")


def _version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from storage.version import installed

    click.echo(f"skerry {installed()}" if installed() else "skerry, run from a source tree")
    ctx.exit()


@click.group(
    cls=LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@language_option
def skerry() -> None:
    """The command itself; see HELP."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with one of `gateway/exit_codes.py`."""
    prepare_output()
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. With SKERRY_DEBUG set, unexpected errors keep their traceback."""
    try:
        result: Any = skerry.main(args, prog_name="skerry", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output (head, less) has what it wants. Nothing more may be written, not even at exit.
        # (click does the same, and exits with 1 too, where it meets the closed pipe first.)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.FAILED
    except (KeyboardInterrupt, click.Abort):
        return 130  # as a shell reports SIGINT
    except Exception as error:
        from console.cli.failures import explain

        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            error.show()
            return exit_codes.USAGE

        code, lines = explain(error)
        if code is None:
            if os.environ.get("SKERRY_DEBUG"):
                raise
            code = exit_codes.FAILED
            lines = [f"internal error: {type(error).__name__}: {error} (SKERRY_DEBUG=1 shows where)"]
        for line in lines:
            click.echo(f"skerry: {neutralised(line)}", err=True)
        return code
    return result if isinstance(result, int) else exit_codes.OK


if __name__ == "__main__":
    main()
